"""A host's channel, with the real agent or with a peer that a test plays at the other end."""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gavotte.guest import agent
from gavotte.guest.channel import Channel
from gavotte.guest.command import AsyncProcess
from tests.support.agents import DEADLINE, SETUP, AgentProcess, skip_unless_possible

__all__ = ["Peer", "guest_channel", "peer_channel", "resting_fds", "started"]


async def _console_of(process: AgentProcess) -> str:
    return f"the agent ended; its console: {process.log()[-300:]}"


@asynccontextmanager
async def guest_channel() -> AsyncIterator[tuple[Channel, AgentProcess]]:
    """A channel to an agent that has been set up; skips the test where that is impossible."""
    skip_unless_possible()
    with AgentProcess() as process:
        channel = Channel(process.sock, functools.partial(_console_of, process))
        try:
            async with asyncio.timeout(DEADLINE):
                await channel.hello
            await channel.request("setup", time=time.time(), **SETUP)
            yield channel, process
        finally:
            await channel.close()


async def resting_fds(channel: Channel, process: AgentProcess) -> int:
    """How many fds the agent holds when no command runs, and a process stands by for the next."""
    same, count = 0, -1
    async with asyncio.timeout(DEADLINE):
        while same < 5:
            await channel.request("settle")  # the agent knows of it, which it hears from the stage
            now = process.open_fds() if len(process.children_of_stage()) == 1 else -1
            same, count = (same + 1 if now == count >= 0 else 0), now
    return count


class Peer:
    """The guest's end of a channel, with every right to misbehave."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._decoder = agent.Decoder()
        self._frames: deque[agent.Frame] = deque()

    async def read(self) -> agent.Frame:
        """The next frame that the host sent; EOFError when it has closed."""
        async with asyncio.timeout(DEADLINE):
            while not self._frames:
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 18)
                if not data:
                    raise EOFError
                self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    async def read_request(self) -> tuple[int, dict[str, Any]]:
        """The next request: its channel and what it says."""
        frame = await self.read()
        assert frame.kind == agent.REQUEST
        return frame.channel, json.loads(frame.payload)

    async def write(self, data: bytes) -> None:
        """Send bytes, of which nobody says that they are frames."""
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def say(self, kind: int, channel: int = 0, payload: bytes = b"", stream: int = 0) -> None:
        await self.write(agent.encode(kind, channel, payload, stream))

    async def say_json(self, kind: int, channel: int, value: object) -> None:
        await self.write(agent.encode_json(kind, channel, value))


@asynccontextmanager
async def peer_channel(last_words: str = "") -> AsyncIterator[tuple[Channel, Peer]]:
    """A channel, and the end of its line that a test plays."""

    async def words() -> str:
        return last_words

    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours, words)
        try:
            yield channel, Peer(theirs)
        finally:
            await channel.close()


async def started(channel: Channel, peer: Peer) -> AsyncProcess:
    """A command that the peer says it runs."""
    task = asyncio.create_task(channel.spawn(["true"], env={}, stdin=True))
    number, _ = await peer.read_request()
    await peer.say_json(agent.REPLY, number, {"pid": 2})
    return await task
