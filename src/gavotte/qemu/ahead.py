"""A child that was begun before anybody asked for it, as one was begun last time: who asks for the same, gets it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Mapping, Sequence

from gavotte.compat import override
from gavotte.qemu.fds import FdEntry, FdLedger, HasFileno, socketpair
from gavotte.qemu.spawn import Begun, begin_process

__all__ = ["Ahead", "Unlike"]


class Unlike(Exception):
    """What is asked for isn't what was begun."""


class Ahead(FdLedger):
    """The ledger of such a child, in which each fd has the number that `argv` names it by. It has nothing to be spent.

    Who starts a process with it gives what the child needs, and finds that it has that already; then `take`s the child.
    All of it raises Unlike when what is asked for is anything else. A child that isn't taken ends with the ledger.
    """

    def __init__(
        self, argv: Sequence[str], numbers: Mapping[str, int], files: Mapping[str, int], env: Mapping[str, str]
    ) -> None:
        """`numbers` are the child's fds, each by what it is for. Those in `files` are copies of these open ones; of the
        others, which are socket pairs, our ends are in `ours`.

        Raises OSError when a number is in use here, and as `begin_process` does.
        """
        super().__init__()
        self.ours: dict[str, socket.socket] = {}
        self.taken = False
        self._argv, self._env, self._numbers = list(argv), dict(env), dict(numbers)
        self._begun: Begun | None = None
        placed: list[int] = []
        try:
            for why, number in numbers.items():
                if why in files:
                    _place(files[why], number)
                else:
                    self.ours[why], theirs = socketpair()
                    with theirs:
                        _place(theirs.fileno(), number)
                placed.append(number)
            self._begun = begin_process(argv, placed, env=env)
        except BaseException:
            self.close()
            raise
        finally:
            for number in placed:
                os.close(number)

    @override
    def give(self, file: int | HasFileno, why: str) -> int:
        """The number under which the child has what is for that; `file` is closed."""
        os.close(file) if isinstance(file, int) else file.close()
        return self._entry(why)

    @override
    def pair(self, why: str) -> tuple[socket.socket, int]:
        """Our end of the pair whose other end the child has."""
        if why not in self.ours:
            raise Unlike(why)
        return self.ours.pop(why), self._entry(why)

    def take(self, argv: Sequence[str], env: Mapping[str, str] | None) -> Begun:
        """The child, the caller's from now on."""
        asked_for = (list(argv), dict(env or {}), {entry.why: entry.number for entry in self.entries})
        if self._begun is None or asked_for != (self._argv, self._env, self._numbers):
            raise Unlike("argv")
        begun, self._begun, self.taken = self._begun, None, True
        return begun

    @override
    def close(self) -> None:
        """End a child that nobody has taken. A second call does nothing.

        The numbers in `entries` are the child's, and may be other files' here: they aren't closed.
        """
        while self.ours:
            self.ours.popitem()[1].close()
        if self._begun is not None:
            begun, self._begun = self._begun, None
            begun.end()

    def _entry(self, why: str) -> int:
        number = self._numbers.get(why)
        if number is None:
            raise Unlike(why)
        self._entries.append(FdEntry(number, why))
        return number


def _place(fd: int, number: int) -> None:
    """Have a copy of `fd` there. Raises FileExistsError when something else is."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, number)  # there, or at the next free number
    if copy != number:
        os.close(copy)
        raise FileExistsError(errno.EEXIST, f"fd {number} is in use")
