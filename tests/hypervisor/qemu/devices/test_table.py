"""Where plugged devices sit: places that never meet the machine's own, and a value that is stored and read again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GavotteError, StateError, StateTooNew, Unsupported, UsageError
from gavotte.hypervisor.devices import (
    Balloon,
    Console,
    Device,
    Disk,
    Nic,
    Passt,
    Port,
    Raw,
    Rng,
    Share,
    Stream,
    Tap,
    Throttle,
    User,
    Vsock,
)
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, Wire, plan_machine
from gavotte.qemu.binary import find_program
from gavotte.qemu.check import check_document
from gavotte.qemu.machines import MACHINES, Machine
from gavotte.qemu.props import Fd, PropertyMap, Step
from gavotte.qemu.schema import Schema
from tests.support.schemas import schema_for

ROWS = {f"{row.arch}-{row.type}": row for row in MACHINES}
Q35 = ROWS["x86_64-q35"]

ALL: tuple[Device, ...] = (
    Disk("disk", Path("/d,1"), "s", throttle=Throttle(iops=5), iothread=True),
    Disk("lun", Path("/e"), bus="virtio-scsi", read_only=True),
    Nic("user", User(hostfwd=("tcp::1-:2",))),
    Nic("tap", Tap((3, 4), (5, 6))),
    Nic("stream", Stream(7), "52:54:00:00:00:01"),
    Nic("passt", Passt(("-4",))),
    Share("share", Path("/s"), kind="virtiofs"),
    Port("port", "a.port"),
    Console("tty"),
    Rng("rng", max_bytes=1, period=2),
    Balloon("balloon"),
    Vsock("vsock", 3, 8),
    Raw("raw", {"driver": "virtio-rng-pci", "rng": "r"}, (Step("object", {"qom-type": "rng-builtin", "id": "r"}),)),
)


def config(row: Machine = Q35, **changes: Any) -> MachineConfig:
    values: dict[str, Any] = {
        "name": "box",
        "arch": row.arch,
        "machine": row.type,
        "accel": "tcg",
        "vcpus": 1,
        "memory": 256 << 20,
        "kernel": Path("/kernel"),
        "initrd": None,
        "append": "",
        "slots": 3,
    }
    return MachineConfig(**{**values, **changes})


def schema_of(row: Machine) -> Schema:
    program = find_program(f"qemu-system-{row.arch}")
    if program is None:
        pytest.skip(f"no emulator for {row.arch} here: make setup-arches")
    return schema_for(program)


def plugged(table: Table, *devices: Device, row: Machine = Q35) -> tuple[Table, list[PropertyMap]]:
    places = []
    for device in devices:
        table, place = table.place(device, row, schema_of(row))
        table = table.with_device(device, ())
        places.append(place)
    return table, places


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "first", "second"),
    [
        ("x86_64-q35", {"bus": "rp0", "addr": "00"}, {"bus": "rp1", "addr": "00"}),
        ("aarch64-virt", {"bus": "rp0", "addr": "00"}, {"bus": "rp1", "addr": "00"}),
        ("riscv64-virt", {"bus": "rp0", "addr": "00"}, {"bus": "rp1", "addr": "00"}),
        ("x86_64-pc", {"bus": "pci.0", "addr": "1d"}, {"bus": "pci.0", "addr": "1e"}),
        ("ppc64-pseries", {"bus": "pci.0", "addr": "1d"}, {"bus": "pci.0", "addr": "1e"}),
        ("s390x-s390-ccw-virtio", {"devno": "fe.0.1000"}, {"devno": "fe.0.1001"}),
    ],
)
def test_each_machine_type_has_slots_of_its_own_kind(row: str, first: PropertyMap, second: PropertyMap) -> None:
    table = Table.for_machine(config(ROWS[row]), ROWS[row])
    assert plugged(table, Rng("a"), Rng("b"), row=ROWS[row])[1] == [first, second]


@pytest.mark.parametrize("row", [row for row in MACHINES if row.hotplug], ids=lambda row: f"{row.arch}-{row.type}")
def test_the_places_are_those_that_the_emulator_has(row: Machine) -> None:
    """Kata's chassis numbers met each other, and its ports those that QEMU places itself."""
    own = (*(Rng(f"own{number}") for number in range(6)), Port("agent", "a"), Port("other", "b"))
    base = config(row, devices=own, slots=9)
    devices = (
        Rng("r"),
        Disk("d", Path("/d")),
        Disk("l", Path("/l"), bus="virtio-scsi"),
        Nic("n", User()),
        Port("p", "p"),
    )
    table, _ = plugged(Table.for_machine(base, row), *devices, row=row)
    wire = Wire({"backend": "socket", "fd": "7"})
    wires = dict.fromkeys((CONSOLE, MONITOR, "agent", "other", "p"), wire)
    table = table.planned(row, {"p": wire}, "box")
    document = plan_machine(base, wires, (*table.fixed(), *table.recipe()))
    assert check_document(document, schema_of(row)) == document


