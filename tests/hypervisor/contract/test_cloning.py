"""Many machines from one that stands still: a template's memory is shared, and each copy has a state of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gavotte.errors import GavotteError, SaveFailed, StateError, Unsupported, UsageError
from gavotte.hypervisor.devices import Disk, Latent, Nic, User
from gavotte.hypervisor.interface import Ability, Capabilities, MemoryFile, VmState
from tests.hypervisor.contract.drivers import Driver, state_of, story

SIZE = 64 << 20  # bytes of memory that the contract's machines have

LATENT = (Latent("disk", "disk"), Latent("nic", "nic"))


@contextmanager
def memory() -> Iterator[int]:
    """A file for a machine's memory."""
    fd = os.memfd_create("memory", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, SIZE)
        yield fd
    finally:
        os.close(fd)


async def frozen(driver: Driver, fd: int, *latent: Latent, obeys: bool = False) -> bytes:
    """The state of a machine that ran on that memory, and has ended."""
    vm = driver.create(obeys=obeys, memory_file=MemoryFile(fd))
    try:
        for place in latent:
            await vm.plug(place)
        await vm.start()
        state = await vm.freeze()
        assert vm.state is VmState.PAUSED
        return state
    finally:
        await vm.cleanup()


@story
async def test_many_copies_of_one_machine_run_at_once(driver: Driver) -> None:
    with memory() as fd:
        state = await frozen(driver, fd)
        copies = [driver.create(name=f"copy{n}", memory_file=MemoryFile(fd, private=True)) for n in range(3)]
        try:
            for vm in copies:
                await vm.clone(state)
                assert vm.state is VmState.RUNNING
            assert len({(await vm.pids())["qemu"] for vm in copies}) in (1, 3)  # the fake's is nobody's
            await copies[0].pause()
            await copies[1].stop()
            assert [state_of(vm) for vm in copies] == [VmState.PAUSED, VmState.STOPPED, VmState.RUNNING]
            await copies[0].resume()
            assert len(await copies[0].vcpus()) == 1
            assert (await copies[2].memory()).total == SIZE
        finally:
            for vm in copies:
                await vm.cleanup()


@story
async def test_a_copy_is_asked_to_take_more_memory_than_the_template_had(driver: Driver) -> None:
    with memory() as fd:
        state = await frozen(driver, fd)
        vm = driver.create(memory_file=MemoryFile(fd, private=True))
        try:
            await vm.clone(state, memory=32 << 20)
            found = await vm.memory()
            assert (found.base, found.requested, found.limit) == (SIZE, 32 << 20, 256 << 20)
        finally:
            await vm.cleanup()


