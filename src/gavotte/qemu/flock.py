"""A lock that one process has: until it lets go, or ends."""

from __future__ import annotations

import fcntl
import os

__all__ = ["Flock"]


class Flock:
    """An exclusive flock(2) on an open file, which it takes over. Raises BlockingIOError while another has it.

    A forked child doesn't hold it, so it ends with the process that took it. Where a file system has no locks, all
    have it.
    """

    _held: set[int] = set()  # noqa: RUF012  # the one list of this process, for `after_fork`

    def __init__(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise
        except OSError:
            pass
        self.fd = fd
        self._held.add(fd)

    def release(self) -> None:
        """Close the file. A second call does nothing, nor does one in a forked child."""
        if self.fd in self._held:
            self._held.discard(self.fd)
            os.close(self.fd)
        self.fd = -1

    @classmethod
    def after_fork(cls) -> None:
        """Close what a child inherited."""
        while cls._held:
            os.close(cls._held.pop())


os.register_at_fork(after_in_child=Flock.after_fork)
