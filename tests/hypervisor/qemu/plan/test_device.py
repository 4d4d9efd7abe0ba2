"""Each class of device as steps: golden files for each kind of machine, which real QEMUs accept."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine, UsageError
from gavotte.hypervisor.devices import (
    Balloon,
    Console,
    Device,
    Disk,
    Latent,
    Nic,
    Port,
    PvPanic,
    Raw,
    Rng,
    Share,
    Tap,
    Throttle,
    User,
    Vsock,
    Watchdog,
)
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, Wire, machine_row, plan_device, plan_machine, seat_of, tune
from gavotte.hypervisor.qemu.plan.extras import plan_raw
from gavotte.qemu.binary import find_program, find_qemu
from gavotte.qemu.check import check_document
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import Json, PropertyMap, Recipe, Step, recipe_to_argv
from tests.support.binaries import QEMU10
from tests.support.devices import DEVICES, WIRES, devices_for
from tests.support.programs import start_options
from tests.support.schemas import schema_for

GOLDEN = Path(__file__).parents[3] / "golden/devices"
ROWS = {
    f"{arch}-{type}": machine_row(arch, type)
    for arch, type in (("x86_64", "q35"), ("x86_64", "pc"), ("aarch64", "virt"), ("s390x", "s390-ccw-virtio"))
}
ROW = ROWS["x86_64-q35"]
SLOTS: dict[str, PropertyMap] = {"pcie": {"bus": "rp0", "addr": "00"}, "pci": {"bus": "pci.0", "addr": "1f"}}
SHARED: dict[str, PropertyMap] = {
    "ports": {"bus": "ports.0", "nr": 1},
    "scsi": {"bus": "scsi.0", "scsi-id": 0, "lun": 1},
    "": {},
}


def planned(device: Device, row: Machine = ROW, **place: Any) -> Recipe:
    return plan_device(device, row, place, WIRES.get(device.id, Wire({})), machine="box")


def front(device: Device, row: Machine = ROW, **place: Any) -> Mapping[str, Any]:
    """The device's own map, which comes last."""
    return planned(device, row, **place)[-1].props


def at(device: Device, row: Machine) -> PropertyMap:
    seat = seat_of(device, row)
    return SHARED[seat] if seat in SHARED else SLOTS.get(row.hotplug, {"devno": "fe.0.1000"})


# --- golden files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
def test_the_steps_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    row = ROWS[name]
    texts = []
    for device in devices_for(row):
        words = recipe_to_argv(planned(device, row, **at(device, row)))
        lines = [shlex.join(words[index : index + 2]) for index in range(0, len(words), 2)]
        texts.append("\n".join([f"# {type(device).__name__} {device.id}", *lines]) + "\n")
    text, path = "\n".join(texts), GOLDEN / f"{name}.argv"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert text == path.read_text(), "if it is meant to change: pytest --update-golden, and review the diff"


LATENT = [Latent(f"latent-{kind}", kind) for kind in ("disk", "nic", "share")]


def test_the_steps_of_latent_devices_are_the_golden_ones(request: pytest.FixtureRequest) -> None:
    texts = []
    for name, row in ROWS.items():
        words = [word for place in LATENT for word in recipe_to_argv(planned(place, row, **at(place, row)))]
        lines = [shlex.join(words[index : index + 2]) for index in range(0, len(words), 2)]
        texts.append("\n".join([f"# {name}", *lines]) + "\n")
    text, path = "\n".join(texts), GOLDEN / "latent.argv"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert text == path.read_text(), "if it is meant to change: pytest --update-golden, and review the diff"


def test_a_device_is_at_the_place_of_the_latent_one_with_another_back_end() -> None:
    """Else the state of one would not be the other's."""
    pairs: list[tuple[Device, Device]] = [
        (LATENT[0], Disk("d", Path("/d"), "serial", "qcow2", read_only=True)),
        (LATENT[1], Nic("n", User())),
        (LATENT[2], Share("s", Path("/s"), "tag")),
    ]
    for place, real in pairs:
        one, other = front(place, bus="rp0", addr="00"), front(real, bus="rp0", addr="00")
        assert {name: one[name] for name in ("driver", "bus", "addr")}.items() <= other.items()