@story
async def test_a_copy_has_real_devices_in_the_places_of_latent_ones(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    disk, card = Disk("mine", tmp_path / "disk", "serial"), Nic("card", User(restrict=True))
    with memory() as fd:
        state = await frozen(driver, fd, *LATENT, obeys=True)
        for devices in ((disk, card), (disk, LATENT[1]), LATENT):
            vm = driver.create(obeys=True, memory_file=MemoryFile(fd, private=True))
            try:
                for device in devices:
                    await vm.plug(device)
                await vm.clone(state)
                assert vm.plugged == {each.id: each for each in devices if not isinstance(each, Latent)}
                if devices[0] is disk:
                    await vm.unplug("mine")
                    assert "mine" not in vm.plugged
                    await vm.plug(disk)
                    assert vm.plugged["mine"] == disk
            finally:
                await vm.cleanup()


@story
async def test_a_machine_is_frozen_while_it_runs_or_is_paused_and_at_no_other_time(driver: Driver) -> None:
    with memory() as fd:
        vm = driver.create(memory_file=MemoryFile(fd))
        try:
            with pytest.raises(StateError):
                await vm.freeze()
            assert state_of(vm) is VmState.CREATED
            await vm.start()
            await vm.pause()
            assert await vm.freeze()
            await vm.stop()
            with pytest.raises(StateError):
                await vm.freeze()
        finally:
            await vm.cleanup()


@story
async def test_to_be_cloned_is_a_start_and_there_is_one(driver: Driver) -> None:
    with memory() as fd:
        state = await frozen(driver, fd)
        vm = driver.create(memory_file=MemoryFile(fd, private=True))
        try:
            await vm.clone(state)
            for start in (vm.clone(state), vm.start()):
                with pytest.raises(StateError):
                    await start
            assert vm.state is VmState.RUNNING
        finally:
            await vm.cleanup()
        with pytest.raises(StateError):
            await vm.clone(state)


@story
async def test_a_machine_whose_memory_is_no_file_of_its_own_is_not_frozen(driver: Driver) -> None:
    with memory() as fd:
        for file in (None, MemoryFile(fd, private=True), MemoryFile(None)):
            async with driver.running(memory_file=file) as vm:
                with pytest.raises(UsageError) as error:
                    await vm.freeze()
                assert error.value.path == "memory_file"
                assert vm.state is VmState.RUNNING


@story
async def test_a_copy_is_made_on_a_private_file_only(driver: Driver) -> None:
    with memory() as fd:
        state = await frozen(driver, fd)
        for file in (None, MemoryFile(fd), MemoryFile(None, private=True)):
            vm = driver.create(memory_file=file)
            try:
                with pytest.raises(UsageError) as error:
                    await vm.clone(state)
                assert error.value.path == "memory_file"
                assert vm.state is not VmState.RUNNING
            finally:
                await vm.cleanup()


@pytest.mark.parametrize("bad", [b"", b"something else\n", bytes(10000)], ids=["empty", "text", "zeros"])
@story
async def test_what_is_no_state_is_refused_and_nothing_runs(driver: Driver, bad: bytes) -> None:
    with memory() as fd:
        vm = driver.create(memory_file=MemoryFile(fd, private=True))
        try:
            with pytest.raises(GavotteError):
                await vm.clone(bad)
            assert vm.state is VmState.STOPPED
        finally:
            await vm.cleanup()


@story
async def test_a_copy_with_other_devices_than_its_template_is_refused(driver: Driver) -> None:
    with memory() as fd:
        state = await frozen(driver, fd, *LATENT)
        vm = driver.create(memory_file=MemoryFile(fd, private=True))
        try:
            with pytest.raises(GavotteError):
                await vm.clone(state)
            assert vm.state is VmState.STOPPED
        finally:
            await vm.cleanup()


@story
async def test_without_the_ability_nothing_happens(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    with memory() as fd:
        vm = driver.create(memory_file=MemoryFile(fd))
        monkeypatch.setattr(vm, "capabilities", lambda: Capabilities({Ability.CLONE: "not here"}))
        try:
            with pytest.raises(Unsupported, match="not here"):
                await vm.clone(b"state")
            assert state_of(vm) is VmState.CREATED
            await vm.start()
            with pytest.raises(Unsupported, match="not here"):
                await vm.freeze()
            assert vm.state is VmState.RUNNING
        finally:
            await vm.cleanup()


@story
async def test_memory_that_others_share_is_no_templates(driver: Driver) -> None:
    vm = driver.create(shared_memory=True)
    try:
        assert Ability.CLONE not in vm.capabilities()
        with pytest.raises(Unsupported, match="shared_memory"):
            await vm.clone(b"state")
        assert vm.state is VmState.CREATED
    finally:
        await vm.cleanup()


@story
async def test_a_file_that_is_closed_is_the_hosts_affair(driver: Driver) -> None:
    with memory() as fd:
        state = await frozen(driver, fd)
    vm = driver.create(memory_file=MemoryFile(fd, private=True))
    try:
        with pytest.raises(GavotteError) as error:
            await vm.clone(state)
        assert not isinstance(error.value, SaveFailed)
        assert vm.state is not VmState.RUNNING
    finally:
        await vm.cleanup()
