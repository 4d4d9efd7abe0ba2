"""The socket under a QMP connection: whole commands out, bytes in, one end.

It sorts a failed command's two cases: as long as `Link.send` hasn't returned, no byte of the command has left.
"""

from __future__ import annotations

import asyncio
import socket
from array import array
from collections.abc import Callable, Sequence

__all__ = ["Link"]

_RECEIVE = 64 * 1024  # bytes for each recv; above 128 KiB malloc would map and unmap pages for every one


class Link:
    """A connected stream socket, owned, on the running loop.

    `received` is called with each piece that arrives; `ended` once, with the reason, when the peer has gone.
    Nothing is buffered on the way out: one command is on its way, the callers of `send` hold the others.
    """

    def __init__(self, sock: socket.socket, received: Callable[[bytes], None], ended: Callable[[str], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._received = received
        self._ended = ended
        self._turn = asyncio.Lock()  # who may write
        self._rest = memoryview(b"")  # of the command that is on its way
        self._room: asyncio.Future[None] | None = None  # waits until the socket takes something
        self.closed = False
        self._paused = True
        self.resume()

    async def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Wait for a turn and for room; return when the first byte has left, with all `fds` attached to it.

        What the socket doesn't take at once follows by itself, before anything else. Raises OSError.
        Whenever this raises, or is cancelled, nothing of `data` was sent.
        """
        await self._turn.acquire()
        try:
            while not (count := self._write(data, fds)):
                await self._wait_for_room()
        except BaseException:
            self._turn.release()
            raise
        if count == len(data):
            self._turn.release()
        else:
            self._rest = memoryview(data)[count:]
            self._loop.add_writer(self._sock, self._on_writable)

    def close(self) -> None:
        """Close the socket. `send` raises from now on; `ended` is not called."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        if self._rest:
            self._finish_rest()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def pause(self) -> None:
        """Read no more, not even the end, until `resume`: the peer waits meanwhile."""
        if not self.closed and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._sock)

    def resume(self) -> None:
        """Read on."""
        if not self.closed and self._paused:
            self._paused = False
            self._loop.add_reader(self._sock, self._on_readable)

    def _write(self, data: bytes | memoryview, fds: Sequence[int] = ()) -> int:
        """Count the bytes that the socket takes now."""
        if self.closed:
            raise ConnectionError("the connection is closed")
        try:
            if not fds:
                return self._sock.send(data, socket.MSG_NOSIGNAL)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))
            return self._sock.sendmsg([data], [rights], socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return 0

    async def _wait_for_room(self) -> None:
        self._room = self._loop.create_future()
        self._loop.add_writer(self._sock, self._on_room)
        try:
            await self._room
        finally:
            self._room = None
            if not self.closed:
                self._loop.remove_writer(self._sock)

    def _on_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _on_writable(self) -> None:
        try:
            self._rest = self._rest[self._write(self._rest) :]
        except OSError:  # the peer has gone; reading tells why, after what it said before
            self._rest = self._rest[:0]
        if not self._rest:
            self._loop.remove_writer(self._sock)
            self._finish_rest()

    def _finish_rest(self) -> None:
        self._rest = memoryview(b"")
        self._turn.release()

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as e:
            self._ended(f"QEMU broke off the connection ({e.strerror})")
            return
        if data:
            self._received(data)
        else:
            self._ended("QEMU closed the connection")
