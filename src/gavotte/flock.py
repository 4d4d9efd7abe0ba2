"""Locks that one process has until it lets go, or ends (flock(2))."""

from __future__ import annotations

import fcntl
import os
import time
from contextvars import ContextVar
from pathlib import Path

from gavotte.errors import Bug
from gavotte.places import absolute
from gavotte.signals import signals_held

__all__ = ["FileLock", "Flock"]


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

    @property
    def is_held(self) -> bool:
        """Whether this process has it."""
        return self.fd in self._held

    @classmethod
    def after_fork(cls) -> None:
        """Close what a child inherited."""
        while cls._held:
            os.close(cls._held.pop())


os.register_at_fork(after_in_child=Flock.after_fork)


class FileLock:
    """A lock known by the path of its file, in which its holder's process id stands.

    Whoever can't `take` it may `wait`, or run the command `waiter` and try again. Work under a lock must not ask for
    the same one, since it would wait for itself: that raises Bug, also in its tasks and in threads with its context.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(absolute(path))
        self._flock: Flock | None = None

    def take(self) -> bool:
        """Have it, unless another does. Raises OSError when the file can't be opened, and Bug."""
        above = [lock for lock in _above.get() if lock.is_held]
        if self.path in [lock.path for lock in above]:
            raise Bug(f"the work under the lock {self.path} asked for it again")
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._flock = Flock(fd)
        except BlockingIOError:
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        _above.set((*above, self))
        return True

    def wait(self, seconds: float) -> bool:
        """Have it as soon as it is free; False when it isn't within so many seconds. Raises as `take`."""
        until = time.monotonic() + seconds
        while not self.take():
            if _status_of(self.waiter(until - time.monotonic())):
                return False
        return True

    def waiter(self, seconds: float) -> list[str]:
        """The command that ends when the lock is free, or fails after so many seconds. flock(2) has no deadline."""
        with_us = ["setpriv", "--pdeathsig", "KILL", "--"]
        return [*with_us, "flock", "--exclusive", "--timeout", f"{max(seconds, 0):.3f}", str(self.path), "true"]

    @property
    def holder(self) -> str:
        """Who has it, in words."""
        try:
            pid = int(self.path.read_bytes())
        except (OSError, ValueError):  # it was taken in this moment
            return "another process"
        return "this process" if pid == os.getpid() else f"process {pid}"

    def release(self) -> None:
        """Let others have it. Does nothing if it wasn't taken."""
        if self._flock is not None:
            self._flock.release()
            self._flock = None

    @property
    def is_held(self) -> bool:
        """Whether this process has it, by this object."""
        return self._flock is not None and self._flock.is_held


def _status_of(command: list[str]) -> int:
    """The exit status of a command, which ends with a signal that ends us."""
    import subprocess

    with signals_held() as let_go, subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:
        try:
            let_go()
            return child.wait()
        except BaseException:
            child.kill()
            raise


_above: ContextVar[tuple[FileLock, ...]] = ContextVar("gavotte.flock", default=())  # those that the caller works under
