"""The host's side of requests that were sent ahead: before there was a channel, and without waiting for the reply."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gavotte.errors import AgentError
from gavotte.guest import agent
from gavotte.guest.channel import Channel
from tests.support import agents
from tests.support.agents import DEADLINE, SETUP, AgentProcess, skip_unless_possible
from tests.support.channels import Peer, guest_channel, peer_channel
from tests.support.qmp_server import run

TOKEN = "f00dfeed" * 4
NUMBER = agent.FIRST_RESUMER + 77
RESTORE: dict[str, Any] = {
    "op": "restore",
    "seed": "5a" * agent.SEED_LENGTH,
    "shift": 0,
    "hostname": "another",
    "token": None,
    "cpus": 1,
    "memory": 0,
    "latent": {},
}
LISTING = {"last": 0, "commands": [], "exits": [], "root_size": 5}


async def words() -> str:
    return "the guest has gone"


# a request whose reply nobody waits for


def test_what_the_agent_is_told_is_sent_before_what_it_is_asked_next_and_no_answer_to_it_is_anothers() -> None:
    async def story() -> None:
        async with peer_channel() as (channel, peer):
            await channel.tell("x", n=1)
            asked = asyncio.create_task(channel.request("setup"))
            told, said = await peer.read_request()
            assert said == {"op": "x", "n": 1}
            number, said = await peer.read_request()
            assert said == {"op": "setup"}
            await peer.say_json(agent.REPLY, told, {"root_size": 1})
            await peer.say_json(agent.REPLY, number, {"root_size": 2})
            assert await asked == {"root_size": 2}

    run(story)


def test_what_is_wrong_with_what_it_was_told_is_a_notice() -> None:
    async def story() -> None:
        async with guest_channel() as (channel, _):
            await channel.tell("no-such-operation")
            assert (await channel.request("signal", target=0, signal=0)) == {}
            assert "no-such-operation" in channel.notices[-1]

    run(story)


def test_the_end_of_the_line_reaches_who_tells_next() -> None:
    async def story() -> None:
        async with peer_channel("its console") as (channel, peer):
            peer.sock.close()
            with pytest.raises(AgentError, match="its console"):
                await channel.request("x")
            with pytest.raises(AgentError, match="its console"):
                await channel.tell("y")

    run(story)


@asynccontextmanager
async def awaiting(**options: Any) -> AsyncIterator[tuple[asyncio.Task[tuple[Channel, dict[str, Any]]], Peer]]:
    """A wait for such a copy that is under way, and the guest's end of its line."""
    ours, theirs = socket.socketpair()
    with theirs:
        waiting = Channel.await_restore(ours, TOKEN, words, NUMBER, 2.5, **{"deadline": DEADLINE, **options})
        task = asyncio.create_task(waiting)
        try:
            yield task, Peer(theirs)
        finally:
            await asyncio.wait([task])
            if not task.cancelled() and not task.exception():
                await task.result()[0].close()
            assert ours.fileno() == -1


def answer(value: object, number: int = NUMBER) -> bytes:
    return bytes.fromhex(TOKEN) + agent.encode_json(agent.REPLY, number, value)


def test_nothing_is_said_again_and_the_clock_is_shifted_before_the_copy_has_answered() -> None:
    async def story() -> None:
        async with awaiting() as (task, peer):
            number, request = await peer.read_request()
            assert request == {"op": "renew", "shift": 2.5, "silent": True}
            await peer.write(b"of the template" + answer({}, NUMBER + 1) + answer(LISTING))
            await peer.say_json(agent.REPLY, number, {})
            channel, said = await task
            assert said == {"root_size": 5}
            asked = asyncio.create_task(channel.request("x"))
            await peer.say_json(agent.REPLY, (await peer.read_request())[0], {})
            assert await asked == {}

    run(story)


def test_it_has_come_up_when_it_is_one_of_its_own_since_its_clock_is_set_before_any_command() -> None:
    async def story() -> None:
        async with awaiting() as (task, peer):
            number, request = await peer.read_request()
            assert (request["op"], request["shift"]) == ("renew", 2.5)
            assert number >= agent.FIRST_RESUMER  # commands and their answers have the others
            await peer.write(answer(LISTING))
            await task

    run(story)


