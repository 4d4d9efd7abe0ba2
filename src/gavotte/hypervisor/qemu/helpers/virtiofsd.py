"""virtiofsd: a directory of the host, served to one guest over a vhost-user socket.

There are two, with options of their own: QEMU's, in C, up to QEMU 7.2, and the one in Rust that followed it.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import struct
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gavotte.errors import HostError, Unsupported
from gavotte.hypervisor.devices import Share
from gavotte.hypervisor.qemu.helpers.process import Helper
from gavotte.qemu.binary import find_program
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.programs import tool

__all__ = ["Virtiofsd", "find_virtiofsd", "start_virtiofsd"]

_DEADLINE: Final = 10.0
_PLACES: Final = ("virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd")

# A vhost-user message is request, flags (version 1) and the size of what follows. This one changes nothing, and every
# back end answers it (QEMU's docs/interop/vhost-user.rst): VHOST_USER_GET_FEATURES.
_GET_FEATURES: Final = struct.pack("=III", 1, 1, 0)


@dataclass(frozen=True)
class Virtiofsd:
    """One of the two. The one in Rust tells its features, and has `separate_options`."""

    path: str
    separate_options: bool

    def argv(self, share: Share, fd: int) -> list[str]:
        """Its arguments, for a listening socket. Raises Unsupported for what it can't."""
        source = os.fspath(share.path)
        limit = f"--rlimit-nofile={resource.getrlimit(resource.RLIMIT_NOFILE)[1]}"  # more would take privileges
        if self.separate_options:
            options = [f"--shared-dir={source}", "--sandbox=namespace", "--cache=auto", "--log-level=warn"]
            return [self.path, f"--fd={fd}", limit, *options, *(["--readonly"] if share.read_only else [])]
        if share.read_only:
            raise Unsupported(
                "a read-only virtiofs", f"{self.path} can't", hint="use kind='9p', or a virtiofsd in Rust"
            )
        source = source.replace("\\", "\\\\").replace(",", "\\,")  # libfuse's lib/fuse_opt.c
        options = [f"source={source}", "sandbox=namespace", "cache=auto", "log_level=warn"]
        return [self.path, f"--fd={fd}", limit, *(word for option in options for word in ("-o", option))]


async def find_virtiofsd() -> Virtiofsd:
    """The one on PATH, or where distributions put it. Raises HostError when there is none, or it tells nothing."""
    path = next((found for place in _PLACES if (found := find_program(place))), None)
    if path is None:
        raise HostError(
            "virtiofsd is not installed", hint="apt-get install virtiofsd, or qemu-system-common before 8.0"
        )
    try:
        async with asyncio.timeout(_DEADLINE):
            told = await _capabilities(path)
        features = json.loads(told).get("features", ())
        return Virtiofsd(os.fspath(path), "separate-options" in features)
    except (OSError, TimeoutError, ValueError, AttributeError, TypeError) as e:
        raise HostError(f"{path} doesn't tell what it can: {e!r}", hint="see `virtiofsd --print-capabilities`") from e


async def _capabilities(path: Path) -> bytes:
    child = await asyncio.create_subprocess_exec(
        path, "--print-capabilities", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    try:
        return (await child.communicate())[0]
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def start_virtiofsd(share: Share, *, directory: Path | None = None) -> tuple[Helper, int]:
    """The helper of `share`, and QEMU's end of the socket between them, the caller's to close.

    It confines itself: it sees the directory and nothing else, in namespaces of its own, with a filter of system calls.
    That takes root, so an ordinary user becomes root of a user namespace, where his own id is the only one: files in
    the share are his, and the guest can make none that are somebody else's.
    Raises HostError when it isn't there, or ends instead of coming up; Unsupported for what it can't.
    """
    program = await find_virtiofsd()
    wrapper = [] if os.geteuid() == 0 else [tool("unshare"), "--map-root-user", "--"]
    with ExitStack() as undo:
        ledger = undo.enter_context(FdLedger())
        ours = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        listener = ledger.give(_listen_for(ours), f"share {share.id}")
        argv = program.argv(share, listener)
        helper = await Helper.start(share.id, argv, ledger, wrapper=wrapper, directory=directory)
        try:
            await _come_up(helper, ours)
            return helper, os.dup(ours.fileno())
        except BaseException:
            helper.close()
            raise


def _listen_for(ours: socket.socket) -> socket.socket:
    """A listening socket to which nobody else connects: `ours` did, in a directory that nobody else sees."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with tempfile.TemporaryDirectory(prefix="gv-", dir="/tmp") as folder:  # a short path: unix(7) has 107 bytes
            listener.bind(f"{folder}/s")
            listener.listen(1)
            ours.connect(f"{folder}/s")
    except BaseException:
        listener.close()
        raise
    ours.setblocking(False)
    return listener


async def _come_up(helper: Helper, ours: socket.socket) -> None:
    """Wait until it answers. QEMU would wait too, standing still, for as long as it takes."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_DEADLINE):
            await loop.sock_sendall(ours, _GET_FEATURES)
            answer = b""
            while len(answer) < 20:
                piece = await loop.sock_recv(ours, 20 - len(answer))
                if not piece:
                    raise ConnectionResetError
                answer += piece
    except (OSError, TimeoutError):
        raise HostError(
            f"virtiofsd didn't come up; {await helper.explain()}",
            hint="where it may not make namespaces, kind='9p' needs no helper",
        ) from None
