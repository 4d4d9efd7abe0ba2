"""What a kernel of some bytes can do to its machine, and a machine for it: half a second under emulation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from tests.support.tiny_kernel import HALTS, write_kernel

__all__ = [
    "FIRE",
    "PANIC",
    "POWER_OFF",
    "RESET",
    "config_for",
    "counter",
    "counting",
    "does",
    "machine",
    "out8",
    "out16",
    "say",
]

_FIRST_COUNTER = 0x200000  # where the kernel WRITES has the first of its counters


def out8(port: int, value: int) -> bytes:
    """mov edx, port; mov al, value; out dx, al"""
    return b"\xba" + port.to_bytes(4, "little") + b"\xb0" + bytes([value]) + b"\xee"


def out16(port: int, value: int) -> bytes:
    """mov edx, port; mov ax, value; out dx, ax"""
    return b"\xba" + port.to_bytes(4, "little") + b"\x66\xb8" + value.to_bytes(2, "little") + b"\x66\xef"


def say(text: str) -> bytes:
    """Text for the first serial port."""
    return b"".join(out8(0x3F8, byte) for byte in text.encode())


PANIC = out8(0x505, 1)  # pvpanic on the ISA bus (docs/specs/pvpanic in QEMU)
POWER_OFF = out16(0x604, 0x2000)  # ACPI's PM1a control register, where the firmware of a q35 puts it: sleep, type 0
RESET = out8(0xCF9, 6)
FIRE = out8(0x443, 0xF)  # the watchdog ib700: 0 seconds


def does(folder: Path, *code: bytes) -> Path:
    """The path of a kernel that does this, and halts."""
    return write_kernel(folder, b"".join(code).hex() + HALTS)


def config_for(kernel: Path, **changes: Any) -> MachineConfig:
    """A small machine for it."""
    values: dict[str, Any] = {
        "name": "tiny",
        "arch": "x86_64",
        "machine": "q35",
        "accel": "tcg",
        "vcpus": 1,
        "memory": 32 << 20,
        "kernel": kernel,
        "initrd": None,
        "append": "",
    }
    return MachineConfig(**{**values, **changes})


def machine(kernel: Path, *devices: Device, qemu: Path | None = None, **changes: Any) -> QemuVm:
    """The same on this QEMU, or the installed one; created, not started."""
    binary = find_qemu(path=str(qemu) if qemu else None)
    return QemuVm(binary, config_for(kernel, devices=devices, **changes))


async def counter(vm: QemuVm) -> int:
    """The guest's first counter, in a machine that stands still."""
    answer = await vm.monitor.execute("human-monitor-command", {"command-line": f"xp /1dw {_FIRST_COUNTER:#x}"})
    return int(str(answer).split(":")[1])


async def counting(vm: QemuVm) -> int:
    """Let the guest run until it counts; the machine stands still then."""
    async with asyncio.timeout(60):
        while True:
            await vm.pause()
            if (count := await counter(vm)) > 0:
                return count
            await vm.resume()
