"""Machine types as rows of data: what has to be said differently for each."""

from __future__ import annotations

from dataclasses import dataclass, field

from gavotte.qemu.props import PropertyMap

__all__ = ["MACHINES", "Machine", "find_machine"]


@dataclass(frozen=True)
class Machine:
    """One machine type. `serial` is the kernel's name of the console, `driver` QEMU's of the device behind it."""

    arch: str
    options: PropertyMap = field(default_factory=dict)
    virtio: str = "pci"
    serial: str = "ttyS0"
    driver: str = "isa-serial"


# What a sandbox has no use for costs start-up time under emulation: each device is probed by firmware and kernel.
_PC = {"usb": False, "vmport": False, "smbus": False, "hpet": False}

MACHINES = {
    "q35": Machine("x86_64", {**_PC, "sata": False}),
    "pc": Machine("x86_64", _PC),
    # Debian's kernel has no virtio-mmio device tables there: without PCI it finds no virtio device at all
    "microvm": Machine("x86_64", {"pcie": True, "isa-serial": False}),
}


def find_machine(type: str) -> Machine | None:
    """The row for a QEMU machine type, versioned ones (`pc-q35-7.2`, `pc-i440fx-9.0`) included."""
    if type.startswith("pc-q35-"):
        return MACHINES["q35"]
    if type.startswith("pc-i440fx-"):
        return MACHINES["pc"]
    return MACHINES.get(type)
