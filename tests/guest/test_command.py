"""A command seen from the host: its streams' credit, how they are read and written, and how it is ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gavotte.errors import AgentError, CommandLost, UsageError
from gavotte.guest import agent
from gavotte.guest.channel import Channel
from gavotte.guest.command import READS_IN_A_TURN, AsyncProcess, Exit
from tests.support.agents import DEADLINE, PYTHON
from tests.support.channels import Peer, guest_channel, peer_channel, resting_fds
from tests.support.qmp_server import run

QUIET = 0.05  # seconds for which nothing has to happen


@asynccontextmanager
async def running(*, stdin: bool = True) -> AsyncIterator[tuple[AsyncProcess, Peer, int]]:
    """A command that a scripted peer plays, the peer, and the command's channel number."""
    async with peer_channel() as (channel, peer):
        task = asyncio.create_task(channel.spawn(["play"], env={}, stdin=stdin))
        number, _ = await peer.read_request()
        await peer.say_json(agent.REPLY, number, {"pid": 2})
        yield await task, peer, number


async def write_out(peer: Peer, number: int, *pieces: bytes, end: bool = True) -> None:
    """Play a command that writes these pieces to its stdout."""
    for piece in pieces:
        await peer.say(agent.DATA, number, piece, agent.STDOUT)
    if end:
        await peer.say(agent.EOF, number, stream=agent.STDOUT)


# reading


def test_read_gives_what_there_is_as_soon_as_there_is_any() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            reading = asyncio.create_task(process.stdout.read(100))
            await write_out(peer, number, b"ab", end=False)
            assert await reading == b"ab"
            await write_out(peer, number, b"cdef")
            assert [await process.stdout.read(n) for n in (1, 0, 2, 100, 100)] == [b"c", b"", b"de", b"f", b""]

    run(main)


def test_read_without_a_size_gives_all_until_the_end() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            reading = asyncio.create_task(process.stdout.read())
            await write_out(peer, number, b"one ", b"", b"two ", b"three")
            assert await reading == b"one two three"
            assert await process.stdout.read() == b""

    run(main)


@pytest.mark.parametrize("pieces", [[b"one\ntwo\n\nlast"], [b"o", b"ne\nt", b"wo", b"\n", b"\nla", b"st"]], ids=len)
def test_readline_gives_a_line_however_the_bytes_arrive(pieces: list[bytes]) -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            await write_out(peer, number, *pieces)
            lines = [await process.stdout.readline() for _ in range(6)]
            assert lines == [b"one\n", b"two\n", b"\n", b"last", b"", b""]

    run(main)


def test_iteration_gives_every_byte_once_and_ends() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            await write_out(peer, number, b"x" * agent.CHUNK, b"y" * 10)
            assert b"".join([chunk async for chunk in process.stdout]) == b"x" * agent.CHUNK + b"y" * 10

    run(main)


def test_a_window_that_came_byte_by_byte_is_read_in_few_pieces() -> None:
    async def main() -> None:
        async with running() as (process, _, _):
            for n in range(agent.WINDOW):
                process.stdout.feed(b"%d" % (n % 10))
            process.stdout.end()
            pieces = [chunk async for chunk in process.stdout]
            assert len(pieces) == agent.WINDOW // agent.CHUNK
            assert b"".join(pieces) == (b"0123456789" * agent.WINDOW)[: agent.WINDOW]

    run(main)


