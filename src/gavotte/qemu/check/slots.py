"""Places on one bus, taken in QEMU's order: slots and functions of PCI, ports of virtio-serial."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from gavotte.qemu.check.scalars import Misfit, is_on
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.schema.model import DeviceType

__all__ = ["IdeUnits", "PciSlots", "SerialPorts", "pci_address"]

_SLOTS = 32
_FUNCTIONS = 8
_ADDRESS = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,2})(?:\.(?:0[xX])?([0-7]))?")


class _Function(NamedTuple):
    path: str
    multifunction: bool


class PciSlots:
    """The slots of a PCI bus: 32, or one behind a PCI Express port (pci_qdev_realize in QEMU's hw/pci/pci.c)."""

    def __init__(self, slots: int = _SLOTS, taken: Iterable[tuple[int, int]] = (), owner: str = "the bus") -> None:
        self._slots = slots
        self._owner = owner
        # What a machine has at its slot 0 is the host bridge, with one function.
        self._taken = {place: _Function("the machine", place != (0, 0)) for place in taken}

    def take(self, device: DeviceType, props: PropertyMap, path: str) -> str:
        """Gives the problem of this device with its place, empty if there is none."""
        try:
            place = pci_address(props.get("addr", -1)) or self._free()
        except Misfit:
            return ""  # said already, by the device's own check
        if place is None:
            return f"the bus is full: {self._owner} has {_counted(self._slots)}"
        slot, function = place
        if slot >= self._slots:
            return f"slot {slot:x} doesn't exist: {self._owner} has {_counted(self._slots)}"
        if place in self._taken:
            return f"the address {slot:02x}.{function} is taken already, by {self._taken[place].path}"
        first = self._taken.get((slot, 0))
        if function and first and not first.multifunction:
            return f"slot {slot:02x} has one function only; {first.path} needs 'multifunction' for more"
        multifunction = is_on(props.get("multifunction"))
        if not function and not multifunction and (others := [other for other in self._taken if other[0] == slot]):
            return f"slot {slot:02x} has {self._taken[others[0]].path} in it already: this needs 'multifunction'"
        self._taken[place] = _Function(path, multifunction)
        return ""

    def _free(self) -> tuple[int, int] | None:
        used = {slot for slot, _ in self._taken}
        return next(((slot, 0) for slot in range(self._slots) if slot not in used), None)


class SerialPorts:
    """The ports of a virtio-serial device (virtser_port_device_realize in QEMU's hw/char/virtio-serial-bus.c)."""

    def __init__(self, device: DeviceType, props: PropertyMap) -> None:
        known = (device.properties or {}).get("max_ports")
        count = props.get("max_ports", known.default if known else None)
        self._count = count if isinstance(count, int) else 31
        self._taken: dict[int, str] = {}

    def take(self, device: DeviceType, props: PropertyMap, path: str) -> str:
        """Gives the problem of this port with its place, empty if there is none."""
        number = props.get("nr")
        if not isinstance(number, int):
            is_console = "virtconsole" in (device.name, *device.parents)
            first = 0 if is_console and 0 not in self._taken else 1  # port 0 is kept for a console
            number = next((n for n in range(first, self._count) if n not in self._taken), self._count)
        if number in self._taken:
            return f"port {number} is taken already, by {self._taken[number]}"
        if number >= self._count:
            return f"the bus is full: it has {self._count} ports, and port 0 is for a console"
        self._taken[number] = path
        return ""


class IdeUnits:
    """The units of an IDE bus: two, or one behind a port of AHCI (ide_dev_initfn in QEMU's hw/ide/qdev.c)."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: dict[int, str] = {}

    def take(self, device: DeviceType, props: PropertyMap, path: str) -> str:
        """Gives the problem of this disk with its place, empty if there is none. Only a place that is told is taken."""
        unit = props.get("unit", -1)
        if unit == -1:
            if "bus" not in props:
                return ""
            unit = 1 if 0 in self._taken else 0
        if not isinstance(unit, int):
            return ""
        if unit >= self._count:
            return f"unit {unit} doesn't exist: the bus has room for {_counted(self._count, 'unit')}"
        if unit in self._taken:
            return f"unit {unit} is taken already, by {self._taken[unit]}"
        self._taken[unit] = path
        return ""


def pci_address(addr: Json) -> tuple[int, int] | None:
    """Gives slot and function; None where QEMU may choose. Raises Misfit.

    They stand in hex in text, or both in one number: QEMU takes either, whatever it calls the type (set_pci_devfn in
    its hw/core/qdev-properties-system.c).
    """
    if isinstance(addr, str) and (found := _ADDRESS.fullmatch(addr)) and int(found[1], 16) < _SLOTS:
        return int(found[1], 16), int(found[2] or "0")
    if isinstance(addr, int) and not isinstance(addr, bool) and -1 <= addr < _SLOTS * _FUNCTIONS:
        return divmod(addr, _FUNCTIONS) if addr >= 0 else None
    raise Misfit("a PCI address: a slot up to 1f in hex, as in '05' or '05.1',")


def _counted(count: int, noun: str = "slot") -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"
