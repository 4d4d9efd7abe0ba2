"""A machine is checked against the binary that is to run it, before there is a process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine
from gavotte.hypervisor.interface import Disk, MachineConfig, Port
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, plan_machine
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_program, find_qemu
from gavotte.qemu.check import check_document
from gavotte.qemu.machines import MACHINES, Machine
from tests.support.schemas import schema_for


def config(row: Machine = MACHINES[0], **changes: Any) -> MachineConfig:
    values: dict[str, Any] = {
        "name": "box",
        "arch": row.arch,
        "machine": row.type,
        "accel": "tcg",
        "vcpus": 2,
        "memory": 512 << 20,
        "kernel": Path("/images/vmlinux"),
        "initrd": None,
        "append": "",
        "disks": (Disk("root", Path("/images/root"), "serial"),),
        "ports": (Port("agent", "gavotte.agent"),),
    }
    return MachineConfig(**{**values, **changes})


@pytest.mark.parametrize("row", MACHINES, ids=lambda row: f"{row.arch}-{row.type}")
def test_a_planned_machine_is_fine_and_has_the_exact_types_already(row: Machine) -> None:
    program = find_program(f"qemu-system-{row.arch}")
    if program is None:
        pytest.skip(f"no emulator for {row.arch} here: make setup-arches")
    wires = {name: {"backend": "socket", "fd": "7"} for name in (CONSOLE, MONITOR, "agent")}
    document = plan_machine(config(row), wires)
    assert check_document(document, schema_for(program)) == document


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"ports": (Port("agent", "a"), Port("agent", "b"))}, r"chardevs\[3\]\.id"),
        ({"disks": (Disk("d", Path("/x"), "s"), Disk("d", Path("/y"), "t"))}, r"blockdevs\[1\]\.node-name"),
        ({"machine": "pc-q35-1.0"}, r"machine\.type"),
    ],
)
def test_a_machine_that_the_binary_would_not_take_is_not_started(changes: dict[str, Any], culprit: str) -> None:
    with pytest.raises(InvalidMachine, match=culprit):
        asyncio.run(QemuVm.start(find_qemu(), config(**changes)))
