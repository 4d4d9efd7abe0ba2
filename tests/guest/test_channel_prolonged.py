"""No wait that a guest can prolong: every operation of the agent's protocol, with a guest that does all it can.

Each call is back within its timeout and the grace, with what it was to give or with an error of the guest's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from gavotte.errors import CommandTimeout, GuestError, GuestSilent
from gavotte.guest import agent, command, liveness
from gavotte.guest.channel import Channel
from gavotte.guest.command import AsyncProcess
from gavotte.sandbox.result import MAX_OUTPUT, run_to_end
from tests.support.agents import DEADLINE
from tests.support.channels import Peer, peer_channel, started
from tests.support.qmp_server import run

SOON = 0.05  # seconds: the timeout of each call, and what a guest is given beyond it
INPUT = bytes(20_000_000)
TOKEN = "ab" * agent.TOKEN_LENGTH

Call = Callable[[Channel], Awaitable[object]]
CommandCall = Callable[[AsyncProcess], Awaitable[object]]
Behaviour = Callable[[socket.socket, int], None]  # what the guest does, in a thread of its own, to the line


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE", SOON)
    monkeypatch.setattr(liveness, "SILENCE", SOON)


# --- what a guest may do ----------------------------------------------------------------------------------------------


def frames(kind: int, payload: bytes, channel: int) -> bytes:
    """As many as are read at once, on that channel and on the next one, which is that of the request after it."""
    two = agent.encode(kind, channel, payload, agent.STDOUT) + agent.encode(kind, channel + 1, payload, agent.STDOUT)
    return two * (1 + (64 << 10) // len(two))


def flood(kind: int, payload: bytes) -> Behaviour:
    def behave(sock: socket.socket, channel: int) -> None:
        data = frames(kind, payload, channel)
        while True:
            sock.sendall(data)

    return behave


def say(*parts: tuple[int, bytes]) -> Behaviour:
    def behave(sock: socket.socket, channel: int) -> None:
        for kind, payload in parts:
            sock.sendall(agent.encode(kind, channel, payload, agent.STDOUT))

    return behave


def silence(_sock: socket.socket, _channel: int) -> None:
    pass


def deaf_to_all(sock: socket.socket, _channel: int) -> None:
    """Takes everything and says nothing."""
    while sock.recv(1 << 20):
        pass


def half_a_frame(sock: socket.socket, channel: int) -> None:
    sock.sendall(agent.HEADER.pack(agent.MAGIC, agent.DATA, agent.STDOUT, channel, 1000) + b"x" * 10)


LIES: list[bytes] = [
    b'{"pid":-1,"root_size":-1,"cpus":0,"memory":-1}',
    b'{"pid":1e9,"root_size":1e9,"cpus":1.5,"memory":NaN}',
    b'{"pid":"1","root_size":"1","cpus":"1","memory":"1"}',
    b'{"pid":' + b"9" * 3000 + b"}",
    b"[" * 4000,
    b"[]",
    b"\xff",
    b"",
]
ANSWERS = b'{"pid":2,"root_size":1,"cpus":1,"memory":1}'
BEHAVIOURS: dict[str, Behaviour] = {
    "silence": silence,
    "silence, and all is read": deaf_to_all,
    "half a frame": half_a_frame,
    "hello for ever": flood(agent.HELLO, b'{"protocol":1}'),
    "requests for ever": flood(agent.REQUEST, b""),
    "replies for ever": flood(agent.REPLY, ANSWERS),
    "large replies for ever": flood(agent.REPLY, b"[" + b"[]," * 300_000 + b"[]]"),
    "errors for ever": flood(agent.ERROR, b'{"code":"os","message":"no"}'),
    "errors that aren't for ever": flood(agent.ERROR, b"{}"),
    "output for ever": flood(agent.DATA, b"x"),
    "empty output for ever": flood(agent.DATA, b""),
    "ends of output for ever": flood(agent.EOF, b""),
    "credit for ever": flood(agent.CREDIT, struct.pack(">I", 1)),
    "empty credit for ever": flood(agent.CREDIT, bytes(4)),
    "ends of input for ever": flood(agent.CLOSE, b""),
    "exits for ever": flood(agent.EXIT, b'{"status":0}'),
    "notices for ever": flood(agent.NOTICE, b'{"why":"because"}'),
    "a kind that isn't for ever": flood(77, b""),
    "every answer twice": say((agent.REPLY, ANSWERS), (agent.REPLY, ANSWERS), *[(agent.EXIT, b'{"status":0}')] * 2),
    **{f"the lie {lie[:20]!r}": say((agent.REPLY, lie), (agent.EXIT, lie)) for lie in LIES},
}


@asynccontextmanager
async def behaving(peer: Peer, behaviour: Behaviour, channel: int) -> AsyncIterator[None]:
    """The guest does that until the host has closed the line."""

    def behave() -> None:
        peer.sock.setblocking(True)
        with suppress(OSError):
            behaviour(peer.sock, channel)

    task = asyncio.ensure_future(asyncio.to_thread(behave))
    try:
        yield
    finally:
        peer.sock.shutdown(socket.SHUT_RDWR)
        await task


async def outcome(call: Awaitable[object]) -> object:
    """What it gives, or the guest's error; a TimeoutError where it would wait for ever."""
    async with asyncio.timeout(DEADLINE):
        try:
            return await call
        except GuestError as error:
            assert error.message.isprintable()
            assert "Error" not in error.message
            assert len(error.message) < 600
            return error


