"""One plug, cold and hot, on a real QEMU: same recipe, same place, nothing left; and in a guest that looks."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte.errors import HostError, InvalidMachine, QemuExited, QmpRefused, StateError, Unsupported, UsageError
from gavotte.faces.loop import call
from gavotte.hypervisor.devices import (
    Balloon,
    Console,
    Device,
    Disk,
    Nic,
    Port,
    PvPanic,
    Raw,
    Rng,
    Share,
    Stream,
    Throttle,
    User,
    VmGenId,
    Watchdog,
)
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.devices.table import Placed
from gavotte.qemu.binary import QemuBinary, find_program
from gavotte.qemu.machines import MACHINES, Machine
from gavotte.qemu.props import Step, plain
from tests.support.binaries import BINARIES
from tests.support.plugging import create, inventory, on_a_loop, running
from tests.support.programs import DEADLINE
from tests.support.tiny_kernel import HALTS

SIZE = 1 << 20

NODE = Step("blockdev", {"driver": "null-co", "node-name": "node", "size": SIZE, "read-zeroes": True})
IOTHREAD = Step("object", {"qom-type": "iothread", "id": "io"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a, disk.img"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def wire() -> Iterator[int]:
    """One end of a stream, for a network."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield theirs.fileno()


def devices(file: Path, wire: int) -> list[Device]:
    """One of each class that comes and goes without help from the host."""
    return [
        Disk("disk", file, "serial", throttle=Throttle(iops=100), iothread=True, discard=True),
        Disk("lun", file.with_name("other"), bus="virtio-scsi", read_only=True),
        Nic("user", User(restrict=True)),
        Nic("stream", Stream(wire)),
        Port("port", "a.port"),
        Console("tty"),
        Rng("rng"),
        Balloon("balloon", statistics=2),
        Watchdog("dog", "pause"),
        PvPanic("panic"),
        Raw("raw", {"driver": "virtio-blk-pci", "drive": "node", "iothread": "io"}, (IOTHREAD, NODE)),
    ]


def comparable(placed: Placed) -> list[tuple[str, dict[str, Any]]]:
    """A recipe without what stands for descriptors: numbers when it is cold, names when it is hot."""

    def without(props: Any) -> Any:
        return {
            key: without(value) if isinstance(value, dict) else value
            for key, value in props.items()
            if key not in ("fd", "str")
        }

    return [(step.kind, without(plain(step.props))) for step in placed.recipe]


# --- cold and hot -----------------------------------------------------------------------------------------------------


@on_a_loop
async def test_cold_or_hot_a_device_of_each_class_is_the_same_map_at_the_same_address(
    tmp_path: Path, file: Path, wire: int
) -> None:
    file.with_name("other").write_bytes(bytes(SIZE))
    tables = []
    for hot in (False, True):
        vm = create(tmp_path, slots=12)
        try:
            if hot:
                await vm.start()
            for device in devices(file, wire):
                await vm.plug(device)
            if not hot:
                await vm.start()
            assert (await inventory(vm.monitor))["device"] >= {device.id for device in devices(file, wire)}
            tables.append(vm.table)
        finally:
            await vm.cleanup()
    cold, warm = tables
    assert cold.addresses == warm.addresses
    assert cold.controllers == warm.controllers
    for device in devices(file, wire):
        assert comparable(cold.placed[device.id]) == comparable(warm.placed[device.id])


@pytest.mark.parametrize("qemu", BINARIES)
@on_a_loop
async def test_many_plugs_and_unplugs_leave_nothing_and_use_the_same_places(
    qemu: Path | None, tmp_path: Path, file: Path, wire: int
) -> None:
    file.with_name("other").write_bytes(bytes(SIZE))
    binary = None if qemu is None else QemuBinary.from_path(qemu)
    async with running(tmp_path, slots=3, binary=binary) as vm:
        for first in devices(file, wire)[1], Port("first", "a.port"):
            await vm.plug(first)
            await vm.unplug(first.id, deadline=DEADLINE)  # its controller stays
        before = await inventory(vm.monitor)
        places: dict[str, Any] = {}
        for _ in range(3):
            for device in devices(file, wire):
                await vm.plug(device)
                assert places.setdefault(device.id, vm.table.place_of(device.id)) == vm.table.place_of(device.id)
                await vm.unplug(device.id, deadline=DEADLINE)
            assert await inventory(vm.monitor) == before
        assert vm.plugged == {}


