"""Less of what a process may have."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["fds_left"]


@contextmanager
def fds_left(count: int) -> Iterator[None]:
    """Lets this process open that many more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.dup(0) for _ in range(count)]
    highest = max(map(int, os.listdir("/proc/self/fd")), default=0)  # noqa: PTH208  # as in tests.support.leaks
    holes = [fd for fd in range(highest) if not Path(f"/proc/self/fd/{fd}").exists()]
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
