"""Less of what a process may have."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["fds_left"]


@contextmanager
def fds_left(count: int) -> Iterator[None]:
    """Lets this process open that many more files."""
    gc.collect()  # what is garbage may hold some, and give them back at any moment
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.dup(0) for _ in range(count)]
    listed = map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208  # as in tests.support.leaks
    highest = max((fd for fd in listed if _is_open(fd)), default=0)  # the listing's own is among them
    holes = [fd for fd in range(highest) if not _is_open(fd)]
    fillers = [os.dup(0) for _ in holes]
    for fd in spare:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            with suppress(OSError):
                os.close(fd)


def _is_open(fd: int) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")
