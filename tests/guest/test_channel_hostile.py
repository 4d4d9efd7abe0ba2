"""A peer that breaks the protocol: it is cut off with a typed error, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from gavotte.errors import AgentError, CommandLost
from gavotte.guest import agent
from tests.support.agents import DEADLINE
from tests.support.channels import Peer, peer_channel, started
from tests.support.qmp_server import run

Break = Callable[[Peer], Awaitable[None]]


async def garbage(peer: Peer) -> None:
    await peer.write(b"\x1b[2Jlogin: " * 10)


async def half_a_frame_and_the_end(peer: Peer) -> None:
    await peer.write(agent.encode(agent.DATA, 1, b"x" * 100)[:50])
    peer.sock.shutdown(socket.SHUT_WR)


async def huge_length(peer: Peer) -> None:
    await peer.write(agent.HEADER.pack(agent.MAGIC, agent.DATA, 1, 1, 2**32 - 1))


def said(kind: int, payload: bytes, stream: int = 0) -> Break:
    async def say(peer: Peer) -> None:
        await peer.say(kind, 1, payload, stream)

    return say


async def flood(peer: Peer) -> None:
    for _ in range(agent.WINDOW // agent.CHUNK + 1):
        await peer.say(agent.DATA, 1, bytes(agent.CHUNK), agent.STDOUT)


async def one_byte_too_many(peer: Peer) -> None:
    for _ in range(agent.WINDOW // agent.CHUNK):
        await peer.say(agent.DATA, 1, bytes(agent.CHUNK), agent.STDERR)
    await peer.say(agent.DATA, 1, b"x", agent.STDERR)


DEEP = b"[" * 200_000
BREACHES: dict[str, Break] = {
    "garbage": garbage,
    "half a frame": half_a_frame_and_the_end,
    "huge length": huge_length,
    "data beyond credit": flood,
    "one byte beyond credit": one_byte_too_many,
    "a piece larger than any": said(agent.DATA, bytes(agent.CHUNK + 1), agent.STDERR),
    "data for stdin": said(agent.DATA, b"x", agent.STDIN),
    "data for no stream": said(agent.DATA, b"x", 77),
    "end of no stream": said(agent.EOF, b"", 77),
    "short credit": said(agent.CREDIT, b"x"),
    "hello is no object": said(agent.HELLO, b"[1,2]"),
    "hello is no json": said(agent.HELLO, b"hello"),
    "hello nested deep": said(agent.HELLO, DEEP),
    "error without a message": said(agent.ERROR, b'{"code":5}'),
    "error nested deep": said(agent.ERROR, DEEP),
    "error is a list": said(agent.ERROR, b"[]"),
    "notice is a list": said(agent.NOTICE, b"[]"),
    "notice without a reason": said(agent.NOTICE, b"{}"),
    "notice is no utf-8": said(agent.NOTICE, b"\xff\xff"),
    "exit is a list": said(agent.EXIT, b"[]"),
    "exit is empty": said(agent.EXIT, b"{}"),
    "exit is a string": said(agent.EXIT, b'"status"'),
    "exit nested deep": said(agent.EXIT, DEEP),
    "exit status too large": said(agent.EXIT, b'{"status":256}'),
    "exit status negative": said(agent.EXIT, b'{"status":-1000}'),
    "exit status of many digits": said(agent.EXIT, b'{"status":' + b"9" * 4000 + b"}"),
    "exit status infinite": said(agent.EXIT, b'{"status":1e999}'),
    "exit status not a number": said(agent.EXIT, b'{"status":NaN}'),
    "exit status null": said(agent.EXIT, b'{"status":null}'),
    "exit status a word": said(agent.EXIT, b'{"status":"zero"}'),
    "exit signal too large": said(agent.EXIT, b'{"signal":65}'),
    "exit signal infinite": said(agent.EXIT, b'{"signal":-1e999}'),
    "exit accidents infinite": said(agent.EXIT, b'{"status":0,"oom_kills":1e999}'),
    "exit accidents a list": said(agent.EXIT, b'{"status":0,"forks_denied":[]}'),
}


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
def test_a_peer_that_breaks_the_protocol_is_cut_off_and_nobody_waits_for_ever(breach: Break) -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            process = await started(channel, peer)
            request = asyncio.create_task(channel.request("x"))
            await peer.read_request()
            await breach(peer)
            with pytest.raises(AgentError) as caught:
                async with asyncio.timeout(DEADLINE):
                    await request
            with pytest.raises(CommandLost):
                async with asyncio.timeout(DEADLINE):
                    await process.wait()
            assert caught.value.message.isprintable()
            assert len(caught.value.message) < 2000

    run(main)