@pytest.mark.parametrize("name", ["x" * 32, "y" * 100])
def test_a_latent_device_whose_name_is_too_long_for_a_block_node_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as error:
        planned(Latent(name, "disk"))
    assert error.value.path == "id"


def test_a_real_qemu_takes_latent_disks_and_shares_at_its_start(tmp_path: Path) -> None:
    """A card of this kind as well, but with a warning that it leads nowhere."""
    binary = find_qemu().path
    document(ROW, tuple(LATENT), binary, {})
    argv = document_to_argv(document(ROW, (LATENT[0], LATENT[2]), binary, {}))
    cut = argv.index("-kernel")
    start_options([*argv[:cut], *argv[cut + 4 :]], tmp_path)


def config(row: Machine, devices: tuple[Device, ...] = (), slots: int = 0) -> MachineConfig:
    return MachineConfig("box", row.arch, row.type, "tcg", 1, 512 << 20, Path("/none"), None, "", devices, slots=slots)


WIRED = {CONSOLE: Wire({"backend": "null"}), MONITOR: Wire({"backend": "null"})}


def document(row: Machine, devices: tuple[Device, ...], qemu: Path, wires: Mapping[str, Wire]) -> Mapping[str, Any]:
    """A machine into which all these were plugged before its start, checked against the binary."""
    schema = schema_for(qemu)
    slots = 0 if row.hotplug not in ("pcie", "ccw", "pci") else 20
    table = Table.for_machine(config(row, slots=slots), row)
    for device in devices:
        table, _ = table.place(device, row, schema)
        table = table.with_device(device, ())
    table = table.planned(row, wires, "box")
    plugged = (*table.fixed(), *table.recipe())
    return check_document(plan_machine(config(row, slots=slots), {**WIRED, **wires}, plugged), schema)


BINARIES = [
    *(pytest.param(row, None, id=name) for name, row in ROWS.items()),
    pytest.param(ROW, QEMU10, id="q35-qemu10", marks=pytest.mark.skipif(QEMU10 is None, reason="make setup-qemu10")),
]


