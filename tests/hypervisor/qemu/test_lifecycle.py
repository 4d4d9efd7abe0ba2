"""From created to stopped: in turn, at once, in the wrong state, and broken off anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gavotte.errors import GavotteError, StateError
from gavotte.hypervisor.events import Ended, Paused, Resumed, VmReset
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from tests.support.binaries import BINARIES
from tests.support.programs import DEADLINE
from tests.support.steps import cancel_here, disturbed, run
from tests.support.tiny import POWER_OFF, config_for, does, machine, say
from tests.support.tiny_kernel import OBEYS, write_kernel

MANY = 100  # places to wait at: more than any of these has


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """One that halts."""
    return does(tmp_path)


async def refused(work: Awaitable[object]) -> StateError:
    with pytest.raises(StateError) as found:
        await work
    return found.value


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_whole_life_is_seen_in_states_and_events(kernel: Path, qemu: Path | None) -> None:
    async def test() -> None:
        vm = QemuVm(find_qemu(path=str(qemu) if qemu else None), config_for(kernel))
        states = [vm.state]
        with vm.events(Paused, Resumed, VmReset, Ended) as events:
            for act in (vm.start, vm.pause, vm.pause, vm.resume, vm.resume, vm.reset, vm.stop, vm.stop, vm.cleanup):
                await act()
                states.append(vm.state)
            seen = [event async for event in events]
        running, paused, stopped = VmState.RUNNING, VmState.PAUSED, VmState.STOPPED
        assert states == [
            VmState.CREATED,
            *(running, paused, paused, running, running, running),
            *(stopped, stopped, stopped),
        ]
        ours = [event for event in seen if not (isinstance(event, VmReset) and event.by_guest)]  # firmware resets, too
        assert ours == [Resumed(), Paused(), Resumed(), VmReset("host-qmp-system-reset", False), Ended("")]

    run(test)


def test_a_reset_begins_the_guest_anew_and_a_later_one_of_its_own_still_ends_it(tmp_path: Path) -> None:
    async def test() -> None:
        vm = machine(does(tmp_path, say("up\n")))
        await vm.start()
        while "up" not in vm.console:  # all of it: it comes byte by byte
            assert not await vm.wait(0.01)
        await vm.reset()
        while vm.console.count("up") < 2:
            assert not await vm.wait(0.01)
        while not vm.life.idle:
            assert not await vm.wait(0.05)
        await vm.qmp.system_reset()  # -no-reboot holds again
        assert await vm.wait(DEADLINE)
        await vm.stop()

    run(test)


def test_a_paused_machine_that_is_reset_stays_paused(kernel: Path) -> None:
    async def test() -> None:
        async with machine(kernel) as vm:
            await vm.pause()
            await vm.reset()
            assert vm.state is VmState.PAUSED
            await vm.resume()

    run(test)


def test_before_the_start_all_else_names_the_way_out(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        for act in (vm.pause, vm.resume, vm.reset):
            error = await refused(act())
            assert (error.hint, "it is created" in str(error)) == ("start it first", True)
        await vm.stop()
        assert vm.state is VmState.STOPPED

    run(test)


def test_a_second_start_is_refused_also_at_the_same_time(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        first, second = await asyncio.gather(vm.start(), vm.start(), return_exceptions=True)
        assert first is None
        assert isinstance(second, StateError)
        assert "started once" in second.hint
        assert vm.state is VmState.RUNNING
        await vm.stop()

    run(test)


def test_after_a_stop_everything_says_that_it_was_stopped(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        await vm.start()
        await vm.stop()
        for act in (vm.start, vm.pause, vm.resume, vm.reset):
            error = await refused(act())
            assert "has ended: tiny was stopped" in str(error)
            assert "make another" in error.hint
        assert isinstance(await vm.explain_end(), StateError)

    run(test)


def test_after_the_guest_powered_off_everything_says_so(tmp_path: Path) -> None:
    async def test() -> None:
        vm = machine(does(tmp_path, POWER_OFF))
        await vm.start()
        assert await vm.wait(DEADLINE)
        assert "ended by itself, guest-shutdown" in str(await refused(vm.pause()))
        await vm.stop()
        assert "ended by itself, guest-shutdown" in str(await refused(vm.pause()))

    run(test)


def test_stops_at_the_same_time_share_one(kernel: Path) -> None:
    async def test() -> None:
        asked: list[str] = []

        async def ask() -> None:
            asked.append("asked")

        vm = machine(kernel)
        await vm.start()
        await asyncio.gather(*(vm.stop(polite=[("asked", ask, 0.1)]) for _ in range(3)), vm.cleanup(), vm.cleanup())
        assert len(asked) <= 1

    run(test)


def test_force_cuts_a_polite_end_short(kernel: Path) -> None:
    async def test() -> None:
        asked = asyncio.Event()

        async def ask() -> None:
            asked.set()

        vm = machine(kernel)
        await vm.start()
        slow = asyncio.create_task(vm.stop(polite=[("asked", ask, 10 * DEADLINE)]))
        await asked.wait()
        await vm.stop(force=True)
        await slow
        assert vm.process.returncode == -9

    run(test)


def test_the_power_button_is_a_polite_rung_that_a_guest_may_ignore(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        await vm.start()
        await vm.stop(polite=[("power button", vm.power_down, 0.1)])
        assert vm.process.returncode == 0  # then it was told to quit

    run(test)


def test_waiting_for_the_end_asks_for_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        vm = machine(write_kernel(tmp_path, OBEYS))
        await vm.start()
        assert not await vm.wait(0.1)
        assert vm.state is VmState.RUNNING
        await vm.stop()
        assert await vm.wait()

    run(test)


def test_changes_take_turns(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        await vm.start()
        async with vm.changing("save"):
            pausing = asyncio.create_task(vm.pause())
            await vm.qmp.query_status()
            assert not pausing.done()
        await pausing
        assert vm.state is VmState.PAUSED
        await vm.stop()

    run(test)


def test_a_stop_ends_what_is_under_way_and_what_waits_for_its_turn(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        await vm.start()
        begun = asyncio.Event()

        async def stuck() -> None:
            async with vm.changing("plug"):
                begun.set()
                await asyncio.Event().wait()

        plug = asyncio.create_task(stuck())
        await begun.wait()
        pause = asyncio.create_task(vm.pause())
        await vm.stop()
        assert str(await refused(plug)) == "tiny was stopped"
        assert "can't pause tiny" in str(await refused(pause))

    run(test)


def test_a_cancelled_change_stays_cancelled_when_the_machine_is_stopped_too(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        await vm.start()
        begun = asyncio.Event()

        async def stuck() -> None:
            async with vm.changing("plug"):
                begun.set()
                await asyncio.Event().wait()

        plug = asyncio.create_task(stuck())
        await begun.wait()
        plug.cancel()
        await vm.stop()
        with pytest.raises(asyncio.CancelledError):
            await plug

    run(test)


# --- broken off anywhere ----------------------------------------------------------------------------------------------


def test_a_start_cancelled_anywhere_leaves_nothing(kernel: Path) -> None:
    async def test() -> None:
        for place in range(1, MANY):
            vm = machine(kernel)
            try:
                await asyncio.create_task(start_disturbed(vm, place, cancel_here))
            except asyncio.CancelledError:
                assert vm.state is VmState.STOPPED
                assert "its start was cancelled" in str(await refused(vm.pause()))
            else:
                await vm.stop()
                assert place > 3  # it waits for the greeting, for capabilities, and for `cont`
                return

    run(test)


async def start_disturbed(vm: QemuVm, place: int, disturb: Callable[[], object]) -> None:
    await disturbed(vm.start(), place, disturb)


def test_a_stop_anywhere_in_a_start_ends_it(kernel: Path) -> None:
    async def test() -> None:
        for place in range(1, MANY):
            vm = machine(kernel)
            stops: list[asyncio.Task[None]] = []

            def stop(vm: QemuVm = vm, stops: list[asyncio.Task[None]] = stops) -> None:
                stops.append(asyncio.create_task(vm.stop()))

            try:
                await start_disturbed(vm, place, stop)
            except GavotteError as error:
                assert "was stopped" in str(error)
            await asyncio.gather(*stops)
            assert vm.state is (VmState.STOPPED if stops else VmState.RUNNING)
            if not stops:
                await vm.stop()
                return

    run(test)


@pytest.mark.parametrize("name", ["pause", "reset", "stop"])
def test_anything_else_cancelled_anywhere_leaves_a_machine_that_can_be_stopped(kernel: Path, name: str) -> None:
    async def test() -> None:
        for place in range(1, MANY):
            vm = machine(kernel)
            await vm.start()

            async def act(vm: QemuVm = vm, place: int = place) -> None:
                await disturbed(getattr(vm, name)(), place, cancel_here)

            try:
                await asyncio.create_task(act())
            except asyncio.CancelledError:
                if name == "stop":
                    assert vm.state is VmState.STOPPED  # a stop that is broken off kills
                continue
            else:
                return
            finally:
                await vm.stop()

    run(test)
