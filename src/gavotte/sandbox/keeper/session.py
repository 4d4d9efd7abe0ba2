"""A command of a client's: its streams over the connection with credit, signals, its end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from gavotte.errors import AgentError, CommandTimeout, GuestError, GuestSilent
from gavotte.guest.command import AsyncProcess, Exit, OutputStream
from gavotte.sandbox.keeper.connection import Connection
from gavotte.sandbox.keeper.wire import CHUNK, ERR, IN, MESSAGE, OUT, WINDOW, Malformed, decode_message, encode
from gavotte.sandbox.lifecycle import AsyncSandbox

__all__ = ["Session", "hang_up", "show_console", "took_too_long"]


class Session:
    """One command that runs for one client."""

    def __init__(self, connection: Connection, box: AsyncSandbox, process: AsyncProcess) -> None:
        self._connection = connection
        self._box = box
        self._process = process
        self._outputs = {OUT: process.stdout, ERR: process.stderr}
        self._credit = {OUT: Credit(), ERR: Credit()}
        self._input: deque[bytes] = deque()
        self._waiting = 0  # bytes of input
        self._news = asyncio.Event()

    async def run(self, timeout: float | None, spent: float = 0.0) -> Exit | None:
        """Until its end, or until the client goes: the command gets SIGHUP then, and this gives None.

        Raises CommandTimeout when it took longer than `timeout` seconds, of which some are `spent`; CommandLost,
        GuestSilent.
        """
        left = None if timeout is None else max(0.0, timeout - spent)
        listening = asyncio.ensure_future(self._listen())
        feeding = asyncio.ensure_future(self._feed())
        ending = asyncio.ensure_future(self._to_its_end())
        tasks = (listening, feeding, ending)
        try:
            await asyncio.wait([listening, ending], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                if isinstance(ending.exception(), GuestSilent):  # whose command nobody would read any more
                    await self._process.close()
                return ending.result()
            if listening.done():
                ending.cancel()
                feeding.cancel()
                await hang_up(self._process, paused=self._box.paused)
                return None
            await self._process.close()
            raise took_too_long(self._process.argv, timeout or 0.0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _to_its_end(self) -> Exit:
        await asyncio.gather(*(self._drain(kind, stream) for kind, stream in self._outputs.items()))
        await self._process.wait()
        if self._process.exit is None:
            raise GuestError("the command's end was not seen")
        return self._process.exit

    async def _drain(self, kind: int, stream: OutputStream) -> None:
        data = b"?"
        while data:
            data = await stream.read(await self._credit[kind].some())
            self._credit[kind].left -= len(data)
            await self._connection.send(encode(kind, data))

    async def _feed(self) -> None:
        """What the client sent, to the command, as fast as that reads."""
        stdin = self._process.stdin
        if stdin is None:
            return
        try:
            while data := await self._next_input():
                await stdin.write(data)
                self._waiting -= len(data)
                await self._connection.tell(credit=len(data))
            await stdin.close()
        except (BrokenPipeError, AgentError, GuestSilent):
            await self._connection.tell(closed=True)

    async def _next_input(self) -> bytes:
        while not self._input:
            self._news.clear()
            await self._news.wait()
        return self._input.popleft()

    async def _listen(self) -> None:
        try:
            while True:
                kind, payload = await self._connection.receive()
                if kind == IN:
                    self._waiting += len(payload)
                    if self._waiting > WINDOW:
                        raise Malformed("more input than was granted")
                    self._input.append(payload)
                    self._news.set()
                elif kind == MESSAGE:
                    await self._obey(decode_message(payload))
        except (EOFError, Malformed, LookupError, TypeError, ValueError):
            pass  # the client has gone, or talks nonsense

    async def _obey(self, message: dict[str, Any]) -> None:
        if "credit" in message:
            self._credit[message["stream"]].grant(int(message["credit"]))
        elif "close" in message:
            await self._outputs[message["close"]].close()
        elif "signal" in message:
            await self._signal(int(message["signal"]))
        elif "window" in message:
            rows, columns = message["window"]
            await _attempt(self._process.resize(int(rows), int(columns)))

    async def _signal(self, number: int) -> None:
        if self._box.paused:
            self._connection.post(note=f"{self._box.name} is paused: nothing reaches it until it is resumed")
        else:
            await _attempt(self._process.send_signal(number))


def took_too_long(argv: Sequence[str], timeout: float) -> CommandTimeout:
    """The error for a command that had its time."""
    return CommandTimeout(f"{argv[0]!r} was ended after {timeout:g} s", hint="give it more time (--timeout)")


async def hang_up(process: AsyncProcess, *, paused: bool = False) -> None:
    """As when a terminal is closed; then wait for the end of one that goes on all the same. Its output goes nowhere."""
    process.unwatch()
    if not paused:  # nothing would answer
        await _attempt(process.send_signal(signal.SIGHUP))
    if process.stdin is not None:
        await _attempt(process.stdin.close())
    await asyncio.gather(_discard(process.stdout), _discard(process.stderr))


async def _attempt(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (AgentError, GuestSilent):
        pass  # the command's end tells why


async def _discard(stream: OutputStream) -> None:
    async for _ in stream:
        pass


class Credit:
    """How many bytes of a stream may be sent."""

    def __init__(self) -> None:
        self.left = WINDOW
        self._news = asyncio.Event()

    async def some(self) -> int:
        """Wait until there is any; how many bytes may be sent at once."""
        while self.left <= 0:
            self._news.clear()
            await self._news.wait()
        return min(self.left, CHUNK)

    def grant(self, count: int) -> None:
        self.left = min(self.left + count, WINDOW)
        self._news.set()


async def show_console(connection: Connection, stream: socket.socket) -> None:
    """Copy between a console's stream and the client, until one of them ends. The stream drops what is too much."""
    loop = asyncio.get_running_loop()
    stream.setblocking(False)

    async def show() -> None:
        while data := await loop.sock_recv(stream, CHUNK):
            await connection.send(encode(OUT, data))

    async def type_in() -> None:
        while True:
            kind, payload = await connection.receive()
            if kind == IN:
                if not payload:
                    return
                await loop.sock_sendall(stream, payload)
                await connection.tell(credit=len(payload))

    tasks = [asyncio.ensure_future(show()), asyncio.ensure_future(type_in())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