@pytest.mark.parametrize(("row", "qemu"), BINARIES)
def test_real_qemus_take_all_of_them_at_their_start(
    row: Machine, qemu: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_program(f"qemu-system-{row.arch}") is None:
        pytest.skip(f"qemu-system-{row.arch} is not installed: make setup-arches")
    path = qemu or find_qemu(row.arch).path
    if qemu is not None:
        monkeypatch.setenv("GAVOTTE_QEMU", os.fspath(qemu))
    document(row, devices_for(row), path, WIRES)  # what needs something of the host is checked, and not started
    startable = [on_files(device, tmp_path) for device in devices_for(row) if starts(device)]
    checked = document(row, tuple(startable), path, {id: Wire({"backend": "null"}) for id in ("port", "hvc")})
    argv = document_to_argv(checked)
    cut = argv.index("-kernel")
    start_options([*argv[:cut], *argv[cut + 4 :]], tmp_path, arch=row.arch)


def starts(device: Device) -> bool:
    """Whether it needs nothing of the host. Of balloons, QEMU takes one."""
    return isinstance(device, Port | Console) or (device.id not in WIRES and device.id != "watched")


def on_files(device: Device, folder: Path) -> Device:
    """The device with a file or directory that is there."""
    if isinstance(device, Disk):
        path = folder / device.id
        path.write_bytes(bytes(1 << 20))
        return replace(device, path=path, format="raw")
    if isinstance(device, Share):
        return replace(device, path=folder)
    if isinstance(device, Rng):
        return replace(device, filename=Path("/dev/urandom"))
    if isinstance(device, Nic):
        return replace(device, net=User(restrict=True))
    return device


# --- what each is told ------------------------------------------------------------------------------------------------


def test_a_long_id_is_refused_or_whole_and_never_cut() -> None:
    long = "a" * 60
    for device in (Nic(long, User()), Rng(long), Port(long, "x"), Share(long, Path("/srv"), tag="t")):
        recipe = planned(device)
        assert all(str(step.props["id"]).startswith(long) for step in recipe)
    with pytest.raises(UsageError, match=r"^id: .* is longer than 31 bytes"):
        planned(Disk(long, Path("/disk")))


def test_the_parts_of_two_devices_never_have_one_name() -> None:
    disks = [Disk(id, Path("/d"), iothread=True, throttle=Throttle(1)) for id in ("a", "a-throttle", "a-iothread")]
    names = [step.props["id"] for disk in disks for step in planned(disk) if step.kind == "object"]
    assert len(set(names)) == len(names) == 6
    with pytest.raises(UsageError, match=r"^id: 'a\.throttle' can't be an id") as caught:
        planned(Rng("a.throttle"))
    assert "a letter, then letters, digits" in caught.value.hint


@pytest.mark.parametrize("id", ["", "1", "-a", "a b", "a,b", "a/b", "ä", "a.b", "a\n"])
def test_an_id_that_qemu_would_refuse_is_refused(id: str) -> None:
    with pytest.raises(UsageError, match=r"^id: "):
        planned(PvPanic(id))


def test_one_queue_has_no_mq_and_several_have_their_vectors() -> None:
    one, two = (front(Nic("n", Tap(fds))) for fds in ((3,), (3, 4)))
    assert "mq" not in one
    assert "vectors" not in one
    assert (two["mq"], two["vectors"]) == (True, 6)
    assert "vectors" not in front(Nic("n", Tap((3, 4))), ROWS["s390x-s390-ccw-virtio"])


def test_nothing_is_told_that_nobody_asked_for() -> None:
    for row in ROWS.values():
        for device in devices_for(row):
            for step in planned(device, row):
                assert not {"romfile", "disable-modern", "iommu_platform"} & step.props.keys()
                assert not any(value in ("", None) for value in step.props.values()), step


def test_the_transport_is_the_machines_whatever_this_host_is() -> None:
    for name, row in ROWS.items():
        drivers = {str(front(device, row)["driver"]) for device in devices_for(row)}
        wrong = "-pci" if row.virtio == "ccw" else "-ccw"
        assert not [driver for driver in drivers if driver.endswith(wrong)], name


def test_an_address_depends_on_both_names_and_is_administered_locally() -> None:
    def mac(machine: str, id: str) -> str:
        return str(plan_device(Nic(id, User()), ROW, {}, machine=machine)[-1].props["mac"])

    assert mac("a", "n") == mac("a", "n")
    assert len({mac("a", "n"), mac("b", "n"), mac("a", "m"), mac("an", "n")}) == 4
    assert int(mac("a", "n")[:2], 16) & 3 == 2


@pytest.mark.parametrize(
    ("device", "path"),
    [
        (Disk("d", Path("/d"), "x" * 21), "serial"),
        (Share("s", Path("/d"), "x" * 32), "tag"),
        (Share("s", Path("/d"), "x" * 37, kind="virtiofs"), "tag"),
        (Vsock("v", 2), "cid"),
        (Vsock("v", 2**32 - 1), "cid"),
        (Rng("r", max_bytes=5), "period"),
        (Rng("r", period=5), "max_bytes"),
    ],
)
def test_what_qemu_would_cut_or_refuse_is_refused_by_its_field(device: Device, path: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(device)
    assert caught.value.path == path
    assert caught.value.hint


def test_any_other_device_gets_its_id_and_a_place_unless_it_has_one() -> None:
    assert front(Raw("r", {"driver": "vfio-pci", "host": "01:00.0"}), bus="rp3") == {
        "driver": "vfio-pci", "host": "01:00.0", "id": "r", "bus": "rp3"}  # fmt: skip
    assert [seat_of(Raw("r", {"driver": "x", key: "1"}), ROW) for key in ("bus", "addr", "devno")] == ["", "", ""]


def test_what_no_property_says_is_said_afterwards() -> None:
    assert tune(Watchdog("dog", "pause")) == (("set-action", {"watchdog": "pause"}),)
    ((command, arguments),) = tune(Balloon("b", statistics=3))
    assert (command, arguments["path"], arguments["value"]) == ("qom-set", "/machine/peripheral/b", 3)
    assert all(not tune(device) for device in DEVICES if not isinstance(device, Watchdog | Balloon))


def test_the_machines_own_devices_share_one_controller_of_a_kind() -> None:
    own = (
        Port("p0", "a"),
        Disk("l0", Path("/l0"), bus="virtio-scsi"),
        Console("c"),
        Disk("l1", Path("/l1"), bus="virtio-scsi"),
    )
    wires = {**WIRED, "p0": Wire({"backend": "null"}), "c": Wire({"backend": "null"})}
    devices: Any = plan_machine(config(ROW, own), wires)["devices"]
    found = [{key: device.get(key) for key in ("driver", "bus", "nr", "lun")} for device in devices]
    assert [d for d in found if d["driver"] != "isa-serial"] == [
        {"driver": "virtio-serial-pci", "bus": None, "nr": None, "lun": None},
        {"driver": "virtserialport", "bus": "ports.0", "nr": 1, "lun": None},
        {"driver": "virtio-scsi-pci", "bus": None, "nr": None, "lun": None},
        {"driver": "scsi-hd", "bus": "scsi.0", "nr": None, "lun": 1},
        {"driver": "virtconsole", "bus": "ports.0", "nr": 2, "lun": None},
        {"driver": "scsi-hd", "bus": "scsi.0", "nr": None, "lun": 2},
    ]


def test_the_culprit_among_the_machines_own_devices_is_named_by_its_path() -> None:
    with pytest.raises(UsageError, match=r"^devices\[1\]\.serial: "):
        plan_machine(config(ROW, (Rng("r"), Disk("d", Path("/d"), "x" * 21))), WIRED)


@pytest.mark.parametrize(
    ("netdev", "culprits"),
    [
        ({"type": "tap", "ifname": "t"}, {"recipe[0].script", "recipe[0].downscript"}),
        ({"type": "tap", "ifname": "t", "script": "no", "downscript": "/x"}, {"recipe[0].downscript"}),
        ({"type": "tap", "helper": "/x"}, {"recipe[0].helper"}),
        ({"type": "bridge"}, {"recipe[0].type"}),
        ({"type": "user", "smb": "/"}, {"recipe[0].smb"}),
        ({"type": "user", "guestfwd": [{"str": "tcp:10.0.2.9:80-cmd:cat"}]}, {"recipe[0].guestfwd"}),
    ],
)
def test_a_network_that_has_qemu_start_a_program_is_refused(netdev: dict[str, Json], culprits: set[str]) -> None:
    """QEMU's sandbox would end it for that, with the guest in it."""
    raw = Raw("r", {"driver": "virtio-net-pci", "netdev": "n"}, (Step("netdev", {**netdev, "id": "n"}),))
    with pytest.raises(InvalidMachine) as caught:
        plan_raw(raw, {})
    assert {problem.path for problem in caught.value.problems} == culprits


@pytest.mark.parametrize(
    "netdev", [{"type": "tap", "script": "no", "downscript": "no"}, {"type": "tap", "fd": "3"}, {"type": "user"}]
)
def test_a_network_that_starts_nothing_is_taken(netdev: dict[str, Json]) -> None:
    assert len(plan_raw(Raw("r", {"driver": "virtio-net-pci"}, (Step("netdev", netdev),)), {})) == 2
