"""Where devices go: places on buses, handed out and taken back. Pure: each change gives a new value.

A planner puts what `allocate` gives into the device's map. Its owner keeps the value in which the place is taken once
the device is there, and else the one from before; when the device is gone for sure, it releases the place. The value is
stored with the machine as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from types import MappingProxyType
from typing import Any, Final

from gavotte.errors import StateError, UsageError
from gavotte.qemu.props import PropertyMap, Recipe, Step
from gavotte.values import dataclass

__all__ = ["Addresses", "Bus", "ccw", "mmio", "pci", "pcie_ports", "root_ports", "scsi", "serial_ports"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Bus:
    """`size` places of one kind, numbered from `first`. For SCSI, `luns` is how many of them share a target."""

    kind: str
    name: str
    first: int
    size: int
    luns: int = 1

    def props(self, place: int) -> dict[str, str | int]:
        """Gives what puts a device there, in QEMU's words."""
        return _PROPS[self.kind](self, place)

    def find(self, props: PropertyMap) -> int | None:
        """Gives the place that a device's properties name, in any of QEMU's notations; None for none of this bus."""
        place = _FINDERS[self.kind](self, props)
        return place if place is not None and place in range(self.first, self.first + self.size) else None

    def check(self) -> None:
        """Raises UsageError for a bus that QEMU doesn't have."""
        if self.kind not in _PROPS:
            raise UsageError(f"no kind of bus is called {self.kind!r}", path="kind", hint=f"one of {', '.join(_PROPS)}")
        if not self.name:
            raise UsageError("a bus needs a name", path="name")
        if not (self.first >= 0 and self.size >= 1 and self.first + self.size <= _ENDS[self.kind] * self.luns):
            raise UsageError(
                f"places {self.first} to {self.first + self.size - 1} are not all on a bus of kind {self.kind}",
                path="size",
            )
        if not 1 <= self.luns <= (_MAX_LUNS if self.kind == "scsi" else 1):
            raise UsageError(f"{self.luns} is no number of LUNs for a bus of kind {self.kind}", path="luns")


_MAX_LUNS: Final = 16384  # virtio-scsi: 14 bits (VIRTIO_SCSI_MAX_LUN in QEMU)

