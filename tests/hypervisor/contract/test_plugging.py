"""Devices in and out, cold and hot: one `plug`, whose rules don't depend on the state."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from gavotte.errors import GavotteError, OutcomeUnknown, StateError, UsageError
from gavotte.hypervisor.devices import Nic, Port, Rng, Share, User
from gavotte.hypervisor.events import Unplugged
from tests.hypervisor.contract.drivers import DEADLINE, Driver, story

STANDS_STILL = 0.3  # seconds that a guest is given that won't use them


@story
async def test_what_was_plugged_before_the_start_is_there_after_it_and_goes_like_any_other(driver: Driver) -> None:
    vm = driver.create(obeys=True)
    try:
        await vm.plug(Rng("r"))
        await vm.plug(Nic("n", User(restrict=True)))
        assert list(vm.plugged) == ["r", "n"]
        await vm.start()
        assert vm.plugged == {"r": Rng("r"), "n": Nic("n", User(restrict=True))}
        await vm.unplug("r", deadline=DEADLINE)
        assert list(vm.plugged) == ["n"]
    finally:
        await vm.cleanup()


@story
async def test_what_was_plugged_before_the_start_can_be_taken_back_before_it(driver: Driver) -> None:
    vm = driver.create()
    await vm.plug(Rng("r"))
    await vm.unplug("r")
    assert vm.plugged == {}
    await vm.cleanup()


@story
async def test_a_device_comes_and_goes_and_its_place_is_used_again(driver: Driver) -> None:
    async with driver.running(obeys=True) as vm:
        with vm.events(Unplugged) as events:
            for _ in range(3):
                await vm.plug(Rng("r"))
                assert vm.plugged == {"r": Rng("r")}
                await vm.unplug("r", deadline=DEADLINE)
                assert vm.plugged == {}
                async with asyncio.timeout(DEADLINE):
                    assert await anext(events) == Unplugged("r")


@story
async def test_a_paused_machine_takes_devices(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.pause()
        await vm.plug(Rng("r"))
        assert list(vm.plugged) == ["r"]


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@story
async def test_an_id_is_given_once(driver: Driver, hot: bool) -> None:
    vm = driver.create(devices=(Rng("own"),))
    try:
        if hot:
            await vm.start()
        await vm.plug(Rng("r"))
        for id in ("r", "own"):
            with pytest.raises(UsageError, match=id):
                await vm.plug(Nic(id, User()))
        assert vm.plugged == {"r": Rng("r")}
    finally:
        await vm.cleanup()


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@story
async def test_places_run_out_and_come_back(driver: Driver, hot: bool) -> None:
    vm = driver.create(obeys=True, slots=2)
    try:
        if hot:
            await vm.start()
        await vm.plug(Rng("one"))
        await vm.plug(Rng("two"))
        with pytest.raises(StateError) as error:
            await vm.plug(Rng("three"))
        assert error.value.hint
        assert list(vm.plugged) == ["one", "two"]
        await vm.unplug("one", deadline=DEADLINE)
        await vm.plug(Rng("three"))
        assert list(vm.plugged) == ["two", "three"]
    finally:
        await vm.cleanup()


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@story
async def test_a_machine_without_places_takes_nothing(driver: Driver, hot: bool) -> None:
    vm = driver.create(slots=0)
    try:
        if hot:
            await vm.start()
        with pytest.raises(GavotteError) as error:
            await vm.plug(Rng("r"))
        assert "slots" in f"{error.value} {error.value.hint}"
        assert vm.plugged == {}
    finally:
        await vm.cleanup()


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@story
async def test_only_what_was_plugged_can_be_unplugged(driver: Driver, hot: bool) -> None:
    vm = driver.create(devices=(Rng("own"),))
    try:
        if hot:
            await vm.start()
        for id in ("own", "unknown"):
            with pytest.raises(UsageError, match=id):
                await vm.unplug(id)
    finally:
        await vm.cleanup()


@story
async def test_a_guest_that_ignores_an_unplug_keeps_its_device(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.plug(Rng("r"))
        with pytest.raises(OutcomeUnknown, match="r"):
            await vm.unplug("r", deadline=STANDS_STILL)
        assert list(vm.plugged) == ["r"]


@story
async def test_an_unplug_from_a_paused_machine_says_that_it_has_to_be_resumed(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.plug(Rng("r"))
        await vm.pause()
        with pytest.raises(StateError) as error:
            await vm.unplug("r")
        assert "resume" in error.value.hint
        assert list(vm.plugged) == ["r"]


@story
async def test_stop_does_not_wait_for_an_unplug_that_hangs(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.plug(Rng("r"))
        hanging = asyncio.ensure_future(vm.unplug("r", deadline=1000))
        waiting = asyncio.ensure_future(vm.plug(Rng("s")))
        await asyncio.wait([hanging], timeout=STANDS_STILL)
        assert not waiting.done()
        async with asyncio.timeout(DEADLINE):
            await vm.stop()
            outcomes = await asyncio.gather(hanging, waiting, return_exceptions=True)
        assert all(isinstance(outcome, GavotteError) for outcome in outcomes)


@story
async def test_an_unplug_that_is_cancelled_lets_others_have_their_turn(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.plug(Rng("r"))
        hanging = asyncio.ensure_future(vm.unplug("r", deadline=1000))
        await asyncio.wait([hanging], timeout=STANDS_STILL)
        hanging.cancel()
        assert isinstance((await asyncio.gather(hanging, return_exceptions=True))[0], asyncio.CancelledError)
        await vm.plug(Rng("s"))
        assert list(vm.plugged) == ["r", "s"]


@story
async def test_many_plugs_at_once_get_places_of_their_own(driver: Driver) -> None:
    async with driver.running(obeys=True, slots=6) as vm:
        names = [f"r{number}" for number in range(6)]
        await asyncio.gather(*(vm.plug(Rng(name)) for name in names))
        assert sorted(vm.plugged) == names
        await asyncio.gather(*(vm.unplug(name, deadline=DEADLINE) for name in names))
        assert vm.plugged == {}


@story
async def test_of_two_plugs_with_one_id_one_is_refused(driver: Driver) -> None:
    async with driver.running() as vm:
        outcomes = await asyncio.gather(vm.plug(Rng("r")), vm.plug(Rng("r")), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), UsageError]
        assert list(vm.plugged) == ["r"]


@story
async def test_a_9p_share_cannot_come_later(driver: Driver, request: pytest.FixtureRequest) -> None:
    async with driver.running() as vm:
        with pytest.raises(GavotteError, match="9p"):
            await vm.plug(Share("s", request.path.parent))
        assert vm.plugged == {}


# --- ports ------------------------------------------------------------------------------------------------------------


@story
async def test_a_port_has_one_end_that_is_taken_once(driver: Driver) -> None:
    async with driver.running(devices=(Port("p", "a.port"),)) as vm:
        with socket.socket(fileno=vm.take_port("p")) as end:
            assert end.family == socket.AF_UNIX
            with pytest.raises(StateError):
                vm.take_port("p")
        with pytest.raises(StateError):
            vm.take_port("unknown")


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@story
async def test_a_plugged_port_has_an_end_and_it_closes_when_the_port_goes(driver: Driver, hot: bool) -> None:
    vm = driver.create(obeys=True)
    try:
        if hot:
            await vm.start()
        await vm.plug(Port("p", "a.port"))
        if not hot:
            await vm.start()
        with socket.socket(fileno=vm.take_port("p")) as end:
            await vm.unplug("p", deadline=DEADLINE)
            end.setblocking(False)
            async with asyncio.timeout(DEADLINE):
                assert await asyncio.get_running_loop().sock_recv(end, 1) == b""
    finally:
        await vm.cleanup()


@story
async def test_ends_that_nobody_took_are_closed_with_the_machine(driver: Driver) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208  # one call, so that just one fd is its own
    async with driver.running(devices=(Port("p", "a.port"), Port("q", "b.port"))):
        pass
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208
