"""The buses of a machine: which there are, what goes on them, and what is free.

QEMU makes devices in the order of the file, so a bus has to come before what sits on it. What isn't known here (a
machine type without a row, a device whose bus has no name in these tables) is left to QEMU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.machine import machine_of
from gavotte.qemu.check.roots import Roots, find_roots
from gavotte.qemu.check.scalars import is_on
from gavotte.qemu.check.slots import IdeUnits, PciSlots, SerialPorts
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.schema.model import DeviceType

__all__ = ["check_buses", "check_hot_bus"]

# The kind of bus that a device sits on, by its type or an ancestor of it.
_SITS_ON: Final = {
    "ccw-device": "ccw",
    "floppy": "floppy",
    "hda-codec": "hda",
    "ide-device": "ide",
    "ipack-device": "ipack",
    "isa-device": "isa",
    "nvme-ns": "nvme",
    "pci-device": "pci",
    "scsi-device": "scsi",
    "sd-card": "sd",
    "usb-device": "usb",
    "virtio-device": "virtio",
    "virtio-serial-port": "virtio-serial",
}

# The kind of bus that a device brings, by the beginning of its name. Bridges are told by their ancestor.
_BRINGS: Final = re.compile(
    r"(?P<scsi>virtio-scsi|lsi53c|megasas|mptsas|pvscsi|am53c974|dc390|usb-bot|usb-uas|spapr-vscsi|vhost-scsi|vhost-user-scsi)"
    r"|(?P<virtio_serial>virtio-serial)"
    r"|(?P<usb>qemu-xhci|nec-usb-xhci|usb-ehci|.*-usb-(?:ehci|uhci)\d*$|pci-ohci|.*ohci)"
    r"|(?P<ide>ich9-ahci|ahci|piix[34]-ide|cmd646-ide|via-ide|sii3112)"
    r"|(?P<hda>intel-hda|ich9-intel-hda)"
    r"|(?P<floppy>isa-fdc)"
    r"|(?P<ipack>tpci200)"
    r"|(?P<nvme>nvme$)"
    r"|(?P<sd>sdhci-pci)"
)

# How many buses a device brings, where it isn't one, by its type's name.
_COUNTS: Final = {
    "ahci": 6,
    "ich9-ahci": 6,
    **dict.fromkeys(("cmd646-ide", "piix3-ide", "piix4-ide", "sii3112", "via-ide"), 2),
}
_UNKNOWN_COUNT: Final = 8

# What QEMU calls a bus, where that isn't the device's id with a dot and a number.
_NAMED: Final = {"nvme": "{id}", "sd": "sd-bus"}

# The highest numbers of what sits on a SCSI bus, by how the name of the device that brings it begins (`SCSIBusInfo` in
# QEMU's hw/scsi/). Those of other devices aren't known.
_HIGHEST: Final[Mapping[str, Mapping[str, int]]] = {
    "am53c974": {"channel": 0, "scsi-id": 7},
    "lsi53c": {"channel": 0, "scsi-id": 7, "lun": 0},
    "megasas": {"channel": 0, "scsi-id": 64},
    "pvscsi": {"channel": 0, "scsi-id": 64, "lun": 0},
    "virtio-scsi": {"channel": 0, "scsi-id": 255, "lun": 16383},
}

# Where two devices can't sit in the same place of one bus; what is in brackets may be left out.
_PLACES: Final = {"scsi": ("scsi-id", "lun"), "usb": ("port",)}

# The bus of all that has none, which is there in every machine.
_EVERYWHERE: Final = {"main-system-bus": ""}

# How QEMU names a bus, before a dot and a number, where the device that brings it has no id: as its type, in lower
# case. The kinds of other buses aren't known, nor which devices bring them.
_UNNAMED: Final = {
    "floppy-bus": "floppy",
    "hda": "hda",
    "ide": "ide",
    "industrypack": "ipack",
    "pci": "pci",
    "scsi": "scsi",
    "usb-bus": "usb",
    "virtio-serial-bus": "virtio-serial",
}


@dataclass(slots=True)
class _Bus:
    kind: str
    path: str
    slots: PciSlots | SerialPorts | IdeUnits | None = None
    places: dict[tuple[str, ...], str] = field(default_factory=dict)
    highest: Mapping[str, int] = field(default_factory=dict)


def check_hot_bus(props: PropertyMap, path: str, inspection: Inspection) -> None:
    """Reports a device that is plugged into the root of PCI Express, which takes none while the machine runs."""
    if props.get("bus") == "pcie.0":
        inspection.report(
            inside(path, "bus"),
            "pcie.0 takes no device while the machine runs",
            hint="plug it into a pcie-root-port that is there from the start",
        )


def check_buses(document: Mapping[str, Json], inspection: Inspection) -> None:
    """Reports buses that aren't there, that are of another kind, or that have no room."""
    devices = document.get("devices")
    if not isinstance(devices, Sequence):
        return
    topology = _Topology(document, devices, inspection)
    topology.lenient |= bool(document.get("options"))
    for index, device in enumerate(devices):
        if isinstance(device, Mapping):
            topology.place(device, index)