@on_a_loop
async def test_what_was_plugged_cold_goes_hot_and_leaves_nothing(tmp_path: Path, file: Path, wire: int) -> None:
    file.with_name("other").write_bytes(bytes(SIZE))
    vm = create(tmp_path, slots=12)
    try:
        for device in devices(file, wire):
            await vm.plug(device)
        await vm.start()
        for id in list(vm.plugged):
            await vm.unplug(id, deadline=DEADLINE)
        left = await inventory(vm.monitor)
        assert left["blockdev"] == set()
        assert left["device"] == {"type", "ports", "scsi", *(f"rp{number}" for number in range(12))}
        assert left["chardev"] == {"console", "monitor"}
    finally:
        await vm.cleanup()


@on_a_loop
async def test_a_9p_share_comes_cold_and_goes_hot(tmp_path: Path) -> None:
    vm = create(tmp_path)
    try:
        await vm.plug(Share("share", tmp_path))
        await vm.start()
        await vm.unplug("share", deadline=DEADLINE)
        assert "share" not in (await inventory(vm.monitor))["device"]
        await vm.plug(Rng("r"))
        assert vm.table.place_of("r") == {"bus": "rp0", "addr": "00"}
    finally:
        await vm.cleanup()


@pytest.mark.parametrize("row", [row for row in MACHINES if row.hotplug], ids=lambda row: f"{row.arch}-{row.type}")
@on_a_loop
async def test_each_machine_type_takes_a_device_where_its_table_says(row: Machine, tmp_path: Path) -> None:
    program = find_program(f"qemu-system-{row.arch}")
    if program is None:
        pytest.skip(f"no emulator for {row.arch} here: make setup-arches")
    kernel = tmp_path / "kernel"
    kernel.write_bytes(KERNELS.get(row.arch, b"") * 256)
    guest = HALTS if row.arch == "x86_64" else ""
    changes = {"arch": row.arch, "machine": row.type, "memory": 256 << 20}
    async with running(tmp_path, guest=guest, binary=QemuBinary.from_path(program), **changes) as vm:
        await vm.plug(Rng("r"))
        await vm.plug(Port("p", "a.port"))
        listing: Any = await vm.monitor.execute("qom-list", {"path": "/machine/peripheral"})
        assert {entry["name"] for entry in listing} >= {"r", "p", "ports"}


# --- refused before anything happens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@on_a_loop
async def test_an_id_of_any_part_of_the_machine_is_refused(tmp_path: Path, hot: bool) -> None:
    vm = create(tmp_path, devices=(Rng("own"), Port("agent", "a")))
    try:
        if hot:
            await vm.start()
        await vm.plug(Rng("r"))
        for id in (
            "r",
            "own",
            "agent",
            "rp0",
            "ports",
            "scsi",
            "console",
            "monitor",
            "",
            "1st",
            "a b",
            "ä",
            "a,b",
            "a/b",
        ):
            with pytest.raises(UsageError) as error:
                await vm.plug(Rng(id))
            assert error.value.path == "id"
        assert list(vm.plugged) == ["r"]
    finally:
        await vm.cleanup()


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@on_a_loop
async def test_a_map_that_the_binary_would_not_take_is_refused_with_a_suggestion(tmp_path: Path, hot: bool) -> None:
    vm = create(tmp_path)
    try:
        if hot:
            await vm.start()
        with pytest.raises(InvalidMachine, match="num-queue"):
            await vm.plug(Raw("r", {"driver": "virtio-blk-pci", "num-queue": 2}, (NODE,)))
        with pytest.raises(InvalidMachine, match="virtio-rngg-pci"):
            await vm.plug(Raw("r", {"driver": "virtio-rngg-pci"}))
        assert vm.plugged == {}
        assert not vm.table.addresses.taken
    finally:
        await vm.cleanup()


