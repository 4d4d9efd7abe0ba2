"""A keeper's end of one connection: hello, a request, frames."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Coroutine
from typing import Any

from gavotte.errors import GavotteError, UsageError
from gavotte.sandbox.keeper.wire import (
    HEADER,
    MESSAGE,
    PROTOCOL,
    VERSION,
    Malformed,
    check_header,
    decode_message,
    encode_message,
    error_to_json,
)

__all__ = ["Connection"]

_REQUEST = 30.0  # seconds that a client may take to say what it wants


class Connection:
    """One client. Frames that come are waited for in turn; frames that go wait until the client reads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Connection:
        """The connection that a connected socket is."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    @property
    def uid(self) -> int:
        """Whose process is at the other end (unix(7), SO_PEERCRED)."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", credentials)[1])

    async def request(self) -> dict[str, Any]:
        """Say hello, and wait for what the client wants. Raises Malformed, EOFError, TimeoutError, UsageError."""
        await self.tell(protocol=PROTOCOL, gavotte=VERSION, pid=os.getpid())
        async with asyncio.timeout(_REQUEST):
            kind, payload = await self.receive()
        if kind != MESSAGE:
            raise Malformed("a request comes first")
        request = decode_message(payload)
        if request.get("protocol") != PROTOCOL:
            theirs = f"Gavotte {request.get('gavotte')} and protocol {request.get('protocol')}"
            raise UsageError(f"this keeper is of Gavotte {VERSION} and protocol {PROTOCOL}, not {theirs}")
        return request

    async def receive(self) -> tuple[int, bytes]:
        """The next frame. Raises EOFError when the client has gone, Malformed."""
        try:
            kind, length = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            check_header(kind, length)
            return kind, await self._reader.readexactly(length)
        except ConnectionError as error:
            raise EOFError from error

    async def send(self, frame: bytes) -> None:
        """Send a frame; returns when there is room for more. One that nobody reads any more is dropped."""
        try:
            self._writer.write(frame)
            await self._writer.drain()
        except ConnectionError:
            pass  # receive() tells

    def post(self, **fields: Any) -> None:
        """Send a message without waiting until there is room: for a few small ones."""
        if not self._writer.is_closing():
            self._writer.write(encode_message(**fields))

    async def tell(self, **fields: Any) -> None:
        await self.send(encode_message(**fields))

    async def refuse(self, error: GavotteError) -> None:
        await self.tell(error=error_to_json(error))

    async def answer(self, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        """Do it and reply with what it gives. It is cancelled when the client goes away before."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        if not task.cancelled():
            await self.tell(reply=task.result())

    async def _gone(self) -> None:
        try:
            while True:
                await self.receive()
        except (EOFError, Malformed):
            pass

    async def close(self) -> None:
        """Close it, when the client has taken what was sent, or has gone."""
        self._writer.close()
        try:
            async with asyncio.timeout(_REQUEST):
                await self._writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self._writer.transport.abort()
