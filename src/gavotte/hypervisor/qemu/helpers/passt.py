"""passt: a network card's way into the host's network, without privileges (passt.top)."""

from __future__ import annotations

import asyncio
import os
import pwd
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from gavotte.errors import HostError
from gavotte.hypervisor.devices import Passt
from gavotte.hypervisor.qemu.helpers.process import Helper
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.programs import tool
from gavotte.qemu.tail import Tail

__all__ = ["start_passt"]

_DEADLINE: Final = 10.0
_USER: Final = "nobody"


async def start_passt(id: str, net: Passt, *, directory: Path | None = None) -> tuple[Helper, int]:
    """The helper of card `id`, and QEMU's end of the socket between them, the caller's to close.

    It confines itself: it sees no files, and is in namespaces of its own. passt doesn't run as root, so it is started
    as nobody there; were it to change by itself, the kernel would forget that it is to die with us (prctl(2)).
    Raises HostError when it isn't there, or ends instead of coming up, as with wrong `options`.
    """
    program = tool("passt", "passt")
    with ExitStack() as undo:
        ledger = undo.enter_context(FdLedger())
        ours, theirs = socketpair()
        undo.callback(ours.close)
        network = str(ledger.give(theirs, f"network of {id}"))
        ready, theirs_to_tell = os.pipe2(os.O_CLOEXEC)
        sign = Tail(asyncio.get_running_loop(), ready)  # it writes its pid when it is up
        undo.callback(sign.close)
        signal = ledger.give(theirs_to_tell, "passt is up")
        wrapper = _as_nobody(signal, keep=directory is not None) if os.geteuid() == 0 else []
        argv = [program, "--foreground", "--quiet", "--fd", network, "--pid", f"/proc/self/fd/{signal}", *net.options]
        helper = await Helper.start(id, argv, ledger, wrapper=wrapper, directory=directory)
        try:
            await _come_up(helper, sign)
            return helper, os.dup(ours.fileno())
        except BaseException:
            helper.close()
            raise


def _as_nobody(signal: int, *, keep: bool) -> list[str]:
    nobody = pwd.getpwnam(_USER)
    os.fchown(signal, nobody.pw_uid, nobody.pw_gid)  # it opens it anew, by its name in /proc
    ids = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    return [tool("setpriv"), *ids, *([] if keep else ["--pdeathsig", "KILL"]), "--"]


async def _come_up(helper: Helper, sign: Tail) -> None:
    up = asyncio.ensure_future(sign.wait_for_some())
    end = asyncio.ensure_future(helper.wait())
    try:
        await asyncio.wait([up, end], timeout=_DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            raise HostError(
                f"passt didn't come up; {await helper.explain()}", hint="are its options right? See passt(1)"
            )
    finally:
        up.cancel()
        end.cancel()
