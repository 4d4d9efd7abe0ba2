"""What a program under test leaves behind when it has ended: its own children, which nobody else would notice."""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["children_of", "no_orphans"]

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_GRACE_MS = 5000  # the kernel's SIGKILL to a child whose parent died takes a moment


@contextmanager
def no_orphans() -> Iterator[None]:
    """Fails when a program that was started in the block is over, and a descendant of it lives on.

    The descendants become children of this process, so none is missed. They are ended and reaped.
    """
    before = children_of(os.getpid())
    _set_subreaper(True)
    try:
        yield
    finally:
        _set_subreaper(False)
        alive = [words for pid, words in children_of(os.getpid()).items() if pid not in before and _outlives(pid)]
    assert not alive, f"still running: {alive}"


def children_of(parent: int) -> dict[int, str]:
    """The command lines of a process's children, by pid."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208  # names that are numbers, not paths
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b") ")[2].split()
            with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123
                words = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == parent:
            found[int(name)] = words
    return found


def _outlives(pid: int) -> bool:
    """Whether the child still runs after a moment; it is killed then, and reaped in any case."""
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        alive = not poll.poll(_GRACE_MS)
        if alive:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.waitpid(pid, 0)
        return alive
    finally:
        os.close(fd)


def _set_subreaper(on: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