@on_a_loop
async def test_a_device_that_only_a_start_can_bring_is_refused_while_the_machine_runs(tmp_path: Path) -> None:
    async with running(tmp_path) as vm:
        before = await inventory(vm.monitor)
        with pytest.raises(Unsupported, match="at its start only"):
            await vm.plug(VmGenId("id"))
        assert await inventory(vm.monitor) == before


@on_a_loop
async def test_the_machines_own_devices_stay(tmp_path: Path) -> None:
    async with running(tmp_path, devices=(Rng("own"),)) as vm:
        with pytest.raises(UsageError, match="own devices, which stay"):
            await vm.unplug("own")


@on_a_loop
async def test_slots_run_out_with_a_way_out_and_nothing_of_the_refused_device_is_there(tmp_path: Path) -> None:
    async with running(tmp_path, slots=1) as vm:
        await vm.plug(Rng("a"))
        before = await inventory(vm.monitor)
        with pytest.raises(StateError) as error:
            await vm.plug(Nic("b", User()))
        assert "unplug a device" in error.value.hint
        assert await inventory(vm.monitor) == before


@on_a_loop
async def test_ports_and_luns_need_no_slot_where_their_controller_is_there(tmp_path: Path) -> None:
    async with running(tmp_path, slots=0, devices=(Port("agent", "a"),)) as vm:
        await vm.plug(Port("p", "b"))
        await vm.unplug("p")
        with pytest.raises((StateError, Unsupported)):
            await vm.plug(Rng("r"))


# --- files of disks ---------------------------------------------------------------------------------------------------


def _missing(file: Path) -> None:
    file.unlink()


def _truncated(file: Path) -> None:
    file.write_bytes(b"QFI\xfb" + bytes(20))


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [_missing, _truncated, _directory])
@on_a_loop
async def test_a_disk_whose_file_is_no_good_is_named_by_its_path(spoil: Any, tmp_path: Path, file: Path) -> None:
    spoil(file)
    async with running(tmp_path) as vm:
        before = await inventory(vm.monitor)
        with pytest.raises(gavotte.GavotteError) as error:
            await vm.plug(Disk("d", file, format="qcow2" if spoil is _truncated else "raw"))
        assert str(file) in str(error.value)
        assert await inventory(vm.monitor) == before
        assert vm.plugged == {}


@pytest.mark.parametrize("spoil", [_missing, _truncated, _directory])
@on_a_loop
async def test_a_machine_whose_own_disk_is_no_good_is_not_started_and_names_the_file(
    spoil: Any, tmp_path: Path, file: Path
) -> None:
    spoil(file)
    vm = create(tmp_path, devices=(Disk("d", file, format="qcow2" if spoil is _truncated else "raw"),))
    with pytest.raises(HostError) as error:
        await vm.start()
    assert str(file) in str(error.value)
    assert vm.state is VmState.STOPPED
    await vm.cleanup()


@on_a_loop
async def test_a_machine_whose_own_disk_another_one_writes_to_is_not_started_and_names_the_file(
    tmp_path: Path, file: Path
) -> None:
    async with running(tmp_path) as one:
        await one.plug(Disk("d", file))
        other = create(tmp_path, devices=(Disk("d", file),))
        with pytest.raises(QemuExited, match="lock") as error:
            await other.start()
        assert str(file) in error.value.message
        await other.cleanup()


@pytest.fixture
def fixed_file(file: Path) -> Iterator[Path]:
    """A file that not even root can write to."""
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", file, file], check=False, timeout=DEADLINE).returncode:
        pytest.skip("mounting isn't allowed here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", file], check=True, timeout=DEADLINE)
        yield file
    finally:
        subprocess.run(["umount", file], check=True, timeout=DEADLINE)


@on_a_loop
async def test_a_file_that_may_only_be_read_wants_a_read_only_disk(tmp_path: Path, fixed_file: Path) -> None:
    async with running(tmp_path) as vm:
        with pytest.raises(HostError, match="Read-only file system") as error:
            await vm.plug(Disk("d", fixed_file))
        assert str(fixed_file) in str(error.value)
        assert "read_only=True" in error.value.hint
        await vm.plug(Disk("d", fixed_file, read_only=True))


