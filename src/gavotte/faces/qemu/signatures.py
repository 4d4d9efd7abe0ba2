"""What a QMP command takes and gives, as lines and as data. QMP doesn't name its types, so they are written out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gavotte.qemu.schema import Command, Schema, Struct

__all__ = ["as_dict", "as_lines"]

_DEPTH = 3  # structs in structs; types may contain themselves


def as_dict(schema: Schema, command: Command) -> dict[str, Any]:
    """Gives the signature for programs."""
    return {
        "name": command.name,
        "oob": command.oob,
        "deprecated": command.deprecated,
        "arguments": _type(schema, command.arguments),
        "returns": _type(schema, command.returns),
    }


def as_lines(schema: Schema, command: Command) -> Iterator[str]:
    """Gives the signature for people: a member a line, nested ones indented, optional ones in brackets."""
    notes = [word for word in ("deprecated" if command.deprecated else "", "oob" if command.oob else "") if word]
    yield command.name + (f" ({', '.join(notes)})" if notes else "")
    arguments = list(_lines(_type(schema, command.arguments), "  "))
    yield from ["takes", *arguments] if arguments else ["takes nothing"]
    if command.name == "device_add":  # QEMU's schema leaves them out
        yield "  and the properties of the driver: gavotte qemu props DRIVER"
    returns = _type(schema, command.returns)
    lines = list(_lines(returns, "  "))
    if returns["type"] == "object":
        yield from ["gives", *lines] if lines else ["gives nothing"]
    else:
        yield from [f"gives {_short(returns)}", *lines]


def _type(schema: Schema, id: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """`above` are the ids of the structs that this one is in; none is written out in itself."""
    from gavotte.qemu.schema import Alternate, Array, Enum, Scalar, Struct

    match schema.type(id):
        case Scalar(json):
            return {"type": "any" if json == "value" else json}
        case Enum(values):
            return {"type": "enum", "values": list(values)}
        case Array(element):
            return {"type": "array", "of": _type(schema, element, above)}
        case Alternate(types):
            return {"type": "alternate", "of": [_type(schema, type, above) for type in types]}
        case Struct() as struct if id not in above and len(above) < _DEPTH:
            return {"type": "object", **_members(schema, struct, (*above, id))}
    return {"type": "object"}


def _members(schema: Schema, struct: Struct, above: tuple[str, ...]) -> dict[str, Any]:
    def members(struct: Struct) -> list[dict[str, Any]]:
        return [
            {"name": member.name, "optional": member.optional, **_type(schema, member.type, above)}
            for member in struct.members.values()
        ]

    if not struct.tag:
        return {"members": members(struct)}
    variants = {value: members(schema.struct(id)) for value, id in struct.variants.items()}
    return {"members": members(struct), "tag": struct.tag, "variants": variants}


def _lines(type: dict[str, Any], indent: str) -> Iterator[str]:
    """The members of an object, or of what an array holds."""
    while type["type"] == "array":
        type = type["of"]
    if type["type"] == "alternate":
        for one in type["of"]:
            yield from _lines(one, indent)
    for member in type.get("members", ()):
        yield from _member_lines(member, indent)
    for value, members in type.get("variants", {}).items():
        if members:
            yield f"{indent}with {type['tag']} {value}:"
            for member in members:
                yield from _member_lines(member, indent + "  ")


def _member_lines(member: dict[str, Any], indent: str) -> Iterator[str]:
    name = f"[{member['name']}]" if member["optional"] else member["name"]
    yield f"{indent}{name}: {_short(member)}"
    yield from _lines(member, indent + "  ")


def _short(type: dict[str, Any]) -> str:
    match type["type"]:
        case "enum":
            return " | ".join(type["values"])
        case "array":
            return f"list of {_short(type['of'])}"
        case "alternate":
            return " or ".join(dict.fromkeys(map(_short, type["of"]))) or "one of several"
    return str(type["type"])