def test_the_loop_has_its_turn_while_a_window_of_short_lines_is_read() -> None:
    reads: list[int] = [0]  # in each turn

    async def turns() -> None:
        while True:
            await asyncio.sleep(0)
            reads.append(0)

    async def main() -> None:
        async with running() as (process, _, _):
            for _ in range(agent.WINDOW // agent.CHUNK):
                process.stdout.feed((b"x" * 63 + b"\n") * (agent.CHUNK // 64))
            process.stdout.end()
            others = asyncio.create_task(turns())
            while await process.stdout.readline():
                reads[-1] += 1
            others.cancel()

    run(main)
    assert sum(reads) == agent.WINDOW // 64
    assert max(reads) <= READS_IN_A_TURN


def test_what_was_read_before_is_given_back_as_credit_when_more_is_read_and_never_more() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            received = granted = 0
            for _ in range(40):
                reading = asyncio.create_task(process.stdout.read(agent.CHUNK))
                await asyncio.sleep(0)  # it begins: what the last one gave is done with
                while received - granted >= agent.WINDOW // 4:
                    frame = await peer.read()
                    assert (frame.kind, frame.channel, frame.stream) == (agent.CREDIT, number, agent.STDOUT)
                    granted += struct.unpack(">I", frame.payload)[0]
                    assert granted <= received
                await write_out(peer, number, bytes(agent.CHUNK), end=False)
                received += len(await reading)

    run(main)


def test_what_is_not_read_is_given_no_credit_for() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            await write_out(peer, number, *[bytes(agent.CHUNK)] * (agent.WINDOW // agent.CHUNK), end=False)
            await process.stdin.close() if process.stdin else None
            assert (await peer.read()).kind == agent.EOF  # and no CREDIT before it

    run(main)


def test_a_closed_output_tells_the_command_once_and_drops_the_rest() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            await write_out(peer, number, b"unread", end=False)
            await process.stdout.close()
            await process.stdout.close()
            frame = await peer.read()
            assert (frame.kind, frame.stream) == (agent.CLOSE, agent.STDOUT)
            await write_out(peer, number, b"was under way")
            await peer.say_json(agent.EXIT, number, {"status": 0})
            assert await process.wait() == 0
            assert await process.stdout.read() == b""

    run(main)


def test_a_reader_is_woken_by_the_end_of_the_line() -> None:
    async def main() -> None:
        async with running() as (process, peer, _):
            reading = asyncio.create_task(process.stdout.read())
            await asyncio.sleep(0)
            peer.sock.shutdown(2)
            async with asyncio.timeout(DEADLINE):
                assert await reading == b""
                with pytest.raises(CommandLost):
                    await process.wait()

    run(main)


# writing


def test_a_writer_without_credit_waits_until_it_is_granted_some() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            assert process.stdin is not None
            writing = asyncio.create_task(process.stdin.write(bytes(agent.WINDOW + 100)))
            received = 0
            while received < agent.WINDOW:
                frame = await peer.read()
                assert frame.kind == agent.DATA
                assert len(frame.payload) <= agent.CHUNK
                received += len(frame.payload)
            await asyncio.wait([writing], timeout=QUIET)
            assert not writing.done()
            for _ in range(10):
                await peer.say(agent.CREDIT, number, struct.pack(">I", 10))
            while received < agent.WINDOW + 100:
                received += len((await peer.read()).payload)
            await writing
            assert received == agent.WINDOW + 100

    run(main)


@pytest.mark.parametrize("end", ["close", "exit", "line"])
def test_a_writer_that_waits_for_credit_is_told_when_none_will_come(end: str) -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            assert process.stdin is not None
            writing = asyncio.create_task(process.stdin.write(bytes(2 * agent.WINDOW)))
            for _ in range(agent.WINDOW // agent.CHUNK):
                await peer.read()
            if end == "close":
                await peer.say(agent.CLOSE, number, stream=agent.STDIN)
            elif end == "exit":
                await peer.say_json(agent.EXIT, number, {"status": 0})
            else:
                peer.sock.shutdown(2)
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(BrokenPipeError):
                    await writing

    run(main)


def test_the_end_of_stdin_is_told_once_and_nothing_can_be_written_after_it() -> None:
    async def main() -> None:
        async with running() as (process, peer, _):
            assert process.stdin is not None
            await process.stdin.write(b"")
            await process.stdin.close()
            await process.stdin.close()
            with pytest.raises(BrokenPipeError):
                await process.stdin.write(b"x")
            assert (await peer.read()).kind == agent.EOF
            task = asyncio.create_task(process.send_signal(15))
            number, request = await peer.read_request()
            assert request["op"] == "signal"
            await peer.say_json(agent.REPLY, number, {})
            await task

    run(main)


def test_a_command_without_stdin_has_none() -> None:
    async def main() -> None:
        async with running(stdin=False) as (process, _, _):
            assert process.stdin is None

    run(main)


# how it ends


@pytest.mark.parametrize(
    ("outcome", "code", "status"),
    [({"status": 0}, 0, 0), ({"status": 255}, 255, 255), ({"signal": 9}, -9, 137), ({"signal": 64}, -64, 192)],
    ids=str,
)
def test_the_exit_is_as_subprocess_and_a_shell_say_it(outcome: dict[str, int], code: int, status: int) -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            assert process.returncode is None
            await peer.say_json(agent.EXIT, number, {**outcome, "oom_kills": 2})
            assert await process.wait() == code
            assert process.returncode == code
            assert process.exit == Exit(code, oom_kills=2)
            assert process.exit.status == status

    run(main)


def test_a_lost_command_has_no_returncode_and_says_why() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            await peer.say_json(agent.EXIT, number, {"lost": "the stage\x1b[2J ended"})
            with pytest.raises(CommandLost, match="the stage") as caught:
                await process.wait()
            assert str(caught.value).isprintable()
            assert process.returncode is None
            assert process.exit is None

    run(main)


def test_a_wait_that_is_cancelled_can_be_repeated() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(QUIET):
                    await process.wait()
            await peer.say_json(agent.EXIT, number, {"status": 4})
            assert await process.wait() == 4

    run(main)


def test_a_command_that_is_over_is_sent_no_signal_and_no_size() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):
            await peer.say_json(agent.EXIT, number, {"status": 0})
            await process.wait()
            await process.kill()
            await process.resize(1, 1)
            await process.close()
            peer.sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.sock.recv(1)

    run(main)


def test_leaving_the_context_kills_the_command_and_waits_for_its_end() -> None:
    async def main() -> None:
        async with running() as (process, peer, number):

            async def leave() -> None:
                async with process:
                    pass

            leaving = asyncio.create_task(leave())
            while (frame := await peer.read()).kind != agent.REQUEST:
                assert frame.kind == agent.CLOSE
            request = json.loads(frame.payload)
            assert (request["op"], request["target"], request["signal"]) == ("signal", number, 9)
            await peer.say_json(agent.REPLY, frame.channel, {})
            await asyncio.wait([leaving], timeout=QUIET)
            assert not leaving.done()
            await peer.say_json(agent.EXIT, number, {"signal": 9})
            await leaving
            assert process.returncode == -9

    run(main)


def test_leaving_the_context_after_the_line_broke_raises_nothing() -> None:
    async def main() -> None:
        async with running() as (process, peer, _):
            async with process:
                peer.sock.shutdown(2)
            with pytest.raises((CommandLost, AgentError)):
                await process.wait()

    run(main)


# against the real agent


async def spawn(channel: Channel, *argv: str, stdin: bool = False, tty: tuple[int, int] | None = None) -> AsyncProcess:
    return await channel.spawn(argv, env={}, stdin=stdin, tty=tty)


def test_megabytes_through_a_real_command_are_exact() -> None:
    async def main() -> None:
        data = random.Random(5).randbytes(2 << 20)
        async with guest_channel() as (channel, _), await spawn(channel, "cat", stdin=True) as process:

            async def feed() -> None:
                assert process.stdin is not None
                await process.stdin.write(data)
                await process.stdin.close()

            feeding = asyncio.create_task(feed())
            received = await process.stdout.read()
            await feeding
            assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
            assert await process.wait() == 0

    run(main)


def test_closing_a_command_whose_output_nobody_reads_does_not_wait_for_ever() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, guest):
            await (await spawn(channel, "true")).wait()
            before = await resting_fds(channel, guest)
            for argv in (["yes"], ["sh", "-c", "yes >&2"], ["head", "-c", "400000", "/dev/zero"]):
                process = await spawn(channel, *argv)
                async with asyncio.timeout(DEADLINE):
                    await process.stdout.read(1) if argv != ["sh", "-c", "yes >&2"] else await process.stderr.read(1)
                    await process.close()
                assert process.returncode is not None
            assert await resting_fds(channel, guest) == before

    run(main)


def test_a_real_command_whose_output_is_closed_dies_of_sigpipe() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _), await spawn(channel, "yes") as process:
            assert await process.stdout.readline() == b"y\n"
            await process.stdout.close()
            assert await process.wait() == -signal.SIGPIPE

    run(main)


def test_a_real_command_that_closes_its_stdin_breaks_the_writers_pipe() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _):
            script = "import os, time; os.close(0); print(1, flush=True); time.sleep(1000)"
            async with await spawn(channel, PYTHON, "-Sc", script, stdin=True) as process:
                assert process.stdin is not None
                await process.stdout.readline()
                async with asyncio.timeout(DEADLINE):
                    with pytest.raises(BrokenPipeError):
                        while True:
                            await process.stdin.write(bytes(agent.CHUNK))

    run(main)


def test_a_real_terminal_is_resized_and_interrupted() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _):
            script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
            async with await spawn(channel, "sh", "-c", script, stdin=True, tty=(10, 20)) as process:
                assert await process.stdout.readline() == b"ready\r\n"
                await process.resize(30, 40)
                assert await process.stdout.readline() == b"30 40\r\n"
                assert process.stdin is not None
                await process.stdin.write(b"\x03")
                assert await process.wait() == -signal.SIGINT

    run(main)


def test_a_signal_that_does_not_exist_is_refused_and_the_command_goes_on() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _), await spawn(channel, "cat", stdin=True) as process:
            with pytest.raises(UsageError, match="^number: 999 is not a number from 1 to 64"):
                await process.send_signal(999)
            with pytest.raises(AgentError):  # by the agent, too
                await channel.request("signal", target=process.number, signal=999)
            assert process.stdin is not None
            await process.stdin.close()
            assert await process.wait() == 0

    run(main)