def test_root_ports_are_told_apart_and_far_from_what_qemu_places_itself() -> None:
    for slots in (1, 8, 9, 120):
        ports = [step.props for step in Table.for_machine(config(slots=slots), Q35).fixed()]
        assert len(ports) == slots
        assert all(count == 1 for count in Counter((port["chassis"], port["slot"]) for port in ports).values())
        assert all(count == 1 for count in Counter(str(port["addr"]) for port in ports).values())
        assert int(str(ports[-1]["addr"])[:2], 16) == 0x1E
        assert int(str(ports[0]["addr"])[:2], 16) == 0x1E - (slots - 1) // 8


def test_a_machine_without_slots_has_nothing_added_to_it() -> None:
    table = Table.for_machine(config(slots=0), Q35)
    assert table.fixed() == ()
    with pytest.raises(StateError, match="'r' needs a slot") as error:
        plugged(table, Rng("r"))
    assert "slots" in error.value.hint


def test_a_machine_type_that_takes_nothing_says_so_when_it_is_made() -> None:
    row = ROWS["x86_64-microvm"]
    with pytest.raises(Unsupported, match="microvm has no slots"):
        Table.for_machine(config(row), row)
    with pytest.raises(Unsupported):
        plugged(Table.for_machine(config(row, slots=0), row), Rng("r"), row=row)


@pytest.mark.parametrize(("row", "most"), [("x86_64-q35", 120), ("x86_64-pc", 20), ("s390x-s390-ccw-virtio", 4096)])
def test_more_slots_than_there_can_be_are_refused_with_the_number_that_can(row: str, most: int) -> None:
    Table.for_machine(config(ROWS[row], slots=most), ROWS[row])
    for slots in (most + 1, -1):
        with pytest.raises(UsageError, match=f"slots: .*up to {most}"):
            Table.for_machine(config(ROWS[row], slots=slots), ROWS[row])


def test_slots_run_out_with_a_way_out_and_come_back() -> None:
    table, places = plugged(Table.for_machine(config(slots=2), Q35), Rng("a"), Rng("b"))
    with pytest.raises(StateError, match="all of the machine's slots are taken") as error:
        table.place(Rng("c"), Q35, schema_of(Q35))
    assert "unplug" in error.value.hint
    again, place = table.without("a").place(Rng("c"), Q35, schema_of(Q35))
    assert place == places[0]
    assert "c" not in again.placed and "a" in table.placed  # values don't change


# --- what is shared ---------------------------------------------------------------------------------------------------


def test_the_machines_own_ports_have_the_first_numbers_and_plugged_ones_the_next() -> None:
    own = (Port("agent", "a"), Console("tty"))
    _, places = plugged(Table.for_machine(config(devices=own), Q35), Port("p", "p"), Console("c"))
    assert places == [{"bus": "ports.0", "nr": 3}, {"bus": "ports.0", "nr": 4}]


def test_the_first_port_of_a_machine_without_any_brings_a_controller() -> None:
    table, places = plugged(Table.for_machine(config(), Q35), Port("p", "p"), Port("q", "q"))
    assert places == [{"bus": "ports.0", "nr": 1}, {"bus": "ports.0", "nr": 2}]
    (controller,) = table.controllers["ports"]
    assert controller.props == {"driver": "virtio-serial-pci", "id": "ports", "bus": "rp0", "addr": "00"}
    assert table.without("p").without("q").controllers == table.controllers


def test_scsi_disks_share_a_controller_that_has_a_slot_of_its_own() -> None:
    luns = [Disk(f"d{number}", Path("/d"), bus="virtio-scsi") for number in range(3)]
    table, places = plugged(Table.for_machine(config(slots=1), Q35), *luns)
    assert len({tuple(place.items()) for place in places}) == 3
    assert {place["bus"] for place in places} == {"scsi.0"}
    assert [step.props["driver"] for step in table.recipe()] == ["virtio-scsi-pci"]
    with pytest.raises(StateError):
        plugged(table, Rng("r"))


