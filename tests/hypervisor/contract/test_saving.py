"""A machine as a file, and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest

from gavotte.errors import GavotteError, HostError, SaveFailed, StateError, UsageError
from gavotte.hypervisor.devices import Rng
from gavotte.hypervisor.interface import Progress, VmState
from tests.hypervisor.contract.drivers import Driver, story


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
@story
async def test_a_saved_machine_goes_on_as_before_and_another_is_started_from_it(
    driver: Driver, tmp_path: Path, paused: bool
) -> None:
    async with driver.running() as vm:
        await vm.plug(Rng("r"))
        await vm.resize_vcpus(2)
        if paused:
            await vm.pause()
        state = vm.state
        await vm.save(os.fspath(tmp_path / "machine"))  # a path is text, too
        assert vm.state is state
        memory = await vm.memory()
    other = driver.create()
    try:
        await other.load(os.fspath(tmp_path / "machine"))
        assert other.state is VmState.RUNNING
        assert other.plugged == {"r": Rng("r")}
        assert len(await other.vcpus()) == 2
        assert await other.memory() == memory
    finally:
        await other.cleanup()


@story
async def test_what_is_neither_a_path_nor_a_descriptor_is_refused(driver: Driver) -> None:
    vm = driver.create()
    for wrong in (None, b"/machine", "", True, -2):
        with pytest.raises(UsageError, match=r"^target: "):
            await vm.save(cast("Any", wrong))
        with pytest.raises(UsageError, match=r"^source: "):
            await vm.load(cast("Any", wrong))


@story
async def test_a_machine_goes_through_a_descriptor_that_stays_the_callers(driver: Driver, tmp_path: Path) -> None:
    with (tmp_path / "machine").open("w+b") as file:
        async with driver.running() as vm:
            await vm.save(file.fileno())
        assert os.fstat(file.fileno()).st_size > 0
        file.seek(0)
        other = driver.create()
        try:
            await other.load(file.fileno())
            assert other.state is VmState.RUNNING
        finally:
            await other.cleanup()
        os.fstat(file.fileno())


@story
async def test_progress_is_told_in_bytes_and_grows(driver: Driver, tmp_path: Path) -> None:
    told: list[Progress] = []
    async with driver.running() as vm:
        await vm.save(tmp_path / "machine", progress=told.append)
    assert told
    assert [step.transferred for step in told] == sorted(step.transferred for step in told)
    assert told[-1].transferred > 0


@story
async def test_a_file_that_cannot_be_written_leaves_the_machine_running(driver: Driver, tmp_path: Path) -> None:
    async with driver.running() as vm:
        for target in (tmp_path / "no such folder" / "machine", tmp_path):
            with pytest.raises(GavotteError) as error:
                await vm.save(target)
            assert isinstance(error.value, HostError | SaveFailed)
        assert vm.state is VmState.RUNNING
        await vm.save(tmp_path / "machine")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@story
async def test_a_full_disk_leaves_the_machine_running(driver: Driver) -> None:
    async with driver.running() as vm:
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            with pytest.raises((SaveFailed, HostError)):
                await vm.save(full)
        finally:
            os.close(full)
        assert vm.state is VmState.RUNNING
        await vm.pause()


@pytest.mark.parametrize("content", [b"", b"something else\n", b"\0" * 10000], ids=["empty", "text", "zeros"])
@story
async def test_what_is_no_saved_machine_is_refused(driver: Driver, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "machine").write_bytes(content)
    vm = driver.create()
    try:
        with pytest.raises(GavotteError):
            await vm.load(tmp_path / "machine")
        assert vm.state is not VmState.RUNNING
    finally:
        await vm.cleanup()


@story
async def test_a_machine_that_was_cut_short_is_refused(driver: Driver, tmp_path: Path) -> None:
    async with driver.running() as vm:
        await vm.save(tmp_path / "machine")
    whole = (tmp_path / "machine").read_bytes()
    (tmp_path / "machine").write_bytes(whole[: len(whole) - len(whole) // 3])
    other = driver.create()
    try:
        with pytest.raises(SaveFailed):
            await other.load(tmp_path / "machine")
        assert other.state is not VmState.RUNNING
    finally:
        await other.cleanup()


@story
async def test_a_file_that_is_not_there_is_the_hosts_affair(driver: Driver, tmp_path: Path) -> None:
    vm = driver.create()
    with pytest.raises(HostError):
        await vm.load(tmp_path / "machine")
    await vm.cleanup()


@story
async def test_a_machine_that_was_stopped_says_so_before_the_file_is_looked_for(driver: Driver, tmp_path: Path) -> None:
    vm = driver.create()
    await vm.stop()
    with pytest.raises(StateError):
        await vm.load(tmp_path / "no such file")


@story
async def test_loading_is_a_start_and_there_is_one(driver: Driver, tmp_path: Path) -> None:
    async with driver.running() as vm:
        await vm.save(tmp_path / "machine")
        with pytest.raises(StateError):
            await vm.load(tmp_path / "machine")
        assert vm.state is VmState.RUNNING
