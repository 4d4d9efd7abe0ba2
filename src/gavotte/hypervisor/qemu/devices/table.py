"""Which devices were plugged, where each sits, and the steps that made it: a value, so a failed plug leaves the old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from gavotte.errors import StateError, StateTooNew, Unsupported, UsageError
from gavotte.hypervisor.devices import Device, Latent, Raw
from gavotte.hypervisor.interface import Ability, MachineConfig
from gavotte.hypervisor.qemu.plan import PORTS, SCSI, SLOT, Wire, plan_controller, plan_device, seat_of
from gavotte.hypervisor.qemu.plan.seat import BROUGHT, Seat, is_addressed
from gavotte.hypervisor.serialization import from_json, to_json
from gavotte.qemu.buses import Addresses, Bus, ccw, pci, pcie_ports, root_ports
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import PropertyMap, Recipe
from gavotte.values import dataclass

if TYPE_CHECKING:
    from gavotte.qemu.schema import Schema

__all__ = ["Placed", "Table"]

_VERSION = 1
_LAST_SLOT = 0x1E  # of pcie.0: 0x1f is the chipset's
_MOST_SLOTS = {"pcie": 120, "pci": 20, "ccw": 0x1000}  # what is left is for the machine's own devices
_FIRST_DEVNO = 0x1000  # far from what QEMU numbers itself, from 0 on

# The seat that a driver wants, by an ancestor of it; the slots of a machine are for one kind of them.
_SEATS: Final[Mapping[str, Seat]] = {
    "scsi-device": SCSI,
    "virtio-serial-port": PORTS,
    "pci-device": SLOT,
    "ccw-device": SLOT,
}
_IN_SLOTS: Final[Mapping[str, str]] = {"pcie": "pci-device", "pci": "pci-device", "ccw": "ccw-device"}


@dataclass(frozen=True)
class Placed:
    """A plugged device with the steps that made it; none before the machine is started."""

    device: Device
    recipe: Recipe = ()


@dataclass(frozen=True)
class Table:
    """The plugged devices by id, and the places for them. Never changed: each change gives another.

    `controllers` are what was plugged because a device needed it, by their ids, with the steps that made them. They
    stay, each in a slot, for the next device of that kind.
    """

    addresses: Addresses
    placed: Mapping[str, Placed] = field(default_factory=lambda: MappingProxyType({}))
    controllers: Mapping[str, Recipe] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def for_machine(cls, config: MachineConfig, row: Machine) -> Table:
        """Empty, with the places that this machine has.

        Raises Unsupported when it has slots, and its machine type none; UsageError for more than it can have.
        """
        addresses = Addresses()
        if config.slots:
            addresses = addresses.with_bus(_slots(config, row))
        for device in config.devices:
            seat = seat_of(device, row)
            if seat in BROUGHT:
                if not _has(addresses, BROUGHT[seat]):
                    addresses = addresses.with_bus(BROUGHT[seat])
                if device.id not in addresses.taken:  # given twice: the check of the machine says so
                    addresses, _ = addresses.allocate(device.id, BROUGHT[seat].name)
        return cls(addresses)

    @property
    def devices(self) -> Mapping[str, Device]:
        """The plugged ones, without those that only keep a place."""
        found = {id: placed.device for id, placed in self.placed.items() if not isinstance(placed.device, Latent)}
        return MappingProxyType(found)

    def fixed(self) -> Recipe:
        """The steps that make the places themselves, such as root ports; first among the machine's devices."""
        ports = next((bus for bus in self.addresses.buses if bus.kind == "pcie"), None)
        if ports is None:
            return ()
        return root_ports(ports.size, name=ports.name, slot=_LAST_SLOT - (ports.size - 1) // 8)

    def recipe(self) -> Recipe:
        """All steps of all plugged devices, in the order in which they were plugged."""
        recipes = (*self.controllers.values(), *(placed.recipe for placed in self.placed.values()))
        return tuple(chain.from_iterable(recipes))

    def place(self, device: Device, row: Machine, schema: Schema) -> tuple[Table, PropertyMap]:
        """The table with a place taken for `device`, and what says so to QEMU. It isn't `placed` yet.

        A controller that it needs first and that isn't there is among the table's `controllers` then, without steps.
        A driver that sits on none of our buses gets no place; one whose own map names a place keeps it.
        Raises StateError when there is no place left, Unsupported and UsageError when there never is one.
        """
        if isinstance(device, Raw) and is_addressed(device):
            return replace(self, addresses=self.addresses.claim(device.id, device.props)), {}
        seat = _seat(device, row, schema)
        if not seat:
            return self, {}
        if seat == SLOT:
            return self._allocate(device.id, row.hotplug)
        bus = BROUGHT[seat]
        table = self if _has(self.addresses, bus) else self._with_controller(seat, bus, row)
        return table._allocate(device.id, bus.name)

    def _with_controller(self, seat: Literal["ports", "scsi"], bus: Bus, row: Machine) -> Table:
        table, props = self._allocate(seat, row.hotplug)
        return replace(
            table,
            addresses=table.addresses.with_bus(bus),
            controllers=MappingProxyType({**table.controllers, seat: plan_controller(seat, row, props)}),
        )

    def _allocate(self, owner: str, bus: str) -> tuple[Table, PropertyMap]:
        if not bus:
            raise Unsupported(Ability.PLUG.value, "this machine type has no place for devices that come and go")
        if not any(bus in (each.kind, each.name) for each in self.addresses.buses):
            raise StateError(f"{owner!r} needs a slot, and this machine has none", hint="make a machine with slots")
        try:
            addresses, props = self.addresses.allocate(owner, bus)
        except StateError as error:
            what = "the machine's slots" if bus in _IN_SLOTS else f"the places of {bus}"
            hint = "unplug a device, or make a machine with more slots"
            raise StateError(f"{owner!r} has no place: all of {what} are taken", hint=hint) from error
        return replace(self, addresses=addresses), props

    def with_device(self, device: Device, recipe: Recipe) -> Table:
        """The table with that device made by `recipe`."""
        return replace(self, placed=MappingProxyType({**self.placed, device.id: Placed(device, recipe)}))

    def without(self, id: str) -> Table:
        """The table without that device, its place free again."""
        addresses = self.addresses.release(id) if id in self.addresses.taken else self.addresses
        left = {name: placed for name, placed in self.placed.items() if name != id}
        return replace(self, addresses=addresses, placed=MappingProxyType(left))

    def planned(self, row: Machine, wires: Mapping[str, Wire], machine: str) -> Table:
        """The table with the steps of all its devices, for a machine of that name that is about to be started."""
        table = self
        for id, placed in self.placed.items():
            place = {} if is_addressed(placed.device) else self.place_of(id)
            recipe = plan_device(placed.device, row, place, wires.get(id), machine=machine)
            table = table.with_device(placed.device, recipe)
        return table

    def place_of(self, id: str) -> PropertyMap:
        """What says to QEMU where that device sits; empty for one without a place here."""
        return self.addresses.props(id) if id in self.addresses.taken else {}

    def kind_of_place(self, id: str) -> str:
        """The kind of bus (`gavotte.qemu.buses.Bus`) that a device sits on; empty for one without a place here."""
        name, _ = self.addresses.taken.get(id, ("", 0))
        return next((bus.kind for bus in self.addresses.buses if bus.name == name), "")

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads. Of the descriptors that a step lent, the names are kept."""
        return {
            "version": _VERSION,
            "addresses": self.addresses.to_json(),
            "placed": [to_json(placed, Placed) for placed in self.placed.values()],
            "controllers": {id: to_json(recipe, Recipe) for id, recipe in self.controllers.items()},
        }

    @classmethod
    def from_json(cls, value: object) -> Table:
        """Raises UsageError, with the path to the culprit, for what `to_json` doesn't give; StateTooNew."""
        match value:
            case {"version": bool()}:
                pass
            case {"version": int(version)} if version > _VERSION:
                raise StateTooNew("the table of plugged devices", version, _VERSION)
            case {"version": 1, "addresses": addresses, "placed": list(placed), "controllers": dict(controllers)}:
                devices: list[Placed] = [from_json(each, Placed, f"placed[{n}]") for n, each in enumerate(placed)]
                return cls(
                    Addresses.from_json(addresses),
                    MappingProxyType({each.device.id: each for each in devices}),
                    MappingProxyType(
                        {id: from_json(recipe, Recipe, f"controllers.{id}") for id, recipe in controllers.items()}
                    ),
                )
        raise UsageError("not a stored table of plugged devices", path="table")


def _slots(config: MachineConfig, row: Machine) -> Bus:
    if not row.hotplug:
        raise Unsupported(Ability.PLUG.value, f"a machine {row.type} has no slots", hint="leave slots out")
    most = _MOST_SLOTS[row.hotplug]
    if not 0 < config.slots <= most:
        raise UsageError(f"{config.slots} slots; a machine {row.type} can have up to {most}", path="slots")
    match row.hotplug:
        case "pcie":
            return pcie_ports(config.slots)
        case "pci":  # from the end: QEMU gives the machine's own devices the first ones
            return pci("pci.0", first=32 - config.slots)
    return ccw(first=_FIRST_DEVNO, size=config.slots)


def _has(addresses: Addresses, bus: Bus) -> bool:
    return any(each.name == bus.name for each in addresses.buses)


def _seat(device: Device, row: Machine, schema: Schema) -> Seat:
    """Of a driver that this QEMU hasn't, the check of the steps will tell."""
    if not isinstance(device, Raw):
        return seat_of(device, row)
    found = schema.device(str(device.props.get("driver")))
    parents = found.parents if found else ()
    seat: Seat = next((seat for ancestor, seat in _SEATS.items() if ancestor in parents), "")
    return seat if seat != SLOT or _IN_SLOTS.get(row.hotplug) in parents else ""
