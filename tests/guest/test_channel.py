"""The host's end of the line: requests and starts, against the real agent and against a peer that misbehaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable

import pytest

from gavotte.errors import AgentError, CommandLost, CommandNotStarted, UsageError
from gavotte.guest import agent
from gavotte.guest.channel import Channel
from gavotte.guest.replies import printable
from tests.support.agents import DEADLINE
from tests.support.channels import guest_channel, peer_channel, resting_fds, started
from tests.support.qmp_server import run


async def soon(awaitable: Awaitable[object]) -> object:
    """What it gives; a TimeoutError where it would wait for ever."""
    async with asyncio.timeout(DEADLINE / 2):
        return await awaitable


# against the real agent


def test_a_command_runs_in_the_real_agent() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _):
            process = await channel.spawn(["sh", "-c", "echo out; echo err >&2; exit 3"], env={})
            assert process.pid > 1
            assert await process.stdout.read() == b"out\n"
            assert await process.stderr.read() == b"err\n"
            assert await process.wait() == 3

    run(main)


@pytest.mark.parametrize(
    ("argv", "status"), [(["no-such-program"], 127), (["/etc/passwd"], 126), (["/usr"], 126), (["/no/such"], 127)]
)
def test_what_cannot_be_started_has_a_shells_exit_code(argv: list[str], status: int) -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _):
            with pytest.raises(CommandNotStarted) as caught:
                await channel.spawn(argv, env={})
            assert caught.value.exit_code == status

    run(main)


@pytest.mark.parametrize("fields", [{"cwd": "/no/such/directory"}, {"user": "no-such-user"}], ids=["cwd", "user"])
def test_a_missing_user_or_directory_is_a_command_not_started(fields: dict[str, str]) -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _):
            with pytest.raises(CommandNotStarted, match="no"):
                await channel.spawn(["true"], env={}, **fields)  # type: ignore[arg-type]  # mypy can't tell the keys
            assert await (await channel.spawn(["true"], env={})).wait() == 0

    run(main)


def test_more_environment_than_a_guest_takes_is_a_usage_error_and_never_sent() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            with pytest.raises(UsageError):
                await channel.spawn(["true"], env={"A": "x" * (5 << 20)})
            _, request = await peer.read_request()
            assert request["op"] == "signal"  # to make sure: nothing was started

    run(main)


def test_a_refused_request_says_why() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _):
            with pytest.raises(AgentError, match="no operation"):
                await channel.request("no-such-operation")

    run(main)


def test_the_end_of_the_stage_loses_its_commands_and_is_noted() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, guest):
            process = await channel.spawn(["sleep", "1000"], env={})
            os.kill(guest.stage_pid(), signal.SIGKILL)
            with pytest.raises(CommandLost, match="stage"):
                await soon(process.wait())
            assert await soon((await channel.spawn(["true"], env={})).wait()) == 0
            assert any("stage" in notice for notice in channel.notices)

    run(main)


def test_the_end_of_the_agent_is_told_with_its_last_words() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, guest):
            process = await channel.spawn(["sleep", "1000"], env={})
            os.kill(guest.pid, signal.SIGKILL)
            with pytest.raises(CommandLost, match="its console"):
                await soon(process.wait())
            with pytest.raises(AgentError, match="its console"):
                await channel.request("sync")

    run(main)


def test_a_start_that_is_cancelled_half_way_ends_the_command_and_forgets_it() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, guest):
            await (await channel.spawn(["true"], env={})).wait()
            before = await resting_fds(channel, guest)
            for argv in (["sleep", "1000"], ["yes"]) * 10:
                task = asyncio.create_task(channel.spawn(argv, env={}, stdin=True))
                await asyncio.sleep(0)  # it has sent its request
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            async with asyncio.timeout(DEADLINE):
                while (await listed(channel)) != [b"ps"]:
                    pass
                assert await resting_fds(channel, guest) == before

    run(main)


async def listed(channel: Channel) -> list[bytes]:
    """The commands that run in the guest, beside the stage and the process that stands by for the next."""
    process = await channel.spawn(["ps", "-e", "--no-headers", "-o", "comm"], env={})
    stage, *others = (await process.stdout.read()).split()
    names = [name for name in others if name != stage]
    await process.wait()
    return names


# against a peer: answers


def test_an_answer_finds_its_request_in_any_order() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            tasks = [asyncio.create_task(channel.request("online", cpus=n)) for n in (1, 2, 3)]
            requests = [await peer.read_request() for _ in tasks]
            for number, request in reversed(requests):
                await peer.say_json(agent.REPLY, number, {"cpus": request["cpus"], "memory": 0})
            assert [(await task)["cpus"] for task in tasks] == [1, 2, 3]

    run(main)


def test_answers_for_unknown_channels_are_ignored() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(channel.request("setup"))
            number, _ = await peer.read_request()
            for kind in (agent.REPLY, agent.DATA, agent.EOF, agent.CREDIT, agent.CLOSE, agent.EXIT):
                await peer.say(kind, number + 1000, b"" if kind in (agent.EOF, agent.CLOSE) else b"{}")
            await peer.say_json(agent.REPLY, number, {"root_size": 1})
            await peer.say_json(agent.REPLY, number, {"root_size": 2})
            assert await task == {"root_size": 1}
            assert channel.ended is None

    run(main)


def test_a_second_hello_changes_nothing() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            await peer.say_json(agent.HELLO, 0, {"protocol": 1})
            await peer.say_json(agent.HELLO, 0, {"protocol": 2})
            task = asyncio.create_task(channel.request("x"))
            number, _ = await peer.read_request()
            await peer.say_json(agent.REPLY, number, {})
            await task
            assert await channel.hello == 1

    run(main)


def test_an_agent_that_never_answers_is_given_up_at_the_deadline() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, _):
            with pytest.raises(AgentError, match="didn't answer 'x'"):
                await soon(channel.request("x", deadline=0.05))
            with pytest.raises(AgentError, match="didn't start 'true'"):
                await soon(channel.spawn(["true"], env={}, deadline=0.05))

    run(main)


def test_an_agent_that_reads_nothing_is_given_up_at_the_deadline() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, _):
            filler = "x" * (3 << 20)
            with pytest.raises(AgentError):
                await soon(channel.request("x", filler=filler, deadline=0.05))
            with pytest.raises(AgentError):
                await soon(channel.request("x", deadline=0.05))
            with pytest.raises(AgentError):
                await soon(channel.spawn(["true"], env={}, deadline=0.05))

    run(main)


def test_a_late_answer_to_a_request_that_was_given_up_is_ignored() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            with pytest.raises(AgentError):
                await channel.request("x", deadline=0.05)
            number, _ = await peer.read_request()
            await peer.say_json(agent.REPLY, number, {"root_size": 1})
            task = asyncio.create_task(channel.request("setup"))
            number, _ = await peer.read_request()
            await peer.say_json(agent.REPLY, number, {"root_size": 2})
            assert await task == {"root_size": 2}

    run(main)


def test_a_start_that_is_given_up_is_followed_by_a_kill() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            with pytest.raises(AgentError):
                await channel.spawn(["true"], env={}, deadline=0.05)
            number, request = await peer.read_request()
            assert request["op"] == "exec"
            while (frame := await peer.read()).kind != agent.REQUEST:
                pass
            request = json.loads(frame.payload)
            assert (request["op"], request["target"], request["signal"]) == ("signal", number, 9)

    run(main)


@pytest.mark.parametrize("pid", [None, "x", [], {}, float("inf"), float("nan"), 0, -1], ids=json.dumps)
def test_a_start_with_an_absurd_pid_is_an_error_of_the_agents(pid: object) -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(channel.spawn(["true"], env={}))
            number, _ = await peer.read_request()
            await peer.say_json(agent.REPLY, number, {"pid": pid})
            with pytest.raises(AgentError):
                await soon(task)

    run(main)


def test_a_command_that_ends_before_it_has_started_is_lost_at_once() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(channel.spawn(["true"], env={}))
            number, _ = await peer.read_request()
            await peer.say_json(agent.EXIT, number, {"lost": "the stage ended"})
            with pytest.raises((AgentError, CommandLost), match="the stage ended"):
                await soon(task)

    run(main)


# against a peer: the end of the line


def test_a_line_that_closes_in_mid_request_is_told_with_the_last_words() -> None:
    async def main() -> None:
        async with peer_channel("the guest panicked: not syncing") as (channel, peer):
            task = asyncio.create_task(channel.request("x"))
            await peer.read_request()
            peer.sock.shutdown(socket.SHUT_RDWR)
            with pytest.raises(AgentError, match="the guest panicked: not syncing"):
                await soon(task)
            with pytest.raises(AgentError, match="the guest panicked"):
                await channel.request("y")

    run(main)


def test_a_line_that_closes_before_hello_is_told() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            peer.sock.shutdown(socket.SHUT_RDWR)
            with pytest.raises(AgentError):
                await soon(channel.hello)

    run(main)


def test_closing_the_channel_loses_its_commands_and_requests() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            process = await started(channel, peer)
            task = asyncio.create_task(channel.request("x"))
            await peer.read_request()
            await channel.close()
            with pytest.raises(AgentError, match="closed"):
                await soon(task)
            with pytest.raises(CommandLost, match="closed"):
                await soon(process.wait())
            await channel.close()

    run(main)


# text


def test_terminal_sequences_in_a_refusal_are_replaced() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(channel.request("x"))
            number, _ = await peer.read_request()
            evil = {"code": "os", "message": "\x1b]0;title\x07\x1b[2J\r\n\x9b31m" + "long" * 10000}
            await peer.say_json(agent.ERROR, number, evil)
            with pytest.raises(AgentError) as caught:
                await task
            assert str(caught.value).isprintable()
            assert len(str(caught.value)) < 2000

    run(main)


def test_notices_are_printable_and_few() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            for number in range(100):
                await peer.say_json(agent.NOTICE, 0, {"why": f"\x1b[{number}m"})
            await peer.say_json(agent.HELLO, 0, {"protocol": 1})
            await channel.hello
            assert len(channel.notices) == 10
            assert all(notice.isprintable() for notice in channel.notices)

    run(main)


@pytest.mark.parametrize("text", ["\x1b[31m", "a\nb", "\u202e", "\ud800", "\0", "\x9b", "\u2028", 5, None, ["\x1b"]])
def test_what_is_printed_moves_no_cursor(text: object) -> None:
    assert printable(text).isprintable()
