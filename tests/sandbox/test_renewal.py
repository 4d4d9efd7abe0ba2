"""How a guest that stood still is told to be up to date, and what comes of it when nobody waits for the answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from gavotte.errors import AgentError, CommandNotStarted
from gavotte.guest import agent
from gavotte.sandbox.renewal import set_clock, shift_clock
from tests.support.channels import guest_channel, peer_channel
from tests.support.qmp_server import run


def test_who_waits_is_told_when_the_clock_is_right_and_when_it_cannot_be() -> None:
    async def story() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(shift_clock(channel, 2.5))
            number, request = await peer.read_request()
            assert request == {"op": "renew", "seed": "", "shift": 2.5}
            assert not task.done()
            await peer.say_json(agent.REPLY, number, {})
            await task
            task = asyncio.create_task(shift_clock(channel, 2.5))
            number, _ = await peer.read_request()
            await peer.say_json(agent.ERROR, number, {"code": "failed", "message": "no clock"})
            with pytest.raises(AgentError, match="no clock"):
                await task

    run(story)


@pytest.mark.parametrize(
    ("trips", "asked"),
    [
        ([0.02] * 5, 5),
        ([0.3, 0.1, 0.02, 0.02, 0.02], 5),
        ([0.02] * 4 + [0.06, 0.02], 6),
        ([0.02] * 4 + [0.06] * 3 + [0.025], 8),
        ([0.02] * 4 + [0.06] * 30, 20),
    ],
)
def test_a_clock_is_set_until_that_was_not_held_up(
    trips: list[float], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("gavotte.sandbox.renewal.time", SimpleNamespace(monotonic=lambda: now[0], time=lambda: 1e9))

    async def story() -> None:
        async with peer_channel() as (channel, peer):
            task = asyncio.create_task(set_clock(channel))
            for trip in trips[:asked]:
                number, request = await peer.read_request()
                assert request["op"] == "renew"
                now[0] += trip
                await peer.say_json(agent.REPLY, number, {})
            await task

    run(story)


def test_random_numbers_are_other_ones_each_time_where_that_is_asked_for() -> None:
    async def story() -> None:
        async with peer_channel() as (channel, peer):
            seeds = []
            for _ in range(3):
                await shift_clock(channel, 0.0, reseed=True, wait=False)
                _, request = await peer.read_request()
                seeds.append(bytes.fromhex(request["seed"]))
            assert len(set(seeds)) == 3
            assert {len(seed) for seed in seeds} == {agent.SEED_LENGTH}

    run(story)


@pytest.mark.parametrize("kind", [agent.REPLY, agent.ERROR])
def test_who_does_not_wait_goes_on_at_once_and_no_answer_is_an_error_that_nobody_saw(kind: int) -> None:
    async def story() -> None:
        async with peer_channel() as (channel, peer):
            await shift_clock(channel, 2.5, wait=False)
            number, _ = await peer.read_request()
            await peer.say_json(kind, number, {"code": "failed", "message": "no clock"})
            later = asyncio.create_task(channel.request("x"))  # by whose reply that answer was taken in
            await peer.say_json(agent.REPLY, (await peer.read_request())[0], {})
            await later

    run(story)


def test_a_line_that_ends_before_the_answer_is_no_error_that_nobody_saw() -> None:
    async def story() -> None:
        async with peer_channel("its console") as (channel, peer):
            await shift_clock(channel, 2.5, wait=False)
            peer.sock.close()
            with pytest.raises(AgentError, match="its console"):
                await channel.request("x")

    run(story)


def test_a_command_that_is_asked_for_next_is_refused_in_a_guest_that_could_not_be_renewed() -> None:
    async def story() -> None:
        async with guest_channel() as (channel, _):
            await shift_clock(channel, float("nan"), wait=False)
            with pytest.raises((AgentError, CommandNotStarted), match="could not be brought up to date"):
                await channel.spawn(["true"], env={})
            await shift_clock(channel, 1.0, reseed=True, wait=False)
            assert await (await channel.spawn(["true"], env={})).wait() == 0

    run(story)