_PROPS: Final[Mapping[str, Callable[[Bus, int], dict[str, str | int]]]] = {
    # A port has one slot. QEMU reads `addr` as hexadecimal; a function would follow a dot.
    "pcie": lambda bus, place: {"bus": f"{bus.name}{place}", "addr": "00"},
    "pci": lambda bus, place: {"bus": bus.name, "addr": f"{place:02x}"},
    # cssid.ssid.devno, as the guest shows it: 65536 devices to each of four subchannel sets.
    "ccw": lambda bus, place: {"devno": f"{bus.name}.{place >> 16:x}.{place & 0xFFFF:04x}"},
    "scsi": lambda bus, place: {"bus": bus.name, "scsi-id": place // bus.luns, "lun": place % bus.luns},
    "mmio": lambda bus, place: {"bus": f"{bus.name}{place}"},
    "virtio-serial": lambda bus, place: {"bus": bus.name, "nr": place},
}


def _find_numbered(bus: Bus, props: PropertyMap) -> int | None:
    found = re.fullmatch(re.escape(bus.name) + "([0-9]{1,5})", str(props.get("bus")))
    return int(found[1]) if found else None


def _find_slot(bus: Bus, props: PropertyMap) -> int | None:
    from gavotte.qemu.check.scalars import Misfit
    from gavotte.qemu.check.slots import pci_address  # only who names an address himself pays for the checker

    try:
        address = pci_address(props.get("addr", -1)) if props.get("bus") == bus.name else None
    except Misfit:
        return None
    return address[0] if address else None


def _find_devno(bus: Bus, props: PropertyMap) -> int | None:
    found = re.fullmatch(r"([0-9a-fA-F]+)\.([0-3])\.([0-9a-fA-F]{1,4})", str(props.get("devno")))
    ours = found and int(found[1], 16) == int(bus.name, 16)
    return int(found[2]) << 16 | int(found[3], 16) if found and ours else None


def _find_unit(bus: Bus, props: PropertyMap) -> int | None:
    match props:
        case {"bus": bus.name, "scsi-id": int(target), "lun": int(lun)} if lun < bus.luns:
            return target * bus.luns + lun
    return None


def _find_port(bus: Bus, props: PropertyMap) -> int | None:
    match props:
        case {"bus": bus.name, "nr": int(number)}:
            return number
    return None


_FINDERS: Final[Mapping[str, Callable[[Bus, PropertyMap], int | None]]] = {
    "pcie": _find_numbered,
    "pci": _find_slot,
    "ccw": _find_devno,
    "scsi": _find_unit,
    "mmio": _find_numbered,
    "virtio-serial": _find_port,
}

# 511 ports are what the queues of a virtio-serial device suffice for (hw/char/virtio-serial-bus.c in QEMU)
_ENDS: Final = {"pcie": 4096, "pci": 32, "ccw": 4 << 16, "scsi": 256, "mmio": 4096, "virtio-serial": 511}


def pcie_ports(count: int, *, name: str = "rp", first: int = 0) -> Bus:
    """Gives the slots of the ports `rp0`, `rp1`, …, one each; `root_ports` makes the ports themselves."""
    return _checked(Bus("pcie", name, first, count))


def pci(name: str, *, first: int = 1, last: int = 31) -> Bus:
    """Gives the slots of a conventional PCI bus, such as that of a pci-bridge, whose slot 0 is its own."""
    return _checked(Bus("pci", name, first, last - first + 1))


def ccw(*, cssid: int = 0xFE, first: int = 0, size: int = 4 << 16) -> Bus:
    """Gives the device numbers of s390x's channel subsystem; 0xfe is the one of virtio devices."""
    return _checked(Bus("ccw", f"{cssid:x}", first, size))


def scsi(name: str, *, first: int = 0, targets: int = 256, luns: int = 256) -> Bus:
    """Gives the units of a SCSI controller's bus: the LUNs of target 0, from `first` on, then those of target 1, …"""
    return _checked(Bus("scsi", name, first, targets * luns - first, luns))


def mmio(count: int, *, name: str = "virtio-mmio-bus.", first: int = 0) -> Bus:
    """Gives virtio-mmio transports, one device each. A machine has a fixed number of them."""
    return _checked(Bus("mmio", name, first, count))


def serial_ports(name: str, *, first: int = 1, last: int = 30) -> Bus:
    """Gives the ports of a virtio-serial device's bus. Port 0 is kept for a console (virtio 1.2, section 5.3)."""
    return _checked(Bus("virtio-serial", name, first, last - first + 1))


def root_ports(count: int, *, name: str = "rp", bus: str = "pcie.0", slot: int = 1) -> Recipe:
    """Gives the steps that make the ports of `pcie_ports`, from that slot of `bus` on, eight functions to each slot.

    Raises UsageError when the bus has no room for them (its last slot, 0x1f, is often the chipset's).
    """
    last = slot + (count - 1) // 8
    if not (slot >= 0 and count >= 0 and last < 0x1F):
        raise UsageError(f"{count} root ports from slot {slot:#x} on don't fit on a bus", path="count")
    return tuple(
        Step(
            "device",
            {
                "driver": "pcie-root-port",
                "id": f"{name}{number}",
                "bus": bus,
                "addr": f"{slot + number // 8:02x}.{number % 8}",
                "multifunction": True,
                "chassis": number + 1,  # chassis and slot together are what a guest knows a port by
                "slot": number + 1,
            },
        )
        for number in range(count)
    )


@dataclass(frozen=True, slots=True)
class Addresses:
    """Buses, and who has which of their places. `taken` is read-only: from a device's id to (bus name, place)."""

    buses: tuple[Bus, ...] = ()
    taken: Mapping[str, tuple[str, int]] = field(default_factory=lambda: MappingProxyType({}))

    def with_bus(self, bus: Bus) -> Addresses:
        """Gives the addresses with one more bus. Raises UsageError if there is one of that name."""
        if any(other.name == bus.name for other in self.buses):
            raise UsageError(f"there is a bus {bus.name!r} already", path="name")
        return replace(self, buses=(*self.buses, bus))

    def without_bus(self, name: str) -> Addresses:
        """Gives the addresses without that bus. Raises UsageError for another name, StateError if it isn't empty."""
        bus = self._bus(name)
        for owner, (on, _place) in self.taken.items():
            if on == name:
                raise StateError(f"{owner!r} is on bus {name!r}", hint="release what is on a bus first")
        return replace(self, buses=tuple(other for other in self.buses if other is not bus))

    def allocate(self, owner: str, kind: str) -> tuple[Addresses, PropertyMap]:
        """Gives the lowest free place on the first bus of that kind or name that has one, and what says so to QEMU.

        Raises UsageError when there is no such bus or `owner` has a place, StateError when all places are taken.
        """
        buses = [bus for bus in self.buses if kind in (bus.kind, bus.name)]
        if not buses:
            raise UsageError(f"there is no bus of the kind or name {kind!r}", path="bus")
        for bus in buses:
            for place in self._free(bus):
                return self._with(owner, bus, place), bus.props(place)
        size = sum(bus.size for bus in buses)
        raise StateError(f"all {size} places for {kind} are taken", hint="remove a device, or add a bus for more")

    def reserve(self, owner: str, bus: str, place: int) -> Addresses:
        """Takes a certain place, for a device whose address somebody else chose.

        Raises UsageError when there is none such, StateError when somebody has it.
        """
        found = self._bus(bus)
        if place not in range(found.first, found.first + found.size):
            raise UsageError(f"bus {bus!r} has no place {place}", path="place")
        for other, at in self.taken.items():
            if at == (bus, place):
                raise StateError(f"place {place} of bus {bus!r} is taken by {other!r}", hint="choose another")
        return self._with(owner, found, place)

    def claim(self, owner: str, props: PropertyMap) -> Addresses:
        """Takes the place that a device's own properties name, if it is on one of these buses; else changes nothing.

        Raises StateError when somebody has it.
        """
        for bus in self.buses:
            place = bus.find(props)
            if place is not None:
                return self.reserve(owner, bus.name, place)
        return self

    def release(self, owner: str) -> Addresses:
        """Gives the addresses with that place free again. Raises UsageError if `owner` has none."""
        if owner not in self.taken:
            raise UsageError(f"{owner!r} has no place", path="owner")
        return replace(self, taken=_read_only({name: at for name, at in self.taken.items() if name != owner}))

    def props(self, owner: str) -> PropertyMap:
        """Gives what `allocate` gave. Raises UsageError if `owner` has no place."""
        if owner not in self.taken:
            raise UsageError(f"{owner!r} has no place", path="owner")
        bus, place = self.taken[owner]
        return self._bus(bus).props(place)

    def to_json(self) -> dict[str, Any]:
        """Gives what `from_json` reads, made of dict, list and scalars."""
        return {
            "version": _VERSION,
            "buses": [
                {"kind": bus.kind, "name": bus.name, "first": bus.first, "size": bus.size, "luns": bus.luns}
                for bus in self.buses
            ],
            "taken": {owner: [bus, place] for owner, (bus, place) in self.taken.items()},
        }

    @classmethod
    def from_json(cls, value: object) -> Addresses:
        """Reads what `to_json` gave. Raises UsageError, with the path of the culprit, for anything else."""
        match value:
            case {"version": 1, "buses": list(buses), "taken": dict(taken), **rest} if not rest:
                addresses = cls()
                for index, bus in enumerate(buses):
                    addresses = addresses.with_bus(_bus_from_json(bus, f"buses[{index}]"))
                for owner, at in taken.items():
                    addresses = addresses._reserved(owner, at)
                return addresses
        raise UsageError(
            "not a stored state of addresses", path="addresses", hint=f"it has version {_VERSION}, buses and taken"
        )

    def _reserved(self, owner: object, at: object) -> Addresses:
        path = f"taken.{owner}"
        match owner, at:
            case str(), [str(bus), int(place)] if not isinstance(place, bool):
                try:
                    return self.reserve(owner, bus, place)
                except (UsageError, StateError) as error:
                    raise UsageError(error.message, path=path) from error
        raise UsageError(f"{at!r} is not a bus and a place", path=path)

    def _bus(self, name: str) -> Bus:
        found = next((bus for bus in self.buses if bus.name == name), None)
        if found is None:
            raise UsageError(f"there is no bus {name!r}", path="bus")
        return found

    def _free(self, bus: Bus) -> Iterator[int]:
        taken = {place for name, place in self.taken.values() if name == bus.name}
        return (place for place in range(bus.first, bus.first + bus.size) if place not in taken)

    def _with(self, owner: str, bus: Bus, place: int) -> Addresses:
        if owner in self.taken:
            raise UsageError(f"{owner!r} has a place already", path="owner")
        return replace(self, taken=_read_only({**self.taken, owner: (bus.name, place)}))


def _read_only(taken: dict[str, tuple[str, int]]) -> Mapping[str, tuple[str, int]]:
    return MappingProxyType(taken)


def _checked(bus: Bus) -> Bus:
    bus.check()
    return bus


def _bus_from_json(value: object, path: str) -> Bus:
    match value:
        case {"kind": str(kind), "name": str(name), "first": int(first), "size": int(size), "luns": int(luns), **rest}:
            if not rest and not any(isinstance(number, bool) for number in (first, size, luns)):
                try:
                    return _checked(Bus(kind, name, first, size, luns))
                except UsageError as error:
                    raise UsageError(error.problem, path=f"{path}.{error.path}", hint=error.hint) from error
    raise UsageError("not a bus", path=path)
