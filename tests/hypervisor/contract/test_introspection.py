"""What there is to know about a machine."""

from __future__ import annotations

import asyncio
import os

import pytest

from gavotte.errors import StateError, UsageError
from gavotte.hypervisor.devices import Disk, Nic, User
from tests.hypervisor.contract.drivers import Driver, story


@story
async def test_every_process_and_thread_has_a_number_of_its_own(driver: Driver) -> None:
    async with driver.running(vcpus=2) as vm:
        pids = await vm.pids()
        threads = [vcpu.thread for vcpu in await vm.vcpus()]
        assert "qemu" in pids
        assert all(number > 0 for number in [*pids.values(), *threads])
        assert len({*pids.values(), *threads}) == len(pids) + 2


@story
async def test_a_vcpu_is_bound_where_it_is_told(driver: Driver) -> None:
    async with driver.running(vcpus=2) as vm:
        here = min(os.sched_getaffinity(0))
        await vm.pin_vcpu(1, frozenset({here}))
        first, second = await vm.vcpus()
        assert (first.index, second.index) == (0, 1)
        assert second.cpus == {here}
        assert first.cpus >= {here}
        assert second.cgroup.startswith("/")


@pytest.mark.parametrize("cpus", [frozenset(), frozenset({100_000}), frozenset({0, 100_000}), frozenset({-1})])
@story
async def test_processors_that_do_not_exist_are_refused_with_those_that_do(
    driver: Driver, cpus: frozenset[int]
) -> None:
    async with driver.running() as vm:
        before = (await vm.vcpus())[0].cpus
        with pytest.raises(UsageError, match="cpus") as error:
            await vm.pin_vcpu(0, cpus)
        assert "0" in error.value.hint
        assert (await vm.vcpus())[0].cpus == before


@story
async def test_a_vcpu_that_does_not_exist_is_refused(driver: Driver) -> None:
    async with driver.running() as vm:
        for index in (1, -1):
            with pytest.raises(UsageError, match="index"):
                await vm.pin_vcpu(index, frozenset({0}))


@story
async def test_a_console_is_attached_to_by_several_until_the_end(driver: Driver) -> None:
    loop = asyncio.get_running_loop()
    async with driver.running(obeys=True) as vm:
        with vm.attach_console() as one, vm.attach_console() as two:
            for console in (one, two):
                console.setblocking(False)
            await loop.sock_sendall(one, b"x")
            await vm.stop()
            for console in (one, two):
                while await loop.sock_recv(console, 4096):
                    pass


@story
async def test_a_machine_that_is_not_started_has_no_console_yet(driver: Driver) -> None:
    vm = driver.create()
    with pytest.raises(StateError, match="created"):
        vm.attach_console()
    await vm.cleanup()


@story
async def test_statistics_name_each_device_by_its_id(driver: Driver, request: pytest.FixtureRequest) -> None:
    devices = (Disk("d", request.path, read_only=True), Nic("n", User(restrict=True)))
    async with driver.running(devices=devices, vcpus=2) as vm:
        counted = await vm.statistics()
        assert set(counted) == {"block", "net", "balloon", "vcpu", "accel"}
        assert list(counted["block"]) == ["d"]
        assert list(counted["net"]) == ["n"]
        assert list(counted["vcpu"]) == [0, 1]
        assert all(vcpu["seconds"] >= 0 for vcpu in counted["vcpu"].values())
        assert counted["balloon"] is None  # the machine has none
