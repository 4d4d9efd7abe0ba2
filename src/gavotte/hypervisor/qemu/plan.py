"""From a machine's configuration to QEMU's options: pure functions, one for each kind of thing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from gavotte.errors import UsageError
from gavotte.hypervisor.interface import Disk, MachineConfig, Port
from gavotte.qemu.machines import MACHINES, Machine, find_machine
from gavotte.qemu.process import CONFINED
from gavotte.qemu.props import PropertyMap, Recipe, Step, option_to_argv, recipe_to_argv

__all__ = ["CONSOLE", "MONITOR", "machine_row", "plan_disk", "plan_machine", "plan_port"]

CONSOLE: Final = "console"  # chardev ids, which whoever starts the machine connects to something
MONITOR: Final = "monitor"


def machine_row(type: str) -> Machine:
    """The row for `type`. Raises UsageError for a machine type that a sandbox can't use."""
    row = find_machine(type)
    if row is None:
        raise UsageError(f"no machine {type!r}", path="machine", hint=f"choose one of {', '.join(MACHINES)}")
    return row


def plan_machine(config: MachineConfig, wires: Mapping[str, PropertyMap]) -> list[str]:
    """The arguments after the binary's name.

    `wires` says where the chardevs go, by id: CONSOLE, MONITOR and each port's id, each a chardev backend's map.
    """
    row = machine_row(config.machine)
    argv = [
        *option_to_argv("name", {"guest": config.name, "debug-threads": True}),
        *CONFINED,
        *("-display", "none", "-no-reboot"),  # with the kernel's panic=-1, a panic ends the process
        *option_to_argv("machine", {"type": config.machine, **row.options}),
        *plan_accel(config.accel),
        *option_to_argv("smp", {"cpus": config.vcpus}),
        *option_to_argv("m", {"size": f"{config.memory >> 10}K"}),
        *plan_boot(config),
        *recipe_to_argv(plan_console(row, wires[CONSOLE])),
        *recipe_to_argv((Step("chardev", {**wires[MONITOR], "id": MONITOR}),)),
        *option_to_argv("mon", {"chardev": MONITOR, "mode": "control"}),
        *recipe_to_argv(plan_rng(row)),
    ]
    if config.ports:
        argv += recipe_to_argv((Step("device", {"driver": f"virtio-serial-{row.virtio}", "id": "ports"}),))
    for number, port in enumerate(config.ports, start=1):
        argv += recipe_to_argv(plan_port(port, number, wires[port.id]))
    for disk in config.disks:
        argv += recipe_to_argv(plan_disk(disk, row))
    return argv


def plan_accel(accel: str) -> list[str]:
    if accel == "kvm":
        return [*option_to_argv("accel", {"accel": "kvm"}), *option_to_argv("cpu", {"model": "host"})]
    return [*option_to_argv("accel", {"accel": "tcg"}), *option_to_argv("cpu", {"model": "max"})]


def plan_boot(config: MachineConfig) -> list[str]:
    """Direct kernel boot. These options take their word literally: nothing is escaped."""
    argv = ["-kernel", os.fspath(config.kernel)]
    if config.initrd is not None:
        argv += ["-initrd", os.fspath(config.initrd)]
    return [*argv, "-append", config.append]


def plan_console(row: Machine, wire: PropertyMap) -> Recipe:
    return (
        Step("chardev", {**wire, "id": CONSOLE}),
        Step("device", {"driver": row.driver, "chardev": CONSOLE}),
    )


def plan_rng(row: Machine) -> Recipe:
    return (
        Step("object", {"qom-type": "rng-random", "id": "entropy", "filename": "/dev/urandom"}),
        Step("device", {"driver": f"virtio-rng-{row.virtio}", "rng": "entropy"}),
    )


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
