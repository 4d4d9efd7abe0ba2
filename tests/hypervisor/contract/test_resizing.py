"""More and less of processors and memory: within the bounds, and what was reached."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gavotte.errors import StateError, Unsupported, UsageError
from gavotte.faces.loop import call
from gavotte.hypervisor.fake import FakeVm
from gavotte.hypervisor.interface import Hypervisor, MachineConfig, Memory
from tests.hypervisor.contract.drivers import DEADLINE, Driver, story

MIB = 1 << 20


@story
async def test_vcpus_are_added_up_to_the_bound(driver: Driver) -> None:
    async with driver.running() as vm:
        assert await vm.resize_vcpus(1) == 1
        assert await vm.resize_vcpus(2) == 2
        assert await vm.resize_vcpus(3) == 3
        assert [vcpu.index for vcpu in await vm.vcpus()] == [0, 1, 2]


@pytest.mark.parametrize("count", [-1, 0, 4, 1 << 40])
@story
async def test_a_number_of_vcpus_out_of_bounds_is_refused_and_changes_nothing(driver: Driver, count: int) -> None:
    async with driver.running() as vm:
        with pytest.raises(UsageError, match="cpus.* 1.* 3"):
            await vm.resize_vcpus(count)
        assert len(await vm.vcpus()) == 1


@story
async def test_a_paused_machine_is_not_resized(driver: Driver) -> None:
    async with driver.running() as vm:
        await vm.pause()
        for change in (vm.resize_vcpus(2), vm.resize_memory(128 * MIB)):
            with pytest.raises(StateError):
                await change


@story
async def test_without_a_bound_there_are_as_many_vcpus_as_at_the_start(driver: Driver) -> None:
    async with driver.running(max_vcpus=0, vcpus=2) as vm:
        assert await vm.resize_vcpus(2) == 2
        with pytest.raises((UsageError, Unsupported)) as error:
            await vm.resize_vcpus(3)
        assert "max_vcpus" in f"{error.value} {error.value.hint}"


@story
async def test_memory_is_known_in_all_its_parts(driver: Driver) -> None:
    async with driver.running() as vm:
        memory = await vm.memory()
        assert memory == Memory(base=64 * MIB, plugged=0, requested=0, limit=256 * MIB, block=memory.block)
        assert memory.total == 64 * MIB
        assert memory.block > 0


@pytest.mark.parametrize("size", [-1, 0, 63 * MIB, 257 * MIB, 1 << 62])
@story
async def test_a_size_out_of_bounds_is_refused_and_changes_nothing(driver: Driver, size: int) -> None:
    async with driver.running() as vm:
        before = await vm.memory()
        with pytest.raises(UsageError, match="memory"):
            await vm.resize_memory(size)
        assert await vm.memory() == before


@story
async def test_a_size_between_two_steps_is_refused_with_the_step(driver: Driver) -> None:
    async with driver.running() as vm:
        with pytest.raises(UsageError, match="steps of"):
            await vm.resize_memory(128 * MIB + 1)


@story
async def test_a_guest_that_takes_no_memory_has_none_and_that_is_what_is_reported(driver: Driver) -> None:
    async with driver.running() as vm:
        assert await vm.resize_memory(192 * MIB, deadline=0.3) == 64 * MIB
        memory = await vm.memory()
        assert (memory.plugged, memory.requested) == (0, 0)


@story
async def test_resizing_to_what_it_is_does_nothing(driver: Driver) -> None:
    async with driver.running() as vm:
        assert await vm.resize_memory(64 * MIB) == 64 * MIB
        assert await vm.resize_vcpus(1) == 1


@story
async def test_resizing_by_several_takes_turns(driver: Driver) -> None:
    async with driver.running() as vm:
        reached = await asyncio.gather(vm.resize_vcpus(2), vm.resize_vcpus(3), vm.resize_memory(64 * MIB))
        assert list(reached) == [2, 3, 64 * MIB]


@pytest.mark.parametrize("machine", ["in memory", "with a booted guest"])
def test_a_guest_that_takes_memory_gives_it_back(machine: str, request: pytest.FixtureRequest) -> None:
    vm: Hypervisor = scripted() if machine == "in memory" else request.getfixturevalue("lab").vm

    async def main() -> None:
        base = (await vm.memory()).total
        assert await vm.resize_memory(base + 128 * MIB, deadline=3 * DEADLINE) == base + 128 * MIB
        assert (await vm.memory()).plugged == 128 * MIB
        assert await vm.resize_memory(base, deadline=3 * DEADLINE) == base
        assert (await vm.memory()).plugged == 0

    call(main())


def scripted() -> FakeVm:
    """A machine whose guest takes all that it is given."""

    async def main() -> FakeVm:
        config = MachineConfig("box", "x86_64", "q35", "tcg", 1, 64 * MIB, Path(), None, "", max_memory=512 * MIB)
        vm = FakeVm(config)
        await vm.start()
        return vm

    return call(main())
