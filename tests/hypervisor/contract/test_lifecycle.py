"""From created to stopped: what may be called when, by how many, and what is told of the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GuestDied, StateError
from gavotte.hypervisor.devices import PvPanic, Rng
from gavotte.hypervisor.events import Ended, EventStream, GuestPanicked, Paused, Resumed, VmReset, VmShutdown
from gavotte.hypervisor.interface import Health, Hypervisor, VmState
from tests.hypervisor.contract.drivers import DEADLINE, Driver, begun, state_of, story

Act = Callable[[Hypervisor], Awaitable[Any]]

NEED_A_START: dict[str, Act] = {
    "pause": lambda vm: vm.pause(),
    "resume": lambda vm: vm.resume(),
    "reset": lambda vm: vm.reset(),
    "save": lambda vm: vm.save("machine"),
    "resize_vcpus": lambda vm: vm.resize_vcpus(2),
    "resize_memory": lambda vm: vm.resize_memory(128 << 20),
    "check": lambda vm: vm.check(),
    "pids": lambda vm: vm.pids(),
    "vcpus": lambda vm: vm.vcpus(),
    "pin_vcpu": lambda vm: vm.pin_vcpu(0, frozenset({0})),
    "memory": lambda vm: vm.memory(),
    "statistics": lambda vm: vm.statistics(),
}
NEED_IT_ALIVE: dict[str, Act] = {
    **{name: act for name, act in NEED_A_START.items() if name != "check"},
    "start": lambda vm: vm.start(),
    "load": lambda vm: vm.load(Path("/dev/null")),
    "plug": lambda vm: vm.plug(Rng("r")),
    "unplug": lambda vm: vm.unplug("r"),
}


async def all_of(events: EventStream) -> list[Any]:
    """What is read until the stream ends."""
    async with asyncio.timeout(DEADLINE):
        return [event async for event in events]


# --- states -----------------------------------------------------------------------------------------------------------


@story
async def test_a_machine_goes_from_created_by_running_to_stopped(driver: Driver) -> None:
    vm = driver.create()
    assert state_of(vm) is VmState.CREATED
    await vm.start()
    assert state_of(vm) is VmState.RUNNING
    await vm.stop()
    assert state_of(vm) is VmState.STOPPED


@story
async def test_what_needs_a_machine_that_runs_says_so_before_its_start(driver: Driver) -> None:
    vm = driver.create()
    for name, act in NEED_A_START.items():
        with pytest.raises(StateError, match="created") as error:
            await act(vm)
        assert "start it first" in error.value.hint, name
    assert state_of(vm) is VmState.CREATED


@story
async def test_a_machine_that_was_stopped_says_that_another_has_to_be_made(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.stop()
        for name, act in NEED_IT_ALIVE.items():
            with pytest.raises(StateError) as error:
                await act(vm)
            assert "another" in error.value.hint, name
        assert state_of(vm) is VmState.STOPPED


@story
async def test_a_machine_is_started_once(driver: Driver) -> None:
    async with driver.running() as vm:
        with pytest.raises(StateError, match="running") as error:
            await vm.start()
        assert "another" in error.value.hint
        assert state_of(vm) is VmState.RUNNING


@story
async def test_of_two_starts_at_once_one_is_refused(driver: Driver) -> None:
    vm = driver.create()
    try:
        outcomes = await asyncio.gather(vm.start(), vm.start(), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), StateError]
        assert state_of(vm) is VmState.RUNNING
    finally:
        await vm.cleanup()


@story
async def test_a_start_that_is_cancelled_leaves_nothing(driver: Driver) -> None:
    vm = driver.create()
    starting = await begun(vm.start(), vm)
    starting.cancel()
    await asyncio.wait([starting])
    await vm.cleanup()
    assert state_of(vm) is VmState.STOPPED


# --- the end ----------------------------------------------------------------------------------------------------------


@story
async def test_stop_may_be_called_at_any_time_and_any_number_of_times(driver: Driver) -> None:
    vm = driver.create()
    await vm.stop()
    await vm.stop()
    async with driver.running() as vm:
        await asyncio.gather(vm.stop(), vm.stop(), vm.stop(force=True))
        await vm.stop()
        assert state_of(vm) is VmState.STOPPED


@story
async def test_stop_ends_a_start_that_is_under_way(driver: Driver) -> None:
    vm = driver.create()
    starting = await begun(vm.start(), vm)
    await vm.stop()
    assert state_of(vm) is VmState.STOPPED
    outcome = (await asyncio.gather(starting, return_exceptions=True))[0]
    assert outcome is None or isinstance(outcome, StateError)  # None: it was up before it was stopped


@story
async def test_cleanup_frees_a_machine_that_runs_and_one_that_never_did(driver: Driver) -> None:
    vm = driver.create()
    await vm.cleanup()
    await vm.cleanup()
    assert state_of(vm) is VmState.STOPPED
    async with driver.running() as vm:
        await vm.cleanup()
        assert state_of(vm) is VmState.STOPPED


@story
async def test_stop_goes_down_the_polite_rungs_and_force_does_not(driver: Driver) -> None:
    used: list[str] = []

    async def refuse() -> None:
        used.append("refused")
        raise StateError("not now")

    async def ask() -> None:
        used.append("asked")

    rungs = (("one", refuse, DEADLINE), ("two", ask, 0.05))
    async with driver.running() as vm:
        await vm.stop(polite=rungs, force=True)
    assert used == []
    async with driver.running() as vm:
        await vm.stop(polite=rungs)
        assert state_of(vm) is VmState.STOPPED
    assert used == ["refused", "asked"]


@story
async def test_wait_asks_for_nothing(driver: Driver) -> None:
    async with driver.running(obeys=True) as vm:
        assert not await vm.wait(0.01)
        waiting = asyncio.ensure_future(vm.wait())
        await driver.power_off(vm)
        assert await waiting
        assert state_of(vm) is VmState.STOPPED
        assert await vm.wait(0)


@story
async def test_why_it_ended_is_told_to_who_asks_later(driver: Driver) -> None:
    async with driver.running(obeys=True) as vm:
        await driver.power_off(vm)
        assert await vm.wait(DEADLINE)
        why = await vm.explain_end()
        assert isinstance(why, GuestDied)
        assert "guest-shutdown" in str(why)


@story
async def test_a_stop_is_no_failure_to_be_explained(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.stop()
        assert isinstance(await vm.explain_end(), StateError)


# --- pausing ----------------------------------------------------------------------------------------------------------


@story
async def test_pausing_twice_is_pausing_once_and_so_with_resuming(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.resume()
        with vm.events(Paused, Resumed) as events:
            await vm.pause()
            assert state_of(vm) is VmState.PAUSED
            await vm.pause()
            assert state_of(vm) is VmState.PAUSED
            await vm.resume()
            await vm.resume()
            assert state_of(vm) is VmState.RUNNING
            await vm.stop()
            assert await all_of(events) == [Paused(), Resumed()]


@story
async def test_pausing_and_resuming_by_many_take_turns(driver: Driver) -> None:
    async with driver.running() as vm:
        await asyncio.gather(*(act() for _ in range(5) for act in (vm.pause, vm.resume)))
        assert state_of(vm) is VmState.RUNNING


@story
async def test_a_paused_machine_can_be_stopped(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.pause()
        await vm.stop()
        assert state_of(vm) is VmState.STOPPED


# --- reset ------------------------------------------------------------------------------------------------------------


@story
async def test_a_reset_is_not_the_end(driver: Driver) -> None:
    async with driver.running() as vm:
        with vm.events(VmReset) as events:
            await vm.reset()
            async with asyncio.timeout(DEADLINE):
                assert not (await anext(events)).by_guest  # type: ignore[attr-defined]  # the stream's only kind
        assert state_of(vm) is VmState.RUNNING
        await vm.pause()
        await vm.reset()
        assert state_of(vm) is VmState.PAUSED


# --- events -----------------------------------------------------------------------------------------------------------


@story
async def test_the_end_is_the_last_event_and_comes_once(driver: Driver) -> None:
    async with driver.running() as vm:
        with vm.events() as events:
            await vm.pause()
            await asyncio.gather(vm.stop(), vm.stop())
            await vm.cleanup()
            seen = await all_of(events)
        assert seen[-1] == Ended("")
        assert [type(event) for event in seen].count(Ended) == 1


@story
async def test_an_end_by_itself_carries_its_reason(driver: Driver) -> None:
    async with driver.running(obeys=True) as vm:
        with vm.events(VmShutdown, Ended) as events:
            await driver.power_off(vm)
            shutdown, ended = await all_of(events)
        assert shutdown == VmShutdown("guest-shutdown", by_guest=True)
        assert "guest-shutdown" in ended.why


@story
async def test_a_panic_is_an_event_and_the_reason_of_the_end(driver: Driver) -> None:
    async with driver.running(obeys=True, devices=(PvPanic("panic"),)) as vm:
        with vm.events(GuestPanicked, Ended) as events:
            await driver.panic(vm)
            panic, ended = await all_of(events)
        assert isinstance(panic, GuestPanicked)
        assert "panicked" in ended.why
        assert "panicked" in str(await vm.explain_end())


@story
async def test_who_does_not_read_its_events_misses_the_oldest_and_is_told_how_many(driver: Driver) -> None:
    async with driver.running() as vm:
        with vm.events(Paused, Resumed, limit=3) as events:
            for _ in range(3):
                await vm.pause()
                await vm.resume()
            await vm.stop()
            assert await all_of(events) == [Resumed(), Paused(), Resumed()]
            assert events.dropped == 3


@story
async def test_listening_after_the_end_is_told_of_the_end(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.stop()
        with vm.events() as events:
            assert await all_of(events) == [Ended("")]


# --- health -----------------------------------------------------------------------------------------------------------


@story
async def test_check_tells_running_from_paused_from_dead(driver: Driver) -> None:
    async with driver.running() as vm:
        assert (await vm.check()).health is Health.RUNNING
        await vm.pause()
        assert (await vm.check()).health is Health.PAUSED
        await vm.stop()
        assert (await vm.check()).health is Health.DEAD
