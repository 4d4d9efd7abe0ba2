"""What a device sits on: a slot of its own, a controller that it shares with others, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from gavotte.hypervisor.devices import Console, Device, Disk, Port, Raw, VmGenId, Watchdog
from gavotte.qemu.buses import Bus, scsi, serial_ports
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import PropertyMap, Recipe, Step

__all__ = ["BROUGHT", "PORTS", "SCSI", "SLOT", "UNSEATED", "Seat", "is_addressed", "plan_controller", "seat_of"]

Seat: TypeAlias = Literal["slot", "ports", "scsi", ""]

SLOT: Final = "slot"  # a PCI slot, or a device number of s390x
PORTS: Final = "ports"  # also the id of the virtio-serial controller, whose bus is `ports.0`
SCSI: Final = "scsi"  # likewise of the virtio-scsi controller
UNSEATED: Final = ""

# The buses that controllers bring.
BROUGHT: Final[Mapping[Seat, Bus]] = {SCSI: scsi(f"{SCSI}.0", first=1, targets=1), PORTS: serial_ports(f"{PORTS}.0")}

_ADDRESSED: Final = frozenset({"bus", "addr", "devno"})


def seat_of(device: Device, row: Machine) -> Seat:
    """Where `device` sits on a machine of that row. What is UNSEATED needs no place."""
    match device:
        case Port() | Console():
            return PORTS
        case Disk(bus="virtio-scsi"):
            return SCSI
        case VmGenId():
            return UNSEATED
        case Watchdog() if row.virtio == "ccw":
            return UNSEATED
        case Raw() if is_addressed(device):
            return UNSEATED
    return SLOT


def is_addressed(device: Device) -> bool:
    """Whether the device's own map says where it sits."""
    return isinstance(device, Raw) and not _ADDRESSED.isdisjoint(device.props)


def plan_controller(seat: Seat, row: Machine, place: PropertyMap) -> Recipe:
    """The controller whose bus those devices share."""
    model = "virtio-serial" if seat == PORTS else "virtio-scsi"
    return (Step("device", {"driver": f"{model}-{row.virtio}", "id": seat, **place}),)
