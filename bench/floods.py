"""What a guest that floods its line takes of the event loop that all sandboxes of a process share."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise

from bench.rows import Row
from gavotte.guest import agent
from gavotte.guest.channel import Channel

__all__ = ["measure"]

BOUND = 0.05  # seconds
SECONDS = 1.0  # for each kind
PIECE = 64 << 10
_LISTS = b'"x":[' + b"[]," * 1000 + b"[]]"

# Frames of each kind that cost a reader most: small ones, and those whose content is many values.
FLOODS = {
    "ends of output": agent.encode(agent.EOF, 5),
    "credit": agent.encode(agent.CREDIT, 5, bytes(4)),
    "output": agent.encode(agent.DATA, 5, bytes(agent.CHUNK)),
    "notices": agent.encode(agent.NOTICE, 0, b'{"why":"because"}'),
    "large notices": agent.encode(agent.NOTICE, 0, b'{"why":"because",' + _LISTS + b"}"),
    "errors": agent.encode(agent.ERROR, 5, b'{"code":"os","message":"no",' + _LISTS + b"}"),
    "replies of 1 MiB": agent.encode(agent.REPLY, 5, b"[" + b"[]," * 340_000 + b"[]]"),
    "replies of 4 MiB": agent.encode(agent.REPLY, 5, b"[" + b"[]," * 1_390_000 + b"[]]"),
}


def measure(rounds: int, tick: Callable[[], None]) -> list[Row]:
    """The longest turn of the loop beside one guest that floods it. Calls `tick` after each round."""
    longest: dict[str, list[float]] = {f"{name} s": [] for name in FLOODS}
    for _ in range(rounds):
        for name, frame in FLOODS.items():
            longest[f"{name} s"].append(asyncio.run(longest_turn(frame)))
        tick()
    worst = max(longest, key=lambda name: max(longest[name]))
    seconds = max(longest[worst])
    text = f"{seconds * 1000:.1f} ms of processor time ({worst.removesuffix(' s')})"
    return [
        Row("longest turn of the loop beside a flood", text, f"<= {BOUND * 1000:.0f} ms", seconds <= BOUND, longest)
    ]


async def longest_turn(frame: bytes) -> float:
    """Seconds of the loop's thread on a processor from one turn to the next: what other processes do isn't counted."""

    async def last_words() -> str:
        return ""

    ours, theirs = socket.socketpair()
    channel = Channel(ours, last_words)
    flooding = threading.Thread(target=flood, args=(theirs, frame))
    flooding.start()
    longest = await turns(time.monotonic() + SECONDS)
    await channel.close()
    flooding.join()
    theirs.close()
    return longest


def turns(until: float) -> asyncio.Future[float]:
    """The longest of the turns until then."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[float] = loop.create_future()
    times = [time.thread_time()]

    def turn() -> None:
        times.append(time.thread_time())
        if time.monotonic() < until:
            loop.call_soon(turn)
        else:
            over.set_result(max(after - before for before, after in pairwise(times)))

    loop.call_soon(turn)
    return over


def flood(sock: socket.socket, frame: bytes) -> None:
    """Send it until nobody reads any more."""
    data = frame * max(1, PIECE // len(frame))
    try:
        while True:
            sock.sendall(data)
    except OSError:
        return
