"""Processes that aren't children of this one: told apart for good, watched and ended without a race."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple, Self

from gavotte.errors import HostError

__all__ = ["ProcessId", "boot_id", "process_state", "start_time"]


class ProcessId(NamedTuple):
    """One process, for as long as this host is up: pids are used again, but not with the same start time.

    `started` is in clock ticks since boot (proc_pid_stat(5), field 22).
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this pid now. One that has ended never `lives`."""
        return cls(pid, start_time(pid))

    @property
    def lives(self) -> bool:
        """Whether it runs, or could: a zombie doesn't."""
        return self.started >= 0 and start_time(self.pid) == self.started

    def open(self) -> int:
        """A pidfd of it, the caller's to close. Raises ProcessLookupError when it has ended, OSError and
        HostError without fds."""
        fd = os.pidfd_open(self.pid)
        try:
            if not self.lives:  # the second look: the pid may have passed on before pidfd_open
                raise ProcessLookupError(self.pid)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def kill(self) -> None:
        """SIGKILL to it and to no other. Does nothing when it has ended, or belongs to somebody else."""
        try:
            fd = self.open()
        except OSError:
            return
        try:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        except OSError:
            pass
        finally:
            os.close(fd)


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; -1 for none, and for one that is over but not yet reaped."""
    fields = _stat(pid)
    return -1 if not fields or fields[0] in (b"Z", b"X") else int(fields[19])


def boot_id() -> str:
    """Names this start of the host: after another, no process is what it was. Empty where the kernel doesn't tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123  # as above, and below
            return file.read().strip()
    except OSError:
        return ""


def process_state(pid: int) -> str:
    """The letter of its state (proc_pid_stat(5), field 3), such as T for one that was stopped; empty for none."""
    fields = _stat(pid)
    return fields[0].decode() if fields else ""


def _stat(pid: int) -> list[bytes]:
    """What follows the name in /proc/PID/stat, beginning with field 3; nothing when there is no such process.

    Raises HostError when that can't be known, as without a free fd: whoever took it for dead would remove what it uses.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # pathlib costs short commands their start-up
            return file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    except OSError as error:
        raise HostError(f"can't look at process {pid}: {error.strerror}", hint="see `ulimit -n`") from error
