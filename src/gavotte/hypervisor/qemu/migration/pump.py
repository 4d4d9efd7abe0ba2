"""Bytes from one descriptor to another, in a thread: files block in ways that an event loop can't see.

QEMU could write to a file itself. But then it hangs, its guest with it, when the file does; and whether all of it is on
disk, and whole, nobody would know.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["Pump", "pumping"]

_PIECE: Final = 1 << 20  # bytes


class Pump:
    """Moves what comes from `source` to `target`, up to its end. The descriptors stay the caller's.

    `count` and `crc` (CRC-32) are of what was moved; the last `hold` bytes aren't, and are in `held` in the end.
    """

    def __init__(self, source: int, target: int, hold: int = 0) -> None:
        self.count = 0
        self.crc = 0
        self.held = b""
        self._source = source
        self._target = target
        self._hold = hold
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        # of a pipe that is ready, a blocking write of more might wait for its reader
        self._piece = _PIECE if _takes_all(target) else select.PIPE_BUF

    def run(self) -> None:
        """Move all, or what there was until `stop`. Raises OSError."""
        while self._wait(self._source, select.POLLIN):
            data = os.read(self._source, _PIECE)
            if not data:
                return
            data = self.held + data
            keep = max(len(data) - self._hold, 0)
            data, self.held = data[:keep], data[keep:]
            if not self._write(memoryview(data)):
                return

    def stop(self) -> None:
        """Have `run` return soon. May be called from any thread, and more than once."""
        os.eventfd_write(self._stop, 1)

    def close(self) -> None:
        """For when `run` has returned."""
        os.close(self._stop)

    def _write(self, data: memoryview) -> bool:
        while data:
            if not self._wait(self._target, select.POLLOUT):
                return False
            try:
                done = os.write(self._target, data[: self._piece])
            except BlockingIOError:
                continue
            self.crc = zlib.crc32(data[:done], self.crc)
            self.count += done
            data = data[done:]
        return True

    def _wait(self, fd: int, what: int) -> bool:
        """Whether `fd` is ready, and not told to stop."""
        poll = select.poll()
        poll.register(fd, what)
        poll.register(self._stop, select.POLLIN)
        return self._stop not in dict(poll.poll())


def _takes_all(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode) or not os.get_blocking(fd)


@asynccontextmanager
async def pumping(source: int, target: int, hold: int = 0) -> AsyncIterator[tuple[Pump, asyncio.Future[None]]]:
    """A pump that runs during the block, and what tells its end. It is stopped at the end of the block."""
    pump = Pump(source, target, hold)
    try:
        with ThreadPoolExecutor(1, "pump") as pool:
            ended = asyncio.get_running_loop().run_in_executor(pool, pump.run)
            try:
                yield pump, ended
            finally:
                pump.stop()
                await asyncio.wait([ended])
                ended.exception()  # whoever wanted to know has asked
    finally:
        pump.close()
