"""What a saved machine is: what goes on in the one that is loaded, and what isn't one."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GavotteError, SaveFailed, StateError, StateTooNew
from gavotte.hypervisor.devices import Rng
from gavotte.hypervisor.interface import MachineConfig, Progress, VmState
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.migration.format import HEAD_SIZE, Saved, differences
from gavotte.hypervisor.qemu.migration.stream import migrate_out
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from tests.support.binaries import BINARIES, QEMU10
from tests.support.tiny import config_for, counter, counting
from tests.support.tiny_kernel import WRITES, write_kernel

TABLE = Table.for_machine(config_for(Path("/kernel")), machine_row("x86_64", "q35"))


@asynccontextmanager
async def running(config: MachineConfig, qemu: Path | None = None) -> AsyncIterator[QemuVm]:
    vm = QemuVm(find_qemu("x86_64", path=None if qemu is None else os.fspath(qemu)), config)
    try:
        await vm.start()
        yield vm
    finally:
        await vm.cleanup()


@asynccontextmanager
async def loaded(source: Path | int, config: MachineConfig, qemu: Path | None = None) -> AsyncIterator[QemuVm]:
    vm = QemuVm(find_qemu("x86_64", path=None if qemu is None else os.fspath(qemu)), config)
    try:
        await vm.load(source)
        yield vm
    finally:
        await vm.cleanup()


@pytest.fixture
def config(tmp_path: Path) -> MachineConfig:
    return config_for(write_kernel(tmp_path, WRITES), slots=2, max_memory=64 << 20)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MachineConfig]:
    """A machine that was saved, and what it was made of. Not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    config = config_for(write_kernel(folder, WRITES), slots=2)

    async def main() -> None:
        async with running(config) as vm:
            await vm.save(folder / "machine")

    asyncio.run(main())
    return folder / "machine", config


def test_a_machine_stands_still_while_it_is_saved_under_emulation_and_goes_on(
    config: MachineConfig, tmp_path: Path
) -> None:
    """QEMU loses some of what a guest writes meanwhile: one that was loaded panicked where the host was busy."""

    async def main() -> None:
        async with running(config) as vm:
            seen: list[VmState] = []
            await vm.save(tmp_path / "machine", progress=lambda _: seen.append(vm.state))
            assert set(seen) == {VmState.PAUSED}
            assert vm.state is VmState.RUNNING
            assert (await vm.qmp.query_status())["running"]

    asyncio.run(main())


def test_a_machine_that_is_written_live_goes_on(config: MachineConfig, tmp_path: Path) -> None:
    """As with KVM, which isn't there everywhere. What it wrote isn't looked at: under emulation that may be lost."""

    async def main() -> None:
        async with running(config) as vm:
            await counting(vm)
            await vm.resume()
            with (tmp_path / "stream").open("wb") as file:
                pump = await migrate_out(vm.monitor, file.fileno(), running=True, live=True, progress=None)
            assert (tmp_path / "stream").stat().st_size == pump.count > 0
            assert (await vm.qmp.query_status())["running"]

    asyncio.run(main())


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_loaded_guest_goes_on_where_the_saved_one_stood(
    qemu: Path | None, config: MachineConfig, tmp_path: Path
) -> None:
    async def main() -> None:
        async with running(config, qemu) as vm:
            await vm.plug(Rng("r"))
            before = await counting(vm)
            await vm.save(tmp_path / "machine")
            assert await counter(vm) == before
        async with loaded(tmp_path / "machine", replace(config, name="another"), qemu) as vm:
            assert vm.plugged == {"r": Rng("r")}
            assert await counting(vm) >= before
            await vm.resume()
            await vm.save(tmp_path / "again")

    asyncio.run(main())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "kernel", "machine"]
    assert (tmp_path / "machine").stat().st_mode & 0o777 == 0o600


def test_a_guest_that_writes_faster_than_the_file_takes_it_is_saved_all_the_same(
    config: MachineConfig, tmp_path: Path
) -> None:
    told: list[Progress] = []

    async def main() -> None:
        async with running(config) as vm:
            await counting(vm)
            await vm.resume()
            await vm.save(tmp_path / "machine", progress=told.append)
            assert vm.state is VmState.RUNNING

    asyncio.run(main())
    assert told[-1].transferred == told[-1].total >= config.memory
    assert [step.seconds for step in told] == sorted(step.seconds for step in told)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_machine_goes_through_a_pipe_from_one_process_of_qemu_to_another(
    kind: str, config: MachineConfig, tmp_path: Path
) -> None:
    """Both at once: nothing is ever whole in one place."""

    async def main() -> None:
        if kind == "pipe":
            reading, writing = os.pipe()
        else:
            reading, writing = (end.detach() for end in socket.socketpair())
        async with running(config) as vm:
            await counting(vm)

            async def save() -> None:
                try:
                    await vm.save(writing)
                finally:
                    os.close(writing)

            saving = asyncio.ensure_future(save())
            try:
                async with loaded(reading, config) as other:
                    await saving
                    assert await counting(other) > 0
            finally:
                os.close(reading)

    asyncio.run(main())


