"""A machine is checked against the binary that is to run it, before there is a process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine
from gavotte.hypervisor.devices import Disk, Port, Rng
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, Wire, plan_machine
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
        "devices": (
            Rng("entropy"),
            Port("agent", "gavotte.agent"),
            Disk("root", Path("/images/root"), "serial", read_only=True),
        ),
    }
    return MachineConfig(**{**values, **changes})


@pytest.mark.parametrize("row", MACHINES, ids=lambda row: f"{row.arch}-{row.type}")
def test_a_planned_machine_is_fine_and_has_the_exact_types_already(row: Machine) -> None:
    program = find_program(f"qemu-system-{row.arch}")
    if program is None:
        pytest.skip(f"no emulator for {row.arch} here: make setup-arches")
    wires = {name: Wire({"backend": "socket", "fd": "7"}) for name in (CONSOLE, MONITOR, "agent")}
    document = plan_machine(config(row), wires)
    assert check_document(document, schema_for(program)) == document


async def started(config: MachineConfig) -> None:
    await QemuVm(find_qemu(), config).start()


FILE = Path(__file__)  # any file that is there


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"devices": (Port("agent", "a"), Port("agent", "b"))}, r"chardevs\[3\]\.id"),
        ({"devices": (Disk("d", FILE, "s"), Disk("d", FILE, "t"))}, r"blockdevs\[1\]\.node-name"),
        ({"devices": (), "machine": "pc-q35-1.0"}, r"machine\.type"),
    ],
)
def test_a_machine_that_the_binary_would_not_take_is_not_started(changes: dict[str, Any], culprit: str) -> None:
    with pytest.raises(InvalidMachine, match=culprit):
        asyncio.run(started(config(**changes)))
