"""The words of a schema: device types and their properties, machines, CPU models, and the types of QAPI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from gavotte.qemu.props import Json
from gavotte.values import dataclass

__all__ = [
    "Alternate",
    "Array",
    "Command",
    "CpuModel",
    "DeviceType",
    "Enum",
    "MachineType",
    "Member",
    "Property",
    "QapiType",
    "Scalar",
    "Struct",
]


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a QOM type, as `device-list-properties` and `qom-list-properties` tell it.

    `type` is QEMU's name of it (`bool`, `uint32`, `size`, `str`, `OnOffAuto`, `link<memory-backend>`); `values` the
    words of an enumeration, empty where they aren't known; `default` is None where none is told.
    """

    name: str
    type: str
    description: str = ""
    default: Json = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceType:
    """A device type that can be made. `parents` are its ancestors and interfaces, nearest first.

    `pluggable` says whether `device_add` takes it while the machine runs; None where nobody asked (`get_schema` with
    `hot`), and for what the machine decides. `creatable` says whether a user may make it at all, likewise (`cold`).
    Where introspection ends the binary's process, `properties` is None.
    """

    name: str
    parents: tuple[str, ...] = ()
    pluggable: bool | None = None
    properties: Mapping[str, Property] | None = field(default_factory=dict)
    creatable: bool | None = None


@dataclass(frozen=True, slots=True)
class MachineType:
    """A machine type, from `query-machines`, with its properties from `qom-list-properties`.

    `hot_cpus` says whether it can get processors while it runs, `numa_mem` whether a NUMA node's memory can be a size.
    """

    name: str
    alias: str = ""
    default: bool = False
    deprecated: bool = False
    max_cpus: int = 1
    default_cpu: str = ""
    hot_cpus: bool = False
    properties: Mapping[str, Property] = field(default_factory=dict)
    numa_mem: bool = True


@dataclass(frozen=True, slots=True)
class CpuModel:
    """A CPU model, from `query-cpu-definitions`. `type` is the name of its device type, for `device_add`."""

    name: str
    type: str
    deprecated: bool = False


# The types of QAPI, from query-qmp-schema (QEMU's docs/devel/qapi-code-gen, "Client JSON Protocol introspection").
# They may contain themselves, so they refer to each other by `str` ids, which `Schema.type` resolves.


@dataclass(frozen=True, slots=True)
class Scalar:
    """`json` is one of string, number, int, boolean, null, value (anything). Sizes are `int` there."""

    json: str


@dataclass(frozen=True, slots=True)
class Enum:
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Array:
    element: str


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    type: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Struct:
    """An object. With `tag`, the value of that member chooses one of `variants` (type ids), whose members add up."""

    members: Mapping[str, Member]
    tag: str = ""
    variants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alternate:
    """One of several types, told apart by the JSON type of the value."""

    types: tuple[str, ...]


QapiType: TypeAlias = "Scalar | Enum | Array | Struct | Alternate"


@dataclass(frozen=True, slots=True)
class Command:
    """A QMP command; `arguments` and `returns` are type ids."""

    name: str
    arguments: str
    returns: str
    oob: bool = False
    deprecated: bool = False