def test_the_loaded_machine_has_the_versioned_type_of_the_saved_one(whole: tuple[Path, MachineConfig]) -> None:
    path, config = whole

    async def main() -> str:
        async with loaded(path, config) as vm:
            return vm.config.machine

    assert asyncio.run(main()).startswith("pc-q35-")


@pytest.mark.skipif(QEMU10 is None, reason="QEMU 10 isn't unpacked beside: make setup-qemu10")
def test_a_later_qemu_takes_it_and_an_earlier_one_says_which_it_needs(config: MachineConfig, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(config) as vm:
            await counting(vm)
            await vm.save(tmp_path / "old")
        async with loaded(tmp_path / "old", config, QEMU10) as vm:
            assert await counting(vm) > 0
            await vm.resume()
            await vm.save(tmp_path / "new")
        with pytest.raises(SaveFailed, match=r"QEMU 10.*QEMU 7") as error:
            async with loaded(tmp_path / "new", config):
                pass
        assert "QEMU 10" in error.value.hint

    asyncio.run(main())


def test_a_machine_that_was_saved_as_it_stands_says_how_it_is_saved_again(
    config: MachineConfig, tmp_path: Path
) -> None:
    async def main() -> None:
        async with running(config) as vm:
            await vm.pause()
            await vm.save(tmp_path / "machine")
            assert vm.state is VmState.PAUSED
            with pytest.raises(StateError) as error:
                await vm.save(tmp_path / "machine")
            assert error.value.hint.startswith("resume it and pause it")
            await vm.resume()
            await vm.pause()
            await vm.save(tmp_path / "machine")

    asyncio.run(main())


# --- what isn't loaded ------------------------------------------------------------------------------------------------


async def refused(data: bytes, config: MachineConfig, tmp_path: Path) -> GavotteError:
    (tmp_path / "machine").write_bytes(data)
    with pytest.raises(GavotteError) as error:
        async with loaded(tmp_path / "machine", config):
            pass
    return error.value


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:20], "ends after 20 bytes"),
        (lambda data: data[: HEAD_SIZE + 50], "ends after"),
        (lambda data: data[:-1], "its end is missing"),
        (lambda data: data[: len(data) // 2], "its end is missing"),
        (lambda data: data[: HEAD_SIZE + 5000] + data[HEAD_SIZE + 6000 :], "damaged"),
        (lambda data: flip(data, HEAD_SIZE + 20), "description doesn't fit its checksum"),
        (lambda data: flip(data, len(data) // 2), "damaged: its content doesn't fit"),
        (lambda data: flip(data, 25), "damaged"),
        (lambda data: data[:20] + b"\xff\xff\xff\xff" + data[24:], "damaged in its first bytes"),
    ],
    ids=["in head", "in description", "last byte", "half", "a piece less", "json", "memory", "crc", "length"],
)
def test_a_damaged_file_is_refused_with_what_is_wrong(
    damage: Damage, why: str, whole: tuple[Path, MachineConfig], tmp_path: Path
) -> None:
    path, config = whole
    error = asyncio.run(refused(damage(path.read_bytes()), config, tmp_path))
    assert isinstance(error, SaveFailed)
    assert why in str(error)


def test_a_file_of_a_later_version_is_refused_with_both_versions(
    whole: tuple[Path, MachineConfig], tmp_path: Path
) -> None:
    path, config = whole
    data = path.read_bytes()
    error = asyncio.run(refused(data[:16] + struct.pack(">I", 7) + data[20:], config, tmp_path))
    assert isinstance(error, StateTooNew)
    assert (error.found, error.known) == (7, 1)


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"memory": 64 << 20}, "memory: 33554432 when it was saved, 67108864 here"),
        ({"vcpus": 2}, "vcpus: 1 when"),
        ({"slots": 3}, "slots: 2 when"),
        ({"machine": "pc"}, 'machine: "q35" when it was saved, "pc" here'),
        ({"devices": (Rng("r"),)}, "devices.length: 0 when"),
    ],
    ids=["memory", "vcpus", "slots", "machine", "devices"],
)
def test_another_machine_is_refused_with_what_is_other(
    changes: dict[str, Any], culprit: str, whole: tuple[Path, MachineConfig]
) -> None:
    path, config = whole

    async def main() -> None:
        with pytest.raises(SaveFailed) as error:
            async with loaded(path, replace(config, **changes)):
                pass
        assert culprit in str(error.value)
        assert "another machine" in str(error.value)

    asyncio.run(main())


def test_names_and_paths_of_the_host_may_be_others(whole: tuple[Path, MachineConfig]) -> None:
    path, config = whole
    device = Rng("r", Path("/dev/random"))
    saved = Saved(replace(config, devices=(device,)), "pc-q35-7.2", "max", (7, 2, 0), TABLE, ())
    ours: dict[str, Any] = {
        "name": "x",
        "kernel": path,
        "append": "quiet",
        "dump": Path("/tmp"),
        "machine": "pc-q35-7.2",
    }
    assert differences(saved, replace(config, devices=(Rng("r"),), **ours)) == []
    assert differences(saved, replace(config, devices=(Rng("r", max_bytes=1),)))
