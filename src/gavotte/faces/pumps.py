"""The standard streams of this process, read and written in threads of their own, so that none blocks the loop."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import select
import threading
from collections.abc import Callable
from functools import partial

from gavotte.errors import HostError

__all__ = ["StdinReader", "StdoutWriter"]

_CHUNK = 64 << 10


class StdinReader:
    """Reads an fd in a thread, since a read of a file, a pipe or a terminal may block in ways that epoll can't see.

    One chunk is read ahead at most. The thread is a daemon: one that waits for input doesn't keep us from ending.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._wanted = threading.Semaphore(0)
        self._chunk: asyncio.Future[bytes] | None = None
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    async def read(self) -> bytes:
        """The next bytes as they come; b"" at the end, and for an fd that is closed. Raises HostError."""
        self._chunk = self._loop.create_future()
        self._wanted.release()
        try:
            return await self._chunk
        except OSError as error:
            hint = "give it a file, a pipe or </dev/null"
            raise HostError(f"can't read stdin: {error.strerror}", hint=hint) from error

    def _run(self) -> None:
        data: bytes | OSError = b"?"
        while data and not isinstance(data, OSError):
            self._wanted.acquire()
            data = self._read()
            if not _on_loop(self._loop, partial(self._deliver, data)):
                return

    def _read(self) -> bytes | OSError:
        while True:
            try:
                return os.read(self._fd, _CHUNK)
            except BlockingIOError:  # somebody else made this description non-blocking
                _wait_for(self._fd, select.POLLIN)
            except OSError as error:
                return b"" if error.errno == errno.EBADF else error  # a closed stdin is an empty one

    def _deliver(self, data: bytes | OSError) -> None:
        if self._chunk is None or self._chunk.done():
            return
        if isinstance(data, OSError):
            self._chunk.set_exception(data)
        else:
            self._chunk.set_result(data)


class StdoutWriter:
    """Writes to an fd in a thread, so that a reader that dawdles doesn't keep signals from being seen."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=f"fd {fd}", daemon=True).start()

    async def write(self, data: bytes) -> None:
        """Write all of `data`. Raises BrokenPipeError when nobody reads any more, OSError for a full disk."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((data, done))
        await done

    def _run(self) -> None:
        while True:
            data, done = self._jobs.get()
            error = self._write(data)
            if not _on_loop(self._loop, _settle(done, error)):
                return

    def _write(self, data: bytes) -> OSError | None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # somebody else made this description non-blocking
                _wait_for(self._fd, select.POLLOUT)
            except OSError as error:
                return error
        return None


def _settle(done: asyncio.Future[None], error: OSError | None) -> Callable[[], None]:
    def settle() -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    return settle


def _on_loop(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> bool:
    try:
        loop.call_soon_threadsafe(action)
        return True
    except RuntimeError:  # the loop has ended before us
        return False


def _wait_for(fd: int, event: int) -> None:
    poll = select.poll()
    poll.register(fd, event)
    poll.poll()
