"""A binary's schema, to be looked things up in: each part is read from its archive when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias

from gavotte.qemu.schema.aliases import type_behind
from gavotte.qemu.schema.archive import Archive
from gavotte.qemu.schema.model import (
    Alternate,
    Array,
    Command,
    CpuModel,
    DeviceType,
    Enum,
    MachineType,
    Member,
    Property,
    QapiType,
    Scalar,
    Struct,
)

__all__ = ["Asked", "Schema"]

Asked: TypeAlias = Literal["pluggable", "creatable"]
"""What is only asked of a device type when somebody wants to know it."""

# The commands that make each kind of thing; "chardev" is a union inside of one's arguments.
_MAKERS = {"object": "object-add", "netdev": "netdev_add", "blockdev": "blockdev-add"}


class Schema:
    """What one binary supports, in its own words. Made by `learn_schema` and `load_schema`."""

    def __init__(
        self,
        archive: Archive,
        pluggable: Mapping[str, bool | None] | None = None,
        creatable: Mapping[str, bool | None] | None = None,
    ) -> None:
        self._archive = archive
        self._asked: dict[Asked, Mapping[str, bool | None]] = {
            "pluggable": pluggable or {},
            "creatable": creatable or {},
        }
        self._devices: dict[str, DeviceType] = {}
        self._types: dict[str, QapiType] = {}
        self._objects: dict[str, Mapping[str, Property]] = {}

    @cached_property
    def version(self) -> tuple[int, int, int]:
        """The binary's version. For messages: what it can do is told by everything else here."""
        major, minor, micro = self._about("version")
        return major, minor, micro

    @cached_property
    def target(self) -> str:
        """The architecture of its guests, as `query-target` names it: x86_64, aarch64, …"""
        return str(self._about("target"))

    # --- QOM ----------------------------------------------------------------------------------------------------------

    @cached_property
    def devices(self) -> Sequence[str]:
        """The names of all device types that aren't abstract, sorted, whether or not a user may make them."""
        return self._archive.names("device")

    def device(self, name: str) -> DeviceType | None:
        """Gives the device type of this name or alias; None where there is none."""
        if name not in self._devices:
            found: Any = self._archive.get("device", name)
            if found is None:
                name = type_behind(name, self.target)
                found = self._archive.get("device", name)
            if found is None:
                return None
            parents, places = found
            pluggable, creatable = (found.get(name) for found in self._asked.values())
            self._devices[name] = DeviceType(name, tuple(parents), pluggable, self._properties(places), creatable)
        return self._devices[name]

    def unsure(self, names: Iterable[str], what: Asked = "pluggable") -> list[str]:
        """Gives those device types among `names` that weren't asked yet whether they are `what`."""
        return sorted({name for name in names if name in self.devices and name not in self._asked[what]})

    def with_asked(self, what: Asked, found: Mapping[str, bool | None]) -> Schema:
        """Gives the same schema that knows more about which device types are `what`."""
        return Schema(self._archive, **{**self._asked, what: {**self._asked[what], **found}})

    def types(self, implements: str) -> Sequence[str]:
        """Gives the names of the device types with this ancestor or interface, such as `pci-device`, sorted."""
        found: Any = self._archive.get("family", implements)
        return found or ()

    @cached_property
    def objects(self) -> Sequence[str]:
        """The names of the types that `object-add` makes, sorted."""
        return self._archive.names("object")

    def object(self, name: str) -> Mapping[str, Property] | None:
        """Gives the properties of an object type; None where there is none of this name.

        What QOM tells of them, completed by what QAPI tells of their values.
        """
        if name in self._objects:
            return self._objects[name]
        if name not in self.objects:
            return None
        found = self._properties(self._archive.get("object", name)) or {}
        for member in self._object_members(name):
            known = found.get(member.name)
            type = self.type(member.type)
            if known is None or isinstance(type, Enum):
                values = type.values if isinstance(type, Enum) else ()
                found[member.name] = Property(member.name, known.type if known else _word(type), values=values)
        self._objects[name] = found
        return found

    def _object_members(self, name: str) -> Iterable[Member]:
        variant = self.backend("object").variants.get(name)
        return self.struct(variant).members.values() if variant else ()

    @cached_property
    def machines(self) -> Sequence[str]:
        """The names of the machine types, sorted, without aliases."""
        return self._archive.names("machine")

    def machine(self, name: str) -> MachineType | None:
        """Gives the machine type of this name or alias; None where there is none."""
        name = self._about("aliases").get(name, name)
        found: Any = self._archive.get("machine", name)
        if found is None:
            return None
        (alias, default, deprecated, max_cpus, default_cpu, hot_cpus, numa_mem), places = found
        properties = self._properties(places) or {}
        return MachineType(name, alias, default, deprecated, max_cpus, default_cpu, hot_cpus, properties, numa_mem)

    @cached_property
    def accels(self) -> Sequence[str]:
        """The names of the accelerators, sorted: kvm, tcg, …"""
        return self._archive.names("accel")

    def accel(self, name: str) -> Mapping[str, Property] | None:
        """Gives the properties of an accelerator; None where there is none of this name, or it can't tell them."""
        return self._properties(self._archive.get("accel", name))

    @cached_property
    def cpus(self) -> Sequence[CpuModel]:
        """The CPU models, sorted by name."""
        return tuple(CpuModel(*row) for row in self._about("cpus"))

    @cached_property
    def buses(self) -> Sequence[str]:
        """The names of the types of buses, sorted: IDE, PCI, usb-bus, …"""
        return tuple(self._about("buses"))

    # --- options ------------------------------------------------------------------------------------------------------

    def takes_json(self, option: str) -> bool:
        """Whether the option, named without its dash, reads JSON."""
        return option in self._json_options

    @cached_property
    def options(self) -> Sequence[str]:
        """The options whose parameters are known."""
        return self._archive.names("option")

    def option(self, name: str) -> Mapping[str, Property] | None:
        """Gives the parameters of an option (type string, bool, number or size), named without its dash.

        None where the binary doesn't tell, which is so for all that QAPI describes.
        """
        rows: Any = self._archive.get("option", name)
        return None if rows is None else {row[0]: Property(*row) for row in rows}

    # --- QAPI ---------------------------------------------------------------------------------------------------------

    @cached_property
    def commands(self) -> Sequence[str]:
        """The names of the QMP commands, sorted."""
        return self._archive.names("command")

    def command(self, name: str) -> Command | None:
        """Gives a QMP command; None where there is none of this name."""
        found: Any = self._archive.get("command", name)
        return None if found is None else Command(name, *found)

    @cached_property
    def events(self) -> Sequence[str]:
        """The names of the events, sorted."""
        return tuple(self._about("events"))

    def type(self, id: str) -> QapiType:
        """Gives the type behind an id that something here has. Raises KeyError for any other id."""
        if id not in self._types:
            found: Any = self._archive.get("type", id)
            if found is None:
                raise KeyError(id)
            self._types[id] = _type(found)
        return self._types[id]

    def struct(self, id: str) -> Struct:
        """Gives the object type behind an id. Raises KeyError when it is not one."""
        found = self.type(id)
        if not isinstance(found, Struct):
            raise KeyError(id)
        return found

    def backend(self, kind: str) -> Struct:
        """Gives the struct that describes an `object`, `netdev` or `blockdev`, or the backend of a `chardev`.

        The latter is QMP's nested form (`{"type": …, "data": {…}}`), which isn't the flat form of `-chardev`.

        Raises KeyError for another kind, and where the binary has no command to make it.
        """
        command = self.command("chardev-add" if kind == "chardev" else _MAKERS[kind])
        if command is None:
            raise KeyError(kind)
        arguments = self.struct(command.arguments)
        return self.struct(arguments.members["backend"].type) if kind == "chardev" else arguments

    @cached_property
    def _json_options(self) -> frozenset[str]:
        return frozenset(self._about("json"))

    @cached_property
    def _all_properties(self) -> Sequence[Property]:
        rows = self._about("properties")
        return [Property(name, type, text, default, tuple(words)) for name, type, text, default, words in rows]

    def _properties(self, places: Any) -> dict[str, Property] | None:
        if places is None:
            return None
        return {one.name: one for one in map(self._all_properties.__getitem__, places)}

    def _about(self, name: str) -> Any:
        return self._archive.get("about", name)


def _word(type: QapiType) -> str:
    """A QAPI type's name as QOM would have it, as far as that goes."""
    match type:
        case Scalar(json):
            return json
        case Enum():
            return "string"
        case Array():
            return "list"
    return "object"


def _type(found: Any) -> QapiType:
    match found:
        case {"scalar": json}:
            return Scalar(json)
        case {"enum": values}:
            return Enum(tuple(values))
        case {"array": element}:
            return Array(element)
        case {"alternate": types}:
            return Alternate(tuple(types))
        case {"members": members, "tag": tag, "variants": variants}:
            return Struct({row[0]: Member(*row) for row in members}, tag, variants)
    raise KeyError(found)
