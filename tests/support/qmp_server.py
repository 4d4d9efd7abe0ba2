"""A scripted QMP server: the other end of a socketpair, with every right to misbehave.

async def script(server: QmpServer) -> None:
    await server.negotiate()
    request = await server.read()
    server.reply(request, {"x": 1})

async with scripted(script) as client: ...
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gavotte.qmp.client import LastWords, QmpClient

PATIENCE = 10.0  # seconds after which a test is stuck

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": []}}


@dataclass
class Request:
    """One command as it arrived, with the `fds` that were attached to its bytes. Whoever reads it closes them."""

    command: str
    arguments: dict[str, Any]
    id: Any
    oob: bool
    fds: list[int]


class QmpServer:
    """One end of a stream socket, owned. No read or write takes longer than PATIENCE."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._taken = 0  # lines
        self._fds: dict[int, list[int]] = {}  # by the number of their line

    async def negotiate(self, *, oob: bool = True) -> Request:
        """Greet, and grant the capabilities that are asked for."""
        await self.greet(oob=oob)
        request = await self.read()
        await self.reply(request, {})
        return request

    async def greet(self, *, oob: bool = True) -> None:
        await self.say({"QMP": GREETING["QMP"] | {"capabilities": ["oob"] if oob else []}})

    async def read(self) -> Request:
        """Give the next command; EOFError if the client has closed."""
        while b"\n" not in self._buffer:
            data, fds = await self._receive()
            if not data:
                raise EOFError
            self._buffer += data
            if fds:  # the kernel ends a recv behind the piece that carries fds, but may put earlier bytes before it
                number = self._taken + self._buffer[:-1].count(b"\n")
                self._fds[number] = self._fds.get(number, []) + fds
        line, _, self._buffer = self._buffer.partition(b"\n")
        content = json.loads(line)
        fds = self._fds.pop(self._taken, [])
        self._taken += 1
        command = content.get("execute") or content["exec-oob"]
        return Request(command, content.get("arguments", {}), content["id"], "exec-oob" in content, fds)

    async def read_eof(self) -> None:
        """Return when the client has closed; AssertionError if it says something before."""
        data, _ = await self._receive()
        assert not self._buffer + data

    async def reply(self, request: Request, value: object) -> None:
        await self.say({"return": value, "id": request.id})

    async def refuse(self, request: Request, desc: str) -> None:
        await self.say({"id": request.id, "error": {"class": "GenericError", "desc": desc}})

    async def event(self, name: str, **data: object) -> None:
        await self.say(
            {"timestamp": {"seconds": 1000, "microseconds": 250000}, "event": name, "data": data},
        )

    async def say(self, content: object) -> None:
        await self.write(json.dumps(content).encode() + b"\r\n")

    async def write(self, data: bytes) -> None:
        """Write bytes, of which nobody says that they are QMP."""
        async with asyncio.timeout(PATIENCE):
            await self._loop.sock_sendall(self.sock, data)

    def close(self) -> None:
        self.sock.close()
        for fd in [fd for fds in self._fds.values() for fd in fds]:
            os.close(fd)
        self._fds.clear()

    async def _receive(self) -> tuple[bytes, list[int]]:
        readable = asyncio.Event()
        self._loop.add_reader(self.sock, readable.set)
        try:
            async with asyncio.timeout(PATIENCE):
                await readable.wait()
        finally:
            self._loop.remove_reader(self.sock)
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, 65536, 16)
        except ConnectionResetError:
            return b"", []
        return data, fds


Script = Callable[[QmpServer], Awaitable[None]]


@asynccontextmanager
async def served(script: Script) -> AsyncIterator[socket.socket]:
    """Run the script; give the client's end of the socket. Its failure is raised here; it must come to an end."""
    ours, theirs = socket.socketpair()
    server = QmpServer(theirs)

    async def run() -> None:
        try:
            await script(server)
        finally:
            server.close()

    task = asyncio.create_task(run())
    try:
        yield ours
        async with asyncio.timeout(PATIENCE):
            await task
    finally:
        ours.close()
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def scripted(script: Script, *, last_words: LastWords | None = None) -> AsyncIterator[QmpClient]:
    """Run the script, which negotiates first, and connect a client to it; close the client, then await the script."""
    async with (
        served(script) as sock,
        await QmpClient.connect(sock, deadline=PATIENCE, last_words=last_words) as client,
    ):
        yield client


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an async test. It may not take longer than a stuck server, nor leave an exception that nobody saw."""
    unseen: list[dict[str, Any]] = []

    async def with_deadline() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        async with asyncio.timeout(3 * PATIENCE):
            await test()

    asyncio.run(with_deadline())
    gc.collect()  # a future tells of its unseen exception when it goes
    assert not unseen, unseen


async def negotiated(server: QmpServer) -> None:
    """A script that ends as soon as the client is connected."""
    await server.negotiate()


async def echo(server: QmpServer, commands: int) -> None:
    """Answer each command with its arguments."""
    for _ in range(commands):
        request = await server.read()
        await server.reply(request, request.arguments)
