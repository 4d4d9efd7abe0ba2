"""The host's side of taking a line over: what a manager finds again, and what a hostile guest can't do to it."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavotte.errors import AgentError, CommandLost
from gavotte.guest import agent, stale
from gavotte.guest.channel import Channel
from gavotte.guest.command import AsyncProcess
from tests.support.agents import DEADLINE, SETUP, AgentProcess, skip_unless_possible
from tests.support.channels import Peer

TOKEN = "f00dfeed" * 4
NUMBERS = "".join(f"{n}\n" for n in range(1, 200_001)).encode()
KNOWN: dict[str, Any] = {
    "channel": 5,
    "pid": 9,
    "argv": ["cat", "-n"],
    "tty": False,
    "stdin": 1000,
    "stdout": True,
    "stderr": False,
}
EXITED: dict[str, Any] = {"channel": 4, "pid": 8, "argv": ["false"], "status": 1}
LISTING: dict[str, Any] = {"last": 6, "commands": [KNOWN], "exits": [EXITED]}
BAD: dict[str, list[object]] = {
    "channel": [7, -1, "5", 2.0],
    "pid": [-1, 1 << 23, None],
    "argv": [[], "cat", None],
    "stdin": [-1, agent.WINDOW + 1, True],
    "at": [7, [1], [1, 2, 3], [-1, 0], ["1", 0], [0, 1 << 63]],
}


async def words() -> str:
    return ""


@asynccontextmanager
async def attaching(deadline: float = DEADLINE) -> AsyncIterator[tuple[asyncio.Task[Channel], Peer, int]]:
    """An attach under way, the guest's end of its line, and the number of its request."""
    ours, theirs = socket.socketpair()
    with theirs:
        task = asyncio.create_task(Channel.attach(ours, TOKEN, words, deadline))
        peer = Peer(theirs)
        token = await asyncio.get_running_loop().sock_recv(peer.sock, agent.TOKEN_LENGTH)
        assert token == bytes.fromhex(TOKEN)
        number, request = await peer.read_request()
        assert request == {"op": "resume"}
        assert agent.FIRST_RESUMER <= number < 1 << 32
        try:
            yield task, peer, number
        finally:
            await asyncio.wait([task])
            if not task.exception():
                await task.result().close()


def answer(number: int, listing: object) -> bytes:
    return bytes.fromhex(TOKEN) + agent.encode_json(agent.REPLY, number, listing)


@settings(max_examples=30)
@given(stale=st.binary(max_size=60), cut=st.integers(1, 80))
def test_what_was_for_another_manager_is_skipped_wherever_it_was_cut_off(stale: bytes, cut: int) -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            older = answer(number - 1 if number > agent.FIRST_RESUMER else number + 1, {**LISTING, "last": 99})
            data = stale + older + bytes.fromhex(TOKEN)[:7] + answer(number, LISTING)
            for at in range(0, len(data), cut):
                await peer.write(data[at : at + cut])
            attached = await task
            assert list(attached.processes) == [5]
            assert attached.ended is None

    asyncio.run(main())


def test_commands_and_exits_are_known_again_and_output_that_comes_with_the_answer_is_theirs() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            frames = agent.encode(agent.DATA, 5, b"late", agent.STDOUT) + agent.encode(agent.EOF, 5, b"", agent.STDOUT)
            await peer.write(answer(number, LISTING) + frames + agent.encode_json(agent.EXIT, 5, {"status": 3}))
            attached = await task
            (ended,) = attached.exits
            assert (ended.number, ended.pid, ended.argv, ended.exit and ended.exit.returncode) == (4, 8, ("false",), 1)
            assert attached.processes == {}

    asyncio.run(main())


def test_a_command_that_ends_right_behind_the_answer_is_known_all_the_same() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            frames = agent.encode(agent.DATA, 5, b"late", agent.STDOUT) + agent.encode(agent.EOF, 5, b"", agent.STDOUT)
            listing = {**LISTING, "commands": [{**KNOWN, "at": [1000, 20]}]}
            await peer.write(answer(number, listing) + frames + agent.encode_json(agent.EXIT, 5, {"status": 3}))
            (process,) = (await task).adopted.values()
            assert (process.stdout.offset, process.stderr.offset) == (1000, 20)
            assert await process.stdout.read() == b"late"
            assert await process.wait() == 3

    asyncio.run(main())


