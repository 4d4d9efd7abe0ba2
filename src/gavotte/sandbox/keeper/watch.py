"""Whether the register still has a sandbox: the kernel tells when its directory is deleted, emptied or moved away."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gavotte.sandbox.store import REGISTER

__all__ = ["EntryWatch"]

_CHANGES = fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT


class EntryWatch:
    """Calls `gone()` when the entry of the sandbox in `path` is there no more.

    By F_NOTIFY (fcntl(2)), which is a signal, and not by inotify(7), of which a user has 128 instances. The directory's
    own removal, or another name for it, is a change of the one above.
    """

    def __init__(self, path: Path, gone: Callable[[], None]) -> None:
        self._path = path
        self._gone = gone
        self._inode = path.stat().st_ino
        asyncio.get_running_loop().add_signal_handler(signal.SIGIO, self._look)
        self._fds = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for folder in (path, path.parent)]
        for fd in self._fds:
            with suppress(OSError):  # a kernel without it: `gavotte check` finds what is left
                fcntl.fcntl(fd, fcntl.F_NOTIFY, _CHANGES)
        self._look()  # what happened before

    def _look(self) -> None:
        try:
            there = self._path.stat().st_ino == self._inode and (self._path / REGISTER).exists()
        except OSError:
            there = False
        if not there:
            self._gone()

    def close(self) -> None:
        """Watch no more."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []
        asyncio.get_running_loop().remove_signal_handler(signal.SIGIO)
