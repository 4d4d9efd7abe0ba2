"""The two ends of a machine's chardevs: ours and QEMU's.

Of a machine that is kept, QEMU listens at its end. When we go, another process connects in our place.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Collection
from errno import EMFILE
from pathlib import Path
from typing import Final

from gavotte.errors import HostError, QmpNotSent, StateError, UsageError
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.props import PropertyMap
from gavotte.qmp.dial import dial

__all__ = ["forget_end", "forget_others", "make_end", "open_end", "output_path", "reopen", "socket_path"]

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,199}")  # what QEMU takes as an id (util/id.c), as a file name
_OUTPUT: Final = "output.fifo"
_LONGEST: Final = 107  # bytes in the address of a Unix socket (unix(7))


def open_end(id: str, ledger: FdLedger, directory: Path | None) -> tuple[socket.socket, PropertyMap]:
    """Our end of chardev `id`, connected, and the back end's map for QEMU, whose end goes into `ledger`.

    With a directory, QEMU listens on the socket `vm.ID.sock` there, so that another process can take our place later.
    Raises UsageError for an id that no chardev may have, HostError when there can't be a socket.
    """
    if directory is None:
        ours, number = ledger.pair(id)
        return ours, {"backend": "socket", "fd": number}
    ours, theirs, props = make_end(id, directory)
    try:
        return ours, {**props, "fd": ledger.give(theirs, id)}
    except BaseException:
        ours.close()
        raise


def make_end(id: str, directory: Path | None) -> tuple[socket.socket, socket.socket, PropertyMap]:
    """Our end, QEMU's, and the back end's map without its `fd`; for a chardev that is added to a QEMU that runs.

    Raises as `open_end` does.
    """
    if directory is None:
        return *socketpair(), {"backend": "socket"}
    path = socket_path(id, directory)
    try:
        theirs = _listen(path)
    except OSError as error:
        hint = "see `ulimit -n`" if error.errno == EMFILE else "see to the directory"
        raise HostError(f"can't make the socket {path}: {error.strerror}", hint=hint) from error
    try:
        return dial(os.fspath(path)), theirs, {"backend": "socket", "server": True, "wait": False}
    except BaseException:
        theirs.close()
        raise


def reopen(id: str, directory: Path) -> socket.socket:
    """Our end of a kept machine's chardev, anew, in the place of an end that was closed.

    QEMU serves one at a time: while somebody else is connected, ours waits, and nothing comes out of it.
    Raises StateError when nothing listens there, HostError without a free fd.
    """
    path = socket_path(id, directory)
    try:
        return dial(os.fspath(path))
    except (UsageError, QmpNotSent) as error:
        raise StateError(f"there is no way to {id!r}: {error}", hint="see whether its machine still runs") from error


def forget_end(id: str, directory: Path) -> None:
    """Remove the socket of a chardev that has gone, or never came."""
    with contextlib.suppress(OSError, UsageError):
        socket_path(id, directory).unlink()


def forget_others(ids: Collection[str], directory: Path) -> None:
    """Remove the sockets of all chardevs but these: a manager may have died before it wrote down what it made."""
    kept = {socket_path(id, directory) for id in ids if _ID.fullmatch(id)}
    for path in directory.glob("vm.*.sock"):
        if path not in kept:
            path.unlink(missing_ok=True)


def socket_path(id: str, directory: Path) -> Path:
    """Where a kept machine's chardev listens. Raises UsageError for an id that isn't one."""
    if not _ID.fullmatch(id):
        raise UsageError(
            f"{id!r} can't be the name of a socket",
            path="id",
            hint="an id begins with a letter; letters, digits and . _ - follow",
        )
    return directory / f"vm.{id}.sock"  # the prefix keeps them apart from what others put there


def _listen(path: Path) -> socket.socket:
    """A socket that listens, for this user alone from its first moment on. What was left there gives way to it."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # bind gives the file the mode of the socket
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        _bind(listener, path)
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, path: Path) -> None:
    """Bind to a path of any length."""
    if len(os.fsencode(path)) <= _LONGEST:
        listener.bind(os.fsencode(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def output_path(directory: Path) -> Path:
    """The FIFO that a kept QEMU's own words go through."""
    return directory / _OUTPUT