class _Topology:
    """The buses as they are after each device. `lenient` says that there may be some that can't be seen."""

    def __init__(self, document: Mapping[str, Json], devices: Sequence[Json], inspection: Inspection) -> None:
        self._inspection = inspection
        found, props = machine_of(document, inspection), document.get("machine")
        name = found.name if found else ""
        roots = find_roots(name, inspection.schema.target, props if isinstance(props, Mapping) else {})
        self.lenient = roots is None
        self._roots = roots or Roots()
        self._buses = {name: _Bus(kind, "machine") for name, kind in {**_EVERYWHERE, **self._roots.buses}.items()}
        for name, bus in self._buses.items():
            if bus.kind == "ide":
                bus.slots = IdeUnits(self._roots.ide_units)
            if bus.kind == "pci":
                bus.slots = PciSlots(taken=self._roots.taken if name == self._roots.first_pci else ())
        self._indexes = {name: i for i, device in enumerate(devices) for name in _names(device)}
        self._at = 0
        self._unnamed: set[str] = set()  # the kinds of buses that devices without an id may have brought
        self._has_expander = False  # QEMU then looks for a bus there first
        self._chassis: dict[tuple[str, str], str] = {}

    def place(self, props: PropertyMap, index: int) -> None:
        """Puts one device of the file where it asks to be, and adds the bus that it brings."""
        self._at, path = index, inside("devices", index)
        driver = props.get("driver")
        device = self._inspection.schema.device(driver) if isinstance(driver, str) else None
        if device is None:
            return
        kind = next((kind for above, kind in _SITS_ON.items() if above in (device.name, *device.parents)), "")
        bus = self._find_bus(device, kind, props, path)
        if bus and bus.kind == kind:
            self._occupy(bus, device, props, path)
        if "pcie-slot" in device.parents:
            self._check_chassis(device, props, path)
        self._add_bus(device, props, path)

    def _find_bus(self, device: DeviceType, kind: str, props: PropertyMap, path: str) -> _Bus | None:
        name = props.get("bus")
        if name is None:
            return self._default_bus(device, kind, path)
        if not isinstance(name, str) or "/" in name:
            return None
        bus = self._buses.get(name)
        if bus is None:
            self._report_missing(name, kind, path)
        elif kind and bus.kind and bus.kind != kind:
            what = f"{device.name} needs a {kind} bus; {name} is a {bus.kind} bus"
            self._inspection.report(inside(path, "bus"), what)
        return bus

    def _default_bus(self, device: DeviceType, kind: str, path: str) -> _Bus | None:
        if kind == "pci" and self._roots.first_pci:
            return None if self._has_expander else self._buses[self._roots.first_pci]
        if kind and not self.lenient and not any(bus.kind == kind for bus in self._buses.values()):
            self._inspection.report(path, f"{device.name} needs a {kind} bus, and there is none before it")
        return None

    def _report_missing(self, name: str, kind: str, path: str) -> None:
        if self.lenient or "device" in self._inspection.names.open:
            return
        owner = name if name in self._indexes else name.rpartition(".")[0]
        if (later := self._indexes.get(owner, -1)) >= self._at:
            where = inside("devices", later)
            what = f"the bus {shown(name)} comes later, from {where}: QEMU goes by the order"
            self._inspection.report(inside(path, "bus"), what)
        elif not self._may_be_unnamed(name):
            fitting = [other for other, bus in self._buses.items() if bus.kind == kind or not kind]
            self._inspection.report_unknown(inside(path, "bus"), f"there is no bus {shown(name)}", name, fitting)

    def _may_be_unnamed(self, name: str) -> bool:
        """Whether it reads as QEMU's name for a bus of a device without an id, and there is such a device before."""
        stem, _, number = name.rpartition(".")
        if not number.isdecimal() or stem not in map(str.lower, self._inspection.schema.buses):
            return False
        return _UNNAMED.get(stem, "") in self._unnamed

    def _occupy(self, bus: _Bus, device: DeviceType, props: PropertyMap, path: str) -> None:
        problem = bus.slots.take(device, props, path) if bus.slots else ""
        for key, highest in bus.highest.items():
            if isinstance(number := props.get(key), int) and number > highest:
                self._inspection.report(inside(path, key), f"the bus goes up to {highest}, not {number}")
        keys = _PLACES.get(bus.kind, ())
        if keys and all(key in props for key in keys):
            place = tuple(str(props[key]) for key in (*keys, "channel") if key in props)
            if first := bus.places.get(place):
                problem = f"its place on the bus is taken already, by {first}"
            bus.places.setdefault(place, path)
        if problem:
            self._inspection.report(path, problem)

    def _check_chassis(self, device: DeviceType, props: PropertyMap, path: str) -> None:
        key = str(props.get("chassis", 0)), str(props.get("slot", 0))
        if first := self._chassis.get(key):
            self._inspection.report(
                path,
                f"chassis {key[0]}, slot {key[1]} is taken already, by {first}",
                hint="give each port a 'chassis' of its own",
            )
        self._chassis.setdefault(key, path)

    def _add_bus(self, device: DeviceType, props: PropertyMap, path: str) -> None:
        name = props.get("id")
        if "base-pci-bridge" in device.parents or device.name.startswith("pxb"):
            self._has_expander |= device.name.startswith("pxb")
            if isinstance(name, str) and name in (
                device.properties or ()
            ):  # QEMU makes the bus a property of the device, by the id
                self._inspection.report(inside(path, "id"), f"{device.name} has a property of this name already")
            slots = 1 if "pcie-slot" in device.parents else 32
            taken = ((0, 0),) if is_on(props.get("shpc")) else ()
            buses = [_Bus("pci", path, PciSlots(slots, taken, device.name))]
            names = [name] if isinstance(name, str) else []
        elif device.name == "spapr-pci-host-bridge":
            buses = [_Bus("pci", path, PciSlots())]
            names = [f"{name}.0"] if isinstance(name, str) else []
        else:
            kind = _brought_kind(device)
            count = _COUNTS.get(device.name, 1 if kind else _UNKNOWN_COUNT)
            buses = [_brought(kind, device, props, path) for _ in range(count)]
            names = [f"{name}.{n}" for n in range(count)] if isinstance(name, str) else [f"without a name, {path}"]
            names = [_NAMED[kind].format(id=name)] if kind in _NAMED else names
        if not isinstance(name, str):
            self._unnamed.add(buses[0].kind)
        for each, bus in zip(names, buses, strict=False):
            self._buses.setdefault(each, bus)


def _names(device: Json) -> list[str]:
    name = device.get("id") if isinstance(device, Mapping) else None
    return [name] if isinstance(name, str) else []


def _brought_kind(device: DeviceType) -> str:
    """Gives the kind of bus that a device brings; empty where it isn't known, nor whether it brings any."""
    found = _BRINGS.match(device.name)
    return (found.lastgroup or "").replace("_", "-") if found else ""


def _brought(kind: str, device: DeviceType, props: PropertyMap, path: str) -> _Bus:
    match kind:
        case "virtio-serial":
            return _Bus(kind, path, SerialPorts(device, props))
        case "ide":
            return _Bus(kind, path, IdeUnits(1 if device.name.endswith("ahci") else 2))
    return _Bus(kind, path, highest=next((row for stem, row in _HIGHEST.items() if device.name.startswith(stem)), {}))
