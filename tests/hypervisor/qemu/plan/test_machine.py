"""The command line of a machine, as golden files that the real QEMU accepts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import UsageError
from gavotte.hypervisor.devices import Disk, Port, Rng
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, Wire, machine_row, plan_device, plan_machine
from gavotte.qemu.binary import find_program
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.machines import MACHINES, Machine
from tests.support.programs import start_options

ROW = machine_row("x86_64", "q35")
GOLDEN = Path(__file__).parents[3] / "golden"
WIRES: Mapping[str, Wire] = {
    name: Wire({"backend": "socket", "path": f"{name}.sock", "server": True, "wait": False})
    for name in (CONSOLE, MONITOR, "agent")
}


def config(machine: str = "q35", arch: str = "x86_64", **changes: Any) -> MachineConfig:
    """A machine as a sandbox has one, with names that need care: commas, spaces, quotes."""
    values: dict[str, Any] = {
        "name": "box,one",
        "arch": arch,
        "machine": machine,
        "accel": "tcg",
        "vcpus": 2,
        "memory": 512 << 20,
        "kernel": Path("/images/a,b/vmlinux"),
        "initrd": Path("/images/a,b/initramfs"),
        "append": 'console=ttyS0 quote=\' and="double"',
        "devices": (
            Rng("entropy"),
            Port("agent", "gavotte.agent"),
            Disk("root", Path("/images/a,b/root fs.squashfs"), "gavotte-root", read_only=True),
        ),
    }
    return MachineConfig(**{**values, **changes})


def by_option(argv: list[str]) -> str:
    """One option a line, as a shell would read it."""
    lines: list[list[str]] = []
    for word in argv:
        if word.startswith("-"):
            lines.append([])
        lines[-1].append(word)
    return "".join(f"{shlex.join(line)}\n" for line in lines)


CASES = {
    **{f"{row.arch}-{row.type}": config(row.type, row.arch) for row in MACHINES},
    "x86_64-q35-kvm": config(accel="kvm"),
    "x86_64-pc-q35-7.2": config("pc-q35-7.2", devices=(Rng("entropy"),), initrd=None),
    "aarch64-virt-kvm": config("virt", "aarch64", accel="kvm"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_command_line_is_the_golden_one(name: str, request: pytest.FixtureRequest) -> None:
    path = GOLDEN / f"{name}.argv"
    text = by_option(document_to_argv(plan_machine(CASES[name], WIRES)))
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert text == path.read_text(), "if it is meant to change: pytest --update-golden, and review the diff"


def test_every_golden_file_has_its_case() -> None:
    assert sorted(path.name for path in GOLDEN.glob("*.argv")) == sorted(f"{name}.argv" for name in CASES)


@pytest.mark.parametrize("row", MACHINES, ids=lambda row: f"{row.arch}-{row.type}")
def test_the_real_qemu_accepts_it(row: Machine, tmp_path: Path) -> None:
    if find_program(f"qemu-system-{row.arch}") is None:
        pytest.skip(f"qemu-system-{row.arch} is not installed: make setup-arches")
    folder = tmp_path / "a,b c"
    folder.mkdir()
    for name in ("initramfs", "root"):
        (folder / name).write_bytes(bytes(1 << 20))
    golden = shlex.split((GOLDEN / f"{row.arch}-{row.type}.argv").read_text())
    disk = Disk("root", folder / "root", "gavotte-root", read_only=True)
    devices = (Rng("entropy"), Port("agent", "gavotte.agent"), disk)
    wanted = config(row.type, row.arch, initrd=folder / "initramfs", devices=devices)
    mine = document_to_argv(plan_machine(wanted, WIRES))
    assert [word for word in mine if str(folder) not in word] == [
        word for word in golden if "a,b/" not in word or "vmlinux" in word
    ]
    cut = mine.index("-kernel")  # a real kernel is for the tests that boot one
    start_options([*mine[:cut], *mine[cut + 6 :]], tmp_path, arch=row.arch)


def test_planning_is_pure() -> None:
    assert plan_machine(config(), WIRES) == plan_machine(config(), WIRES)


def test_disks_and_ports_get_their_own_ids_and_numbers() -> None:
    disks = tuple(Disk(f"d{n}", Path(f"/d{n}"), f"s{n}") for n in range(2))
    ports = tuple(Port(f"p{n}", f"name{n}") for n in range(2))
    wires = {**WIRES, "p0": Wire({"backend": "null"}), "p1": Wire({"backend": "null"})}
    devices: Any = plan_machine(config(devices=(*ports, *disks)), wires)["devices"]
    assert [(d["serial"], d["drive"]) for d in devices if "serial" in d] == [("s0", "d0"), ("s1", "d1")]
    assert [(d["nr"], d["name"]) for d in devices if "nr" in d] == [(1, "name0"), (2, "name1")]


def test_a_disk_and_a_port_are_maps_with_qemus_keys_and_json_types() -> None:
    node, device = plan_device(Disk("root", Path("/a,b"), "s", read_only=True), ROW, {})
    assert node.props["read-only"] is True
    assert node.props["file"] == {"driver": "file", "filename": "/a,b", "read-only": True}
    assert device.props == {"driver": "virtio-blk-pci", "id": "root", "drive": "root", "serial": "s"}
    place: dict[str, Any] = {"bus": "ports.0", "nr": 3}
    _, port = plan_device(Port("agent", "x.y"), ROW, place, Wire({"backend": "null"}))
    assert (port.props["nr"], port.props["name"], port.props["chardev"]) == (3, "x.y", "agent")


@pytest.mark.parametrize("arch", ["s390x", "aarch64", "x86_64"])
@pytest.mark.parametrize("machine", ["", "toaster", "pc-", "Q35", "none", "virt-"])
def test_an_unknown_machine_names_those_there_are(arch: str, machine: str) -> None:
    with pytest.raises(UsageError, match=rf"^machine: no machine .* for {arch}$") as caught:
        machine_row(arch, machine)
    assert [row.type for row in MACHINES if row.arch == arch] == caught.value.hint.removeprefix("choose one of ").split(
        ", "
    )


def test_an_unknown_accelerator_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="accel: no accelerator 'xen'") as caught:
        plan_machine(config(accel="xen"), WIRES)
    assert "tcg" in caught.value.hint


def test_an_unknown_architecture_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"^arch: no architecture 'vax'$") as caught:
        machine_row("vax")
    assert "x86_64, aarch64, ppc64, s390x, riscv64" in caught.value.hint
