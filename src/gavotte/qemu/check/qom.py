"""Values by the types of QOM properties, as devices, machines and CPUs have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gavotte.qemu.check.inspection import Inspection, shown
from gavotte.qemu.check.scalars import Misfit, to_bool, to_int, to_int_or_size, to_size, to_text, to_word
from gavotte.qemu.props import Json
from gavotte.qemu.schema.model import Property

__all__ = ["convert", "convert_property", "find_property", "is_settable"]

_BITS = re.compile(r"(u?)int(\d+)(?:_t)?")

# Numbers of any width; some are visited as sizes, which the type's name doesn't tell.
_WIDE = frozenset({"int", "uint64", "uint64_t"})

# Numbers whose type has a name of its own (hw/s390x/s390-pci-bus.c).
_NAMED: Final = {"zpci_fid": "uint32"}

_TEXT = frozenset({"str", "string", "QemuUUID"})

# What these hold is told by QEMU, never set.
_READ_ONLY = frozenset({"GuestPanicInformation", "X86CPUFeatureWordInfo", "busnr", "guest statistics", "strList"})

_ITEM = re.compile(r"(.+)\[\d+\]")


def is_settable(prop: Property) -> bool:
    return prop.type not in _READ_ONLY and not prop.type.startswith("child<")


def find_property(properties: Mapping[str, Property], name: str) -> Property | None:
    """Gives the property, also an item of an array (`reserved-regions[0]`), which binaries before 9.0 don't list."""
    if name in properties:
        return properties[name]
    if (found := _ITEM.fullmatch(name)) and f"len-{found[1]}" in properties:
        return Property(name, "str")
    return None


def convert_property(prop: Property, owner: str, value: Json, path: str, inspection: Inspection) -> Json:
    """Gives the value in the property's own type, or reports that it can't be and gives it back as it is."""
    if not is_settable(prop):
        inspection.report(path, f"{owner} shows '{prop.name}', which can't be set")
        return value
    try:
        return convert(prop, value)
    except Misfit as misfit:
        inspection.report(path, f"{owner} wants {misfit} for '{prop.name}', not {shown(value)}")
        return value


def convert(prop: Property, value: Json) -> Json:
    """Gives the value in the property's own type, as it is where that type isn't known. Raises Misfit."""
    kind = _NAMED.get(prop.type, prop.type)
    if kind == "bool":
        return to_bool(value)
    if kind == "size":
        return to_size(value)
    if kind in _WIDE:
        return to_int_or_size(value)
    if bits := _BITS.fullmatch(kind):
        return to_int(value, _bounds(bool(bits[1]), int(bits[2])))
    if kind in _TEXT or kind.startswith("link<"):
        return to_text(value)
    if prop.values:
        return to_word(value, prop.values)
    return value


def _bounds(unsigned: bool, bits: int) -> tuple[int, int]:
    return (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