@on_a_loop
async def test_a_disk_that_another_machine_writes_to_is_refused_by_its_path_until_that_lets_go(
    tmp_path: Path, file: Path
) -> None:
    async with running(tmp_path) as one, running(tmp_path) as other:
        await one.plug(Disk("d", file))
        with pytest.raises(QmpRefused, match="lock") as error:
            await other.plug(Disk("d", file))
        assert str(file) in error.value.message
        await one.unplug("d", deadline=DEADLINE)
        await other.plug(Disk("d", file))


# --- what the guest sees ----------------------------------------------------------------------------------------------

_SERIALS = "import glob; print([open(p).read().strip() for p in glob.glob('/sys/block/*/serial')])"


def look(lab: gavotte.Sandbox, code: str, found: str, *, there: bool = True) -> None:
    """Asks the guest until it sees it, or sees it no more."""

    async def ask() -> None:
        async with asyncio.timeout(2 * DEADLINE):
            while (found in (await lab_run(lab, code))) is not there:
                pass

    call(ask())


async def lab_run(lab: gavotte.Sandbox, code: str) -> str:
    return (await asyncio.to_thread(lab.run, ["python3", "-c", code])).stdout.decode()


@pytest.mark.parametrize("bus", ["virtio-blk", "virtio-scsi"])
def test_a_guest_sees_a_disk_come_and_go(lab: gavotte.Sandbox, file: Path, bus: Any) -> None:
    names = "import os; print([os.path.realpath('/sys/block/' + n) for n in os.listdir('/sys/block')])"
    mark = {"virtio-blk": "gavotte-plug", "virtio-scsi": "/sd"}[bus]
    code = {"virtio-blk": _SERIALS, "virtio-scsi": names}[bus]
    call(lab.vm.plug(Disk("plugged", file, "gavotte-plug", bus=bus)))
    look(lab, code, mark)
    call(lab.vm.unplug("plugged", deadline=2 * DEADLINE))
    look(lab, code, mark, there=False)


def test_a_guest_sees_a_card_come_and_go(lab: gavotte.Sandbox) -> None:
    code = "import glob; print([open(p).read() for p in glob.glob('/sys/class/net/*/address')])"
    call(lab.vm.plug(Nic("plugged", User(restrict=True), "52:54:00:12:34:56")))
    look(lab, code, "52:54:00:12:34:56")
    call(lab.vm.unplug("plugged", deadline=2 * DEADLINE))
    look(lab, code, "52:54:00:12:34:56", there=False)


def _elf(machine: int) -> bytes:
    """A big-endian program of 64 bits that does nothing of use, for firmware that wants an ELF file."""
    head = b"\x7fELF\x02\x02\x01" + bytes(9)
    head += b"".join(value.to_bytes(size, "big") for value, size in ((2, 2), (machine, 2), (1, 4), (0x400000, 8)))
    head += b"".join(value.to_bytes(size, "big") for value, size in ((64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2)))
    head += bytes(6)
    load = b"".join(value.to_bytes(4, "big") for value in (1, 7))
    load += b"".join(value.to_bytes(8, "big") for value in (120, 0x400000, 0x400000, 64, 64, 4))
    return head + load + b"\x48\x00\x00\x00" * 16  # branches to itself


# What stands still, for each.
KERNELS = {
    "aarch64": bytes.fromhex("7f2003d5 ffffff17"),  # wfi; b .-4
    "ppc64": _elf(21),
    "riscv64": bytes.fromhex("73005010 6ff0dfff"),  # wfi; j .-4
    "s390x": bytes.fromhex("a7f40000"),  # j .
}


@on_a_loop
async def test_a_source_of_random_numbers_may_be_called_like_the_property_that_names_it(tmp_path: Path) -> None:
    """QEMU looks a link's end up by its last name, and any virtio-rng has a property of the name `rng`."""
    async with running(tmp_path, devices=(Rng("entropy"),)) as vm:
        await vm.plug(Rng("rng"))
        await vm.unplug("rng")
        assert not vm.plugged