# --- each operation ---------------------------------------------------------------------------------------------------


def asked(operation: str) -> Call:
    return lambda channel: channel.request(operation, deadline=SOON)


def spawn(channel: Channel) -> Awaitable[object]:
    return channel.spawn(["true"], env={}, deadline=SOON)


OPERATIONS: dict[str, Call] = {
    **{name: asked(name) for name in ("setup", "settle", "renew", "online", "sync", "ping", "signal", "window")},
    "exec": spawn,
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
@pytest.mark.parametrize("call", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_is_over_at_its_deadline(call: Call, behaviour: Behaviour) -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(outcome(call(channel)))
            number, _ = await peer.read_request()
            async with behaving(peer, behaviour, number):
                await task

    run(main)


def run_for_a_moment(channel: Channel) -> Awaitable[object]:
    return run_to_end(channel.spawn(["true"], env={}), "true", None, SOON, MAX_OUTPUT)


def run_with_input(channel: Channel) -> Awaitable[object]:
    return run_to_end(channel.spawn(["true"], env={}, stdin=True), "true", INPUT, SOON, MAX_OUTPUT)


def run_without_a_timeout(channel: Channel) -> Awaitable[object]:
    return run_to_end(channel.spawn(["true"], env={}, stdin=True), "true", INPUT, None, MAX_OUTPUT)


RUNS: dict[str, Call] = {
    "run": run_for_a_moment,
    "run with input": run_with_input,
    "run without a timeout": run_without_a_timeout,
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
@pytest.mark.parametrize("call", RUNS.values(), ids=RUNS)
def test_a_run_is_back_within_its_timeout_and_the_grace(call: Call, behaviour: Behaviour) -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(outcome(call(channel)))
            number, _ = await peer.read_request()
            await peer.say_json(agent.REPLY, number, {"pid": 2})
            async with behaving(peer, behaviour, number):
                ended = await task
            if behaviour in (silence, deaf_to_all, half_a_frame):
                assert isinstance(ended, GuestSilent if call is run_without_a_timeout else CommandTimeout)
                assert "sandbox" in ended.hint

    run(main)


async def write_all(process: AsyncProcess) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        await process.stdin.write(INPUT)


COMMANDS: dict[str, CommandCall] = {
    "wait": AsyncProcess.wait,
    "read": lambda process: process.stdout.read(100),
    "write": write_all,
    "close": AsyncProcess.close,
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
@pytest.mark.parametrize("call", COMMANDS.values(), ids=COMMANDS)
def test_a_wait_without_a_timeout_ends_when_the_guest_answers_nothing(call: CommandCall, behaviour: Behaviour) -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            process = await started(channel, peer)
            async with behaving(peer, behaviour, process.number):
                ended = await outcome(call(process))
            if behaviour in (silence, deaf_to_all, half_a_frame) and call is not AsyncProcess.close:
                assert isinstance(ended, GuestSilent)

    run(main)


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
@pytest.mark.parametrize("operation", ["resume", "restore"])
def test_to_take_a_line_over_is_given_up_at_the_deadline(operation: str, behaviour: Behaviour) -> None:
    async def main() -> None:
        async def words() -> str:
            return ""

        ours, theirs = socket.socketpair()
        with theirs:
            line = (ours, TOKEN, words)
            taking: Awaitable[object]
            if operation == "resume":
                taking = Channel.attach(*line, deadline=SOON)
            else:
                taking = Channel.restore(*line, {}, deadline=SOON)
            task = asyncio.create_task(outcome(taking))
            peer = Peer(theirs)
            assert await asyncio.get_running_loop().sock_recv(theirs, agent.TOKEN_LENGTH) == bytes.fromhex(TOKEN)
            number, _ = await peer.read_request()
            await peer.write(bytes.fromhex(TOKEN))
            async with behaving(peer, behaviour, number):
                taken = await task
                if isinstance(taken, Channel):
                    await taken.close()

    run(main)
