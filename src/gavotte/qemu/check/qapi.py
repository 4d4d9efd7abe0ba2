"""Values by the types of QAPI, as `-object`, `-netdev`, `-blockdev` and QMP's commands take them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.names import Space
from gavotte.qemu.check.scalars import Misfit, is_on, to_bool, to_int_or_size, to_number, to_text, to_word
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.schema.model import Alternate, Array, Enum, Member, QapiType, Scalar, Struct

__all__ = ["check_struct", "define_node"]

# Members that hold the id of something else. The schema calls them text.
_REFERENCES: Final[dict[str, dict[str, Space]]] = {
    "object": {
        "canbus": "object",
        "chardev": "chardev",
        "indev": "chardev",
        "iothread": "object",
        "keyid": "object",
        "netdev": "netdev",
        "notify_dev": "chardev",
        "outdev": "chardev",
        "passwordid": "object",
        "prealloc-context": "object",
        "primary_in": "chardev",
        "secondary_in": "chardev",
    },
    "netdev": {"chardev": "chardev", "netdev": "netdev"},
    "numa": {"memdev": "object"},
    "blockdev": {
        "bottom": "block",
        "cookie-secret": "object",
        "key-secret": "object",
        "password-secret": "object",
        "pr-manager": "object",
        "proxy-password-secret": "object",
        "throttle-group": "object",
        "tls-creds": "object",
    },
}

# bdrv_assign_node_name in QEMU's block.c
_NODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,30}")

_RANGE = re.compile(r"(\d{1,5})-(\d{1,5})")
_LONGEST_RANGE = 1024


def check_struct(kind: str, struct: Struct, props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    """Gives what stands in an option of this `kind` with each value in its own type; reports what doesn't fit."""
    return _Walk(kind, inspection).struct(kind, struct, props, path)