def test_many_commands_are_taken_over_in_many_turns_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [0]  # in each turn
    adopt = AsyncProcess.adopt

    def counted(*args: Any) -> None:
        taken[-1] += 1
        adopt(*args)

    async def turns() -> None:
        while True:
            await asyncio.sleep(0)
            taken.append(0)

    async def main() -> None:
        async with attaching() as (task, peer, number):
            many = [{"channel": n, "pid": n + 1, "argv": ["many"]} for n in range(300)]
            others = asyncio.create_task(turns())
            await peer.write(answer(number, {"last": 300, "commands": many, "exits": []}))
            assert len((await task).adopted) == 300
            others.cancel()

    monkeypatch.setattr(AsyncProcess, "adopt", counted)
    asyncio.run(main())
    assert sum(taken) == 300
    assert max(taken) <= 64


def test_a_command_line_is_known_as_far_as_an_agent_sends_it() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            one = {**KNOWN, "argv": ["x" * 900] * 500}
            other = {**KNOWN, "channel": 6, "argv": [""] * 50_000}
            await peer.write(answer(number, {**LISTING, "commands": [one, other]}))
            attached = await task
            assert attached.processes[5].argv == ["x" * 900] * 4 + ["x" * (4096 - 4 * 901)]
            assert attached.processes[6].argv == [""] * 4096

    asyncio.run(main())


def test_more_commands_than_a_guest_can_have_break_the_protocol() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            many = [{"channel": n, "pid": 1, "argv": ["x"]} for n in range(4097)]
            await peer.write(answer(number, {"last": 4097, "commands": many, "exits": []}))
            with pytest.raises(AgentError, match="broke the protocol: it has 4097 commands"):
                await task

    asyncio.run(main())


def test_a_command_s_streams_are_as_the_last_manager_left_them() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            await peer.write(answer(number, LISTING))
            process = (await task).processes[5]
            assert (process.pid, process.argv) == (9, ["cat", "-n"])
            assert await process.stderr.read() == b""
            assert process.stdin is not None
            writing = asyncio.create_task(process.stdin.write(bytes(1001)))
            assert len((await peer.read()).payload) == 1000
            await peer.say(agent.CREDIT, 5, (1).to_bytes(4, "big"))
            assert len((await peer.read()).payload) == 1
            await writing
            await peer.say(agent.DATA, 5, bytes(agent.CHUNK), agent.STDOUT)
            assert len(await process.stdout.read(agent.CHUNK)) == agent.CHUNK
            await peer.say_json(agent.EXIT, 5, {"signal": 9})
            assert await process.wait() == -9

    asyncio.run(main())


def test_a_command_that_was_being_started_starts_or_fails_under_the_new_manager() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            two = [{**KNOWN, "channel": n, "pid": 0} for n in (3, 5)]
            await peer.write(answer(number, {**LISTING, "commands": two}))
            starts, fails = (await task).processes.values()
            await peer.say_json(agent.REPLY, 3, {"pid": 77})
            await peer.say_json(agent.ERROR, 5, {"code": "not-found", "message": "no such program"})
            async with asyncio.timeout(DEADLINE):
                await starts.started
                assert starts.pid == 77
                with pytest.raises(CommandLost):
                    await fails.wait()

    asyncio.run(main())


def test_requests_are_numbered_behind_the_last_manager_s() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            await peer.write(answer(number, LISTING))
            asking = asyncio.create_task((await task).request("setup"))
            later, _ = await peer.read_request()
            assert later == 7
            await peer.say_json(agent.REPLY, 6, {"root_size": 1})
            await peer.say_json(agent.REPLY, later, {"root_size": 2})
            assert await asking == {"root_size": 2}

    asyncio.run(main())


