"""The file descriptors that one child is given: each is written down, and nothing else is inherited."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from gavotte.compat import override
from gavotte.errors import HostError, StateError

__all__ = ["FdEntry", "FdLedger", "socketpair"]

_FIRST_FREE = 3  # 0, 1 and 2 are the child's standard streams
_FIRST_OURS = 64  # above what shells and interpreters have open, so that one start has the same numbers as the last


class HasFileno(Protocol):
    """A socket or an open file."""

    def fileno(self) -> int: ...

    def close(self) -> None: ...


class FdEntry(NamedTuple):
    """One line of the ledger; as text, "fd 7: agent channel"."""

    number: int
    why: str

    @override
    def __str__(self) -> str:
        return f"fd {self.number}: {self.why}"


class FdLedger:
    """Owns the fds that one child will inherit, until they are spent on its start.

    `entries` can still be read after that, to show what the child was given.
    """

    def __init__(self) -> None:
        self._entries: list[FdEntry] = []
        self._closed = False

    def give(self, file: int | HasFileno, why: str) -> int:
        """Takes `file` over, closing the caller's own, and gives the number under which the child sees it.

        The number is a new one, from 64 on where the limit allows that, and never 0, 1 or 2, which a host that runs
        without standard streams hands out.

        Raises StateError when the ledger is spent, HostError when there are no fds left.
        """
        try:
            self._check_open()
            with _fd_limit(why):
                number = _duplicate(file)
        finally:
            os.close(file) if isinstance(file, int) else file.close()
        self._entries.append(FdEntry(number, why))
        return number

    def pair(self, why: str) -> tuple[socket.socket, int]:
        """Gives our end of a new socket pair, and the number under which the child sees the other end.

        Raises as `give` does.
        """
        ours, theirs = socketpair()
        try:
            return ours, self.give(theirs, why)
        except BaseException:
            ours.close()
            raise

    @property
    def numbers(self) -> tuple[int, ...]:
        """What `subprocess` wants as `pass_fds`. Raises StateError when the ledger is spent."""
        self._check_open()
        return tuple(entry.number for entry in self._entries)

    @property
    def entries(self) -> tuple[FdEntry, ...]:
        """What was given, in order."""
        return tuple(self._entries)

    def close(self) -> None:
        """Closes this process's copies. The child keeps its own. A second call does nothing."""
        if not self._closed:
            self._closed = True
            for entry in self._entries:
                os.close(entry.number)

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("this fd ledger was spent on an earlier start; make a new one for each child")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        return f"<FdLedger{' spent' if self._closed else ''} {', '.join(map(str, self._entries)) or 'empty'}>"


def _duplicate(file: int | HasFileno) -> int:
    try:
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _FIRST_OURS)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EMFILE):  # so many aren't allowed, or all above are in use
            raise
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Gives (ours, theirs), a connected pair of Unix stream sockets; ours doesn't block.

    Neither is inherited by any child unless it is given through a ledger.
    Raises HostError when there are no fds left.
    """
    with _fd_limit("a socket pair"):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    return ours, theirs


@contextmanager
def _fd_limit(why: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise HostError(
            f"can't make a file descriptor for {why}: {e.strerror}",
            hint="`ulimit -n` shows how many a process may have",
        ) from e