class _Walk:
    """One walk down one value. Where a value doesn't fit, that is reported and it is given back as it is."""

    def __init__(self, kind: str, inspection: Inspection) -> None:
        self._kind = kind
        self._inspection = inspection
        self._type = inspection.schema.type
        self._references = _REFERENCES.get(kind, {})

    def struct(self, owner: str, struct: Struct, props: PropertyMap, path: str) -> dict[str, Json]:
        if struct.tag and (tag := props.get(struct.tag)) is not None:
            owner = str(tag)
        members = self._members(struct, props, path)
        if members is None:
            return dict(props)
        for member in members.values():
            if not member.optional and member.name not in props:
                self._inspection.report(path, f"{owner} needs '{member.name}'")
        return {key: self._member(owner, members, key, value, inside(path, key)) for key, value in props.items()}

    def _members(self, struct: Struct, props: PropertyMap, path: str) -> Mapping[str, Member] | None:
        """Gives the members that these properties may have; None, and it is reported, when nobody can tell."""
        if not struct.tag or (tag := props.get(struct.tag)) is None:
            return struct.members if not struct.tag or not struct.members[struct.tag].optional else None
        words = self._tags(struct)
        if not isinstance(tag, str) or tag not in words:
            self._inspection.report_unknown(
                inside(path, struct.tag), f"this QEMU has no {self._kind} {shown(tag)}", str(tag), words
            )
            return None
        variant = self._type(struct.variants[tag]) if tag in struct.variants else None
        return {**struct.members, **variant.members} if isinstance(variant, Struct) else struct.members

    def _tags(self, struct: Struct) -> Sequence[str]:
        found = self._type(struct.members[struct.tag].type)
        return found.values if isinstance(found, Enum) else list(struct.variants)

    def _member(self, owner: str, members: Mapping[str, Member], key: str, value: Json, path: str) -> Json:
        if key not in members:
            self._inspection.report_unknown(path, f"{owner} has no property '{key}'", key, members)
            return value
        value = self._value(owner, key, self._type(members[key].type), value, path)
        if (space := self._references.get(key)) and isinstance(value, str):
            self._inspection.names.refer(space, value, path)
        return value

    def _value(self, owner: str, key: str, found: QapiType, value: Json, path: str) -> Json:
        match found:
            case Struct() if isinstance(value, Mapping):
                return self._nested(key, found, value, path)
            case Array():
                return self._array(owner, key, found, value, path)
            case Alternate():
                return self._alternate(owner, key, found, value, path)
        try:
            return _scalar(found, value)
        except Misfit as misfit:
            self._inspection.report(path, f"{owner} wants {misfit} for '{key}', not {shown(value)}")
            return value

    def _nested(self, key: str, struct: Struct, value: PropertyMap, path: str) -> Json:
        if self._kind == "blockdev" and struct is self._inspection.schema.backend("blockdev"):
            define_node(value, path, self._inspection)
        return self.struct(f"'{key}'", struct, value, path)

    def _array(self, owner: str, key: str, array: Array, value: Json, path: str) -> Json:
        element = self._type(array.element)
        if isinstance(value, str | int) and isinstance(element, Scalar):
            value = [value]
        if element == Scalar("int") and isinstance(value, Sequence) and not isinstance(value, str):
            value = [number for item in value for number in _listed(item)]  # as `host-nodes=0-3` in an option's text
        if not isinstance(value, Sequence) or isinstance(value, str):
            self._inspection.report(path, f"{owner} wants a list for '{key}', not {shown(value)}")
            return value
        return [self._value(owner, key, element, item, inside(path, index)) for index, item in enumerate(value)]

    def _alternate(self, owner: str, key: str, alternate: Alternate, value: Json, path: str) -> Json:
        choices = [self._type(id) for id in alternate.types]
        if isinstance(value, Mapping) and (structs := [c for c in choices if isinstance(c, Struct)]):
            return self._nested(key, structs[0], value, path)
        arrays = [c for c in choices if isinstance(c, Array)]
        if isinstance(value, list) and arrays:
            return self._array(owner, key, arrays[0], value, path)
        misfits = []
        for choice in sorted(choices, key=lambda choice: _rank(choice, value)):
            try:
                value = _scalar(choice, value)
            except Misfit as misfit:
                misfits.append(str(misfit))
            else:
                if isinstance(value, str) and self._is_node(choices):
                    self._inspection.names.refer("block", value, path)
                return value
        self._inspection.report(path, f"{owner} wants {' or '.join(misfits)} for '{key}', not {shown(value)}")
        return value

    def _is_node(self, choices: Sequence[QapiType]) -> bool:
        return self._kind == "blockdev" and self._inspection.schema.backend("blockdev") in choices


def define_node(props: PropertyMap, path: str, inspection: Inspection) -> None:
    """Writes down the name of a block node, given to itself or to a child of another."""
    if isinstance(name := props.get("node-name"), str):
        where = inside(path, "node-name")
        if not _NODE_NAME.fullmatch(name):
            inspection.report(
                where, f"{shown(name)} isn't a node name: a letter, then up to 30 of letters, digits, - . _"
            )
        inspection.names.define("block", name, where)
        if is_on(props.get("read-only")):
            inspection.names.shared.add(("block", name))


def _scalar(found: QapiType, value: Json) -> Json:
    """Gives the value in a type that has no parts. Raises Misfit."""
    match found:
        case Enum(values):
            return to_word(value, values)
        case Scalar("string"):
            return to_text(value)
        case Scalar("boolean"):
            return to_bool(value)
        case Scalar("int"):
            return to_int_or_size(value)
        case Scalar("number"):
            return to_number(value)
        case Scalar("null") if value is not None:
            raise Misfit("null")
        case Struct():
            raise Misfit("a mapping")
        case Array():
            raise Misfit("a list")
    return value


def _rank(choice: QapiType, value: Json) -> int:
    """What the value is already comes first, then what its text can be read as, text itself last."""
    match choice, value:
        case (Scalar("boolean"), bool()) | (Scalar("int"), int()) | (Scalar("null"), None):
            return 0
        case ((Enum() | Scalar("string")), str()):
            return 1
    return 3 if choice == Scalar("string") else 2


def _listed(value: Json) -> Sequence[Json]:
    if isinstance(value, str) and (found := _RANGE.fullmatch(value)):
        first, last = int(found[1]), int(found[2])
        if first <= last < first + _LONGEST_RANGE:
            return list(range(first, last + 1))
    return [value]
