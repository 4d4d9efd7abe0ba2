"""From a machine's configuration to a machine file in QEMU's words: pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from gavotte.errors import UsageError
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.plan.device import plan_devices
from gavotte.hypervisor.qemu.plan.memory import MEMORY, Growth, plan_memory, plan_vcpus
from gavotte.hypervisor.qemu.plan.wire import Wire
from gavotte.qemu.machines import ARCHES, Machine, canonical_arch, find_machine, machines_of
from gavotte.qemu.process import CONFINED
from gavotte.qemu.props import Json, PropertyMap, Recipe, Step
from gavotte.qemu.sections import SECTIONS

__all__ = ["CONSOLE", "MONITOR", "machine_row", "plan_machine"]

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


def plan_machine(
    config: MachineConfig, wires: Mapping[str, Wire], plugged: Recipe = (), growth: Growth = ""
) -> dict[str, Json]:
    """The machine file of `config`, as `gavotte.qemu.document` takes it.

    `wires` says where the chardevs go: CONSOLE, MONITOR, and each device that reaches the outside by its id; and where
    the MEMORY's file is. `plugged` are the steps of what was plugged before the start; they come last. `growth` is how
    the machine gets more memory.
    """
    row = machine_row(config.arch, config.machine)
    if config.accel not in row.cpus:
        hint = f"choose one of {', '.join(row.cpus)}"
        raise UsageError(f"no accelerator {config.accel!r} for {row.type}", path="accel", hint=hint)
    file = wires[MEMORY].props if MEMORY in wires else None
    memory = plan_memory(config, row, growth, file)
    recipe = [
        *plan_console(row, wires[CONSOLE]),
        Step("chardev", {**wires[MONITOR].props, "id": MONITOR}),
        *plan_devices(config.devices, row, wires, machine=config.name),
        *memory.recipe,
        *plugged,
    ]
    return {
        "name": {"guest": config.name, "debug-threads": True},
        **CONFINED,
        "display": {"type": "none"},
        "no-reboot": True,  # with the kernel's panic=-1, a panic ends the process
        "machine": {
            "type": config.machine,
            **row.options,
            **(row.emulated if config.accel == "tcg" else {}),
            **memory.machine,
        },
        "accels": [{"accel": config.accel}],
        "cpu": {"model": row.cpus[config.accel]},
        "smp": plan_vcpus(config),
        "memory": memory.memory,
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


def plan_console(row: Machine, wire: Wire) -> Recipe:
    """The line that the kernel's console comes out of; see `Machine.driver` for where there is no device to add."""
    chardev = Step("chardev", {**wire.props, "id": CONSOLE})
    if row.driver is None:
        return (chardev,)
    return (chardev, Step("device", {"driver": row.driver, "chardev": CONSOLE}))
