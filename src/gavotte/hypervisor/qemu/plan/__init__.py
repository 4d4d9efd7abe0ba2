"""From devices by purpose to steps in QEMU's words: pure functions, one file for each family.

Knows: QEMU's drivers and their properties.
Doesn't know: processes, sockets, or whether the machine runs already.
"""

from __future__ import annotations

from gavotte.hypervisor.qemu.plan.device import plan_device
from gavotte.hypervisor.qemu.plan.machine import CONSOLE, MONITOR, machine_row, plan_machine
from gavotte.hypervisor.qemu.plan.memory import MEMORY, growth_of
from gavotte.hypervisor.qemu.plan.seat import PORTS, SCSI, SLOT, plan_controller, seat_of
from gavotte.hypervisor.qemu.plan.tune import tune
from gavotte.hypervisor.qemu.plan.wire import Wire

__all__ = [
    "CONSOLE",
    "MEMORY",
    "MONITOR",
    "PORTS",
    "SCSI",
    "SLOT",
    "Wire",
    "growth_of",
    "machine_row",
    "plan_controller",
    "plan_device",
    "plan_machine",
    "seat_of",
    "tune",
]
