"""From a machine's configuration to a machine file in QEMU's words: pure functions, one for each kind of thing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gavotte.errors import UsageError
from gavotte.hypervisor.interface import Disk, MachineConfig, Port
from gavotte.qemu.machines import ARCHES, Machine, canonical_arch, find_machine, machines_of
from gavotte.qemu.process import CONFINED
from gavotte.qemu.props import Json, PropertyMap, Recipe, Step
from gavotte.qemu.sections import SECTIONS

__all__ = ["CONSOLE", "MONITOR", "machine_row", "plan_disk", "plan_machine", "plan_port"]

CONSOLE: Final = "console"  # chardev ids, which whoever starts the machine connects to something
MONITOR: Final = "monitor"


def machine_row(arch: str, type: str | None = None) -> Machine:
    """The row for `type`, or the default of `arch`. Raises UsageError for what a sandbox can't use."""
    rows = machines_of(arch)
    if not rows:
        raise UsageError(f"no architecture {arch!r}", path="arch", hint=f"choose one of {', '.join(ARCHES)}")
    row = rows[0] if type is None else find_machine(arch, type)
    if row is None:
        names = ", ".join(row.type for row in rows)
        problem = f"no machine {type!r} for {canonical_arch(arch)}"
        raise UsageError(problem, path="machine", hint=f"choose one of {names}")
    return row


def plan_machine(config: MachineConfig, wires: Mapping[str, PropertyMap]) -> dict[str, Json]:
    """The machine file of `config`, as `gavotte.qemu.document` takes it.

    `wires` says where the chardevs go, by id: CONSOLE, MONITOR and each port's id, each a chardev backend's map.
    """
    row = machine_row(config.arch, config.machine)
    recipe = [
        *plan_console(row, wires[CONSOLE]),
        Step("chardev", {**wires[MONITOR], "id": MONITOR}),
        *plan_rng(row),
        *plan_ports(config.ports, row, wires),
        *(step for disk in config.disks for step in plan_disk(disk, row)),
    ]
    return {
        "name": {"guest": config.name, "debug-threads": True},
        **CONFINED,
        "display": {"type": "none"},
        "no-reboot": True,  # with the kernel's panic=-1, a panic ends the process
        "machine": {"type": config.machine, **row.options, **(row.emulated if config.accel == "tcg" else {})},
        "accels": [{"accel": config.accel}],
        "cpu": {"model": row.cpus[config.accel]},
        "smp": {"cpus": config.vcpus},
        "memory": {"size": f"{config.memory >> 10}K"},
        "kernel": os.fspath(config.kernel),
        **({} if config.initrd is None else {"initrd": os.fspath(config.initrd)}),
        "append": config.append,
        "monitors": [{"chardev": MONITOR, "mode": "control"}],
        **_sections(recipe),
        **({} if row.driver else {"options": [["-serial", f"chardev:{CONSOLE}"]]}),
    }


def _sections(recipe: Iterable[Step]) -> dict[str, list[PropertyMap]]:
    """The steps of a recipe, each in the section that it belongs to."""
    steps = list(recipe)
    by_kind = {name: [step.props for step in steps if step.kind == of.kind] for name, of in SECTIONS.items()}
    return {name: maps for name, maps in by_kind.items() if maps}


def plan_console(row: Machine, wire: PropertyMap) -> Recipe:
    """The line that the kernel's console comes out of; see `Machine.driver` for where there is no device to add."""
    chardev = Step("chardev", {**wire, "id": CONSOLE})
    if row.driver is None:
        return (chardev,)
    return (chardev, Step("device", {"driver": row.driver, "chardev": CONSOLE}))


def plan_rng(row: Machine) -> Recipe:
    return (
        Step("object", {"qom-type": "rng-random", "id": "entropy", "filename": "/dev/urandom"}),
        Step("device", {"driver": f"virtio-rng-{row.virtio}", "rng": "entropy"}),
    )


def plan_ports(ports: Sequence[Port], row: Machine, wires: Mapping[str, PropertyMap]) -> Recipe:
    """The virtio-serial device and its ports, or nothing where no port is wanted."""
    if not ports:
        return ()
    bus = Step("device", {"driver": f"virtio-serial-{row.virtio}", "id": "ports"})
    planned = (plan_port(port, number, wires[port.id]) for number, port in enumerate(ports, start=1))
    return (bus, *(step for steps in planned for step in steps))


def plan_port(port: Port, number: int, wire: PropertyMap) -> Recipe:
    """Port `number` of the virtio-serial device: 0 is kept for a console (virtio 1.2, section 5.3)."""
    return (
        Step("chardev", {**wire, "id": port.id}),
        Step(
            "device",
            {"driver": "virtserialport", "bus": "ports.0", "nr": number, "chardev": port.id, "name": port.name},
        ),
    )


def plan_disk(disk: Disk, row: Machine) -> Recipe:
    """A read-only virtio-blk disk. Other machines may use the same file: a reader takes no exclusive lock."""
    return (
        Step(
            "blockdev",
            {
                "driver": "raw",
                "node-name": disk.id,
                "read-only": True,
                "file": {"driver": "file", "filename": os.fspath(disk.path), "read-only": True},
            },
        ),
        Step("device", {"driver": f"virtio-blk-{row.virtio}", "drive": disk.id, "serial": disk.serial}),
    )