@pytest.mark.parametrize(
    "listing",
    [
        [],
        {},
        {**LISTING, "last": -1},
        {**LISTING, "last": 1 << 31},
        {**LISTING, "last": True},
        {**LISTING, "commands": None},
        {**LISTING, "commands": [KNOWN, KNOWN]},
        {**LISTING, "exits": [{**EXITED, "status": 300}]},
        {**LISTING, "exits": [{"channel": 4, "pid": 8, "argv": ["false"]}]},
        *({**LISTING, "commands": [{**KNOWN, key: value}]} for key, values in BAD.items() for value in values),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_listing_that_no_agent_sends_ends_the_line(listing: object) -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            await peer.write(answer(number, listing))
            with pytest.raises(AgentError, match="broke the protocol"):
                await task

    asyncio.run(main())


def test_a_guest_that_lists_too_much_output_is_not_believed() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, number):
            await peer.write(answer(number, LISTING))
            process = (await task).processes[5]
            for _ in range(agent.WINDOW // agent.CHUNK + 1):
                await peer.say(agent.DATA, 5, bytes(agent.CHUNK), agent.STDOUT)
            with pytest.raises(CommandLost, match="more of a stream than it was granted"):
                await process.wait()

    asyncio.run(main())


def test_what_is_skipped_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale, "_MOST", 100_000)

    async def main() -> None:
        async with attaching() as (task, peer, _):
            with pytest.raises(AgentError, match="answer another manager"):
                await asyncio.gather(task, peer.write(bytes(200_000)))

    asyncio.run(main())


def test_an_agent_that_knows_another_token_never_answers_and_the_deadline_says_so() -> None:
    async def main() -> None:
        async with attaching(0.2) as (task, _, _):
            with pytest.raises(AgentError, match="hand over") as caught:
                await task
            assert "token" in caught.value.hint

    asyncio.run(main())


def test_a_line_that_breaks_meanwhile_is_an_error() -> None:
    async def main() -> None:
        async with attaching() as (task, peer, _):
            peer.sock.close()
            with pytest.raises(AgentError, match="broke"):
                await task

    asyncio.run(main())


def test_the_real_agent_sends_retained_output_again_until_it_was_read_and_done_with() -> None:
    skip_unless_possible()

    async def main() -> None:
        with AgentProcess() as process:
            first = Channel(process.sock.dup(), words)
            await first.hello
            await first.request("setup", time=time.time(), token=TOKEN, **SETUP)
            argv = ["sh", "-c", "seq 200000; seq 5 >&2; exit 6"]
            command = await first.spawn(argv, env={}, retain=True)
            read = await command.stdout.read(30_001)
            await first.close()
            stored = {command.number: (len(read), 0)}
            second = await Channel.attach(process.sock.dup(), TOKEN, words, DEADLINE, stored)
            again = second.adopted[command.number]
            assert (again.stdout.offset, again.stderr.offset) == (len(read), 0)
            assert read + await again.stdout.read() == NUMBERS
            assert await again.stderr.read() == b"1\n2\n3\n4\n5\n"
            assert await again.wait() == 6
            await second.close()
            third = await Channel.attach(process.sock.dup(), TOKEN, words, DEADLINE)
            last = third.adopted[command.number]
            assert last.stdout.offset is not None
            assert NUMBERS[last.stdout.offset :] == await last.stdout.read()  # from the last that was done with
            await third.close()

    asyncio.run(main())


def test_the_real_agent_hands_its_commands_over() -> None:
    skip_unless_possible()

    async def main() -> None:
        with AgentProcess() as process:
            first = Channel(process.sock.dup(), words)
            await first.hello
            await first.request("setup", time=time.time(), token=TOKEN, **SETUP)
            cat = await first.spawn(["cat"], env={}, stdin=True)
            await (await first.spawn(["sh", "-c", "exit 6"], env={})).wait()
            assert cat.stdin is not None
            await cat.stdin.write(b"before\n")
            assert await cat.stdout.readline() == b"before\n"
            await first.close()
            second = await Channel.attach(process.sock.dup(), TOKEN, words, DEADLINE)
            (again,) = second.processes.values()
            assert (again.pid, again.argv) == (cat.pid, ["cat"])
            assert [ended.exit and ended.exit.returncode for ended in second.exits] == [6]
            assert again.stdin is not None
            await again.stdin.write(b"after\n")
            await again.stdin.close()
            assert await again.stdout.read() == b"after\n"
            assert await again.wait() == 0
            other = await second.spawn(["true"], env={})
            assert await other.wait() == 0
            await second.close()

    asyncio.run(main())