def test_the_luns_of_the_machines_own_disks_are_not_given_again() -> None:
    own = tuple(Disk(f"own{number}", Path("/d"), bus="virtio-scsi") for number in range(2))
    base = config(devices=own)
    table, places = plugged(Table.for_machine(base, Q35), Disk("d", Path("/d"), bus="virtio-scsi"))
    assert not table.controllers
    wires = {name: Wire({"backend": "socket", "fd": "7"}) for name in (CONSOLE, MONITOR)}
    planned: Any = plan_machine(base, wires)
    taken = [device for device in planned["devices"] if device["driver"] == "scsi-hd"]
    units = [(device.get("scsi-id", 0), device["lun"]) for device in (*taken, *places)]
    assert len(set(units)) == 3


# --- any other device -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "place"),
    [
        ("e1000", {"bus": "rp0", "addr": "00"}),
        ("vfio-pci", {"bus": "rp0", "addr": "00"}),
        ("scsi-hd", {"bus": "scsi.0", "scsi-id": 0, "lun": 1}),
        ("virtserialport", {"bus": "ports.0", "nr": 1}),
        ("usb-kbd", {}),
        ("isa-serial", {}),
        ("pc-dimm", {}),
        ("no-such", {}),
    ],
)
def test_a_raw_device_sits_where_its_driver_belongs(driver: str, place: PropertyMap) -> None:
    assert plugged(Table.for_machine(config(), Q35), Raw("r", {"driver": driver}))[1] == [place]


@pytest.mark.parametrize(("driver", "place"), [("vfio-ccw", {"devno": "fe.0.1000"}), ("vfio-pci", {})])
def test_on_s390x_channel_devices_have_the_slots(driver: str, place: PropertyMap) -> None:
    row = ROWS["s390x-s390-ccw-virtio"]
    assert plugged(Table.for_machine(config(row), row), Raw("r", {"driver": driver}), row=row)[1] == [place]


def test_an_address_that_the_map_gives_is_kept_and_nobody_else_gets_it() -> None:
    chosen = Raw("chosen", {"driver": "e1000", "bus": "rp0"})
    table, places = plugged(Table.for_machine(config(), Q35), chosen, Rng("r"))
    assert places == [{}, {"bus": "rp1", "addr": "00"}]
    with pytest.raises(StateError, match="taken by 'r'"):
        plugged(table, Raw("late", {"driver": "e1000", "bus": "rp1"}))
    assert plugged(table.without("chosen"), Rng("s"))[1] == [{"bus": "rp0", "addr": "00"}]


@pytest.mark.parametrize("bus", ["pcie.0", "mine.0", "rp99"])
def test_an_address_elsewhere_is_none_of_ours(bus: str) -> None:
    table, places = plugged(Table.for_machine(config(), Q35), Raw("r", {"driver": "e1000", "bus": bus}))
    assert places == [{}]
    assert not table.addresses.taken


# --- stored -----------------------------------------------------------------------------------------------------------


def full() -> Table:
    table, _ = plugged(Table.for_machine(config(slots=20), Q35), *ALL)
    wires = {device.id: Wire({"backend": "socket", "fd": device.id}, (Fd(device.id, 9),)) for device in ALL}
    return replace(table.planned(Q35, wires, "box"))


def test_what_is_stored_is_what_is_read_but_for_the_numbers_of_descriptors() -> None:
    table = full()
    stored = json.loads(json.dumps(table.to_json()))
    again = Table.from_json(stored)
    assert again.to_json() == table.to_json()
    assert again.addresses == table.addresses
    assert list(again.placed) == [device.id for device in ALL]
    assert again.placed["lun"] == table.placed["lun"]
    assert again.placed["port"].recipe[0].fds == (Fd("port", -1),)
    assert plugged(again, Rng("next"))[1] == plugged(table, Rng("next"))[1]


def test_a_later_version_is_refused_with_both_versions() -> None:
    with pytest.raises(StateTooNew) as error:
        Table.from_json({**full().to_json(), "version": 2})
    assert (error.value.found, error.value.known) == (2, 1)


@pytest.mark.parametrize("key", ["version", "addresses", "placed", "controllers"])
@pytest.mark.parametrize("wrong", [None, 0, "x", [1], {"x": 1}, True])
def test_anything_else_is_refused_and_never_read_as_something(key: str, wrong: object) -> None:
    with pytest.raises(GavotteError):
        Table.from_json({**full().to_json(), key: wrong})


def test_a_damaged_device_is_named_by_its_path() -> None:
    stored = full().to_json()
    stored["placed"][1]["device"]["bus"] = "floppy"
    with pytest.raises(UsageError, match=r"placed\[1\]\.device\.bus"):
        Table.from_json(stored)