def test_a_copy_that_cannot_become_one_of_its_own_says_why() -> None:
    async def story() -> None:
        async with awaiting() as (task, peer):
            number, _ = await peer.read_request()
            await peer.write(answer({**LISTING, "problem": "no\x1b[2J such thing"}))
            await peer.say_json(agent.REPLY, number, {})
            with pytest.raises(AgentError, match="the guest can't become one of its own: no\N{REPLACEMENT CHARACTER}"):
                await task

    run(story)


def test_a_copy_that_never_answers_is_given_up_at_the_deadline() -> None:
    async def story() -> None:
        async with awaiting(deadline=0.05) as (task, _):
            with pytest.raises(AgentError, match=r"within 0\.05 s"):
                await task

    run(story)


def test_a_copy_that_dies_meanwhile_is_told_with_its_last_words() -> None:
    async def story() -> None:
        async with awaiting() as (task, peer):
            peer.sock.close()
            with pytest.raises(AgentError, match="the guest has gone"):
                await task

    run(story)


def test_a_wait_that_is_cancelled_closes_the_line() -> None:
    async def story() -> None:
        async with awaiting() as (task, peer):
            await peer.read_request()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(story)


# the same with the real agent, which is here its own copy


@asynccontextmanager
async def told_ahead(**changes: Any) -> AsyncIterator[AgentProcess]:
    """An agent that was set up to be copied, with the request to become another lying in its line."""
    skip_unless_possible()
    with AgentProcess() as process:
        first = Channel(process.sock.dup(), words)
        await first.hello
        await first.request("setup", time=time.time(), token=TOKEN, latent=True, **SETUP)
        await first.close()
        process.sock.send(agent.encode_takeover(bytes.fromhex(TOKEN), NUMBER, {**RESTORE, **changes}))
        yield process


async def wait_for(process: AgentProcess, shift: float = 2.5) -> tuple[Channel, dict[str, Any]]:
    return await Channel.await_restore(process.sock.dup(), TOKEN, words, NUMBER, shift, DEADLINE)


async def hostname(channel: Channel) -> bytes:
    command = await channel.spawn(["hostname"], env={})
    said = await command.stdout.read()
    assert await command.wait() == 0
    return said


def test_the_real_agent_was_told_who_it_is_before_anybody_listened() -> None:
    async def story() -> None:
        async with told_ahead() as process:
            channel, said = await wait_for(process)
            assert said["root_size"] > 0
            assert await hostname(channel) == b"another\n"
            await channel.close()

    run(story)


def test_the_real_agent_says_what_is_wrong_with_what_it_was_told() -> None:
    async def story() -> None:
        async with told_ahead(seed="00") as process:
            with pytest.raises(AgentError, match="a seed has 32 bytes"):
                await wait_for(process)

    run(story)


def test_in_a_copy_whose_clock_could_not_be_set_no_command_is_started() -> None:
    async def story() -> None:
        async with told_ahead() as process:
            channel, _ = await wait_for(process, float("nan"))
            with pytest.raises(AgentError, match="could not be brought up to date"):
                await channel.spawn(["true"], env={})
            await channel.close()

    run(story)


@pytest.mark.parametrize(("shift", "times"), [(0, 0), (0.0, 0), (10.0, 1), (-1, 1)])
def test_a_shift_of_zero_leaves_the_clock_to_the_renewal_that_follows(
    shift: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To set it would cost a copy time, and its clock would be wrong until then all the same."""
    notes = "time.clock_settime = lambda *_: os.write(2, b'the clock was set\\n')"
    assert "time.clock_settime = set_no_clock" in agents.CHILD
    monkeypatch.setattr(agents, "CHILD", agents.CHILD.replace("time.clock_settime = set_no_clock", notes))

    async def story() -> None:
        async with told_ahead(shift=shift) as process:
            channel, _ = await wait_for(process)
            await channel.request("settle")  # what comes behind the renewal is served after it
            assert process.log().count("the clock was set") == 1 + times + 1  # the setup's, its own, the renewal's
            await channel.close()

    run(story)
