"""The sections that aren't back ends or devices: the machine, its CPU, and QEMU's other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gavotte.qemu.check.accel import check_accel
from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.machine import check_cpu, check_machine
from gavotte.qemu.check.names import Space
from gavotte.qemu.check.options import check_parameters
from gavotte.qemu.check.qapi import check_struct
from gavotte.qemu.check.qom import convert_property, find_property, is_settable
from gavotte.qemu.check.rules import check_option_rules
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.schema.model import Array, Member, Struct
from gavotte.qemu.sections import Section

__all__ = ["check_map", "check_word"]

_Check: TypeAlias = Callable[[Section, PropertyMap, str, Inspection], Mapping[str, Json]]

# Options whose values have a QAPI type, which some command takes or gives.
_DESCRIBED_BY: Final = {
    "action": "set-action",
    "audiodev": "query-audiodevs",
    "display": "query-display-options",
    "numa": "set-numa-node",
}
_TAKEN: Final = frozenset({"set-action", "set-numa-node"})

# What some binaries are built without, or are too old for. All of these are listed where they are there.
_OPTIONAL: Final = frozenset({"fsdev", "run-with", "sandbox", "spice", "vnc"})

# -display has forms of its own for these (parse_display in QEMU's system/vl.c).
_OWN_DISPLAYS: Final = frozenset({"sdl", "spice-app", "vnc"})

# Keys that hold an id, in options that define none of those.
_REFERENCES: Final[dict[tuple[str, str], Space]] = {
    ("fw_cfg", "gen_id"): "object",
    ("mon", "chardev"): "chardev",
    ("spice", "password-secret"): "object",
    ("vnc", "audiodev"): "audiodev",
    ("vnc", "password-secret"): "object",
    ("vnc", "tls-creds"): "object",
    ("tpmdev", "chardev"): "chardev",
}

_DEFINES: Final[dict[str, Space]] = {"audiodev": "audiodev", "tpmdev": "tpmdev"}


def check_map(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    """Gives what stands in one map of a section, in the option's own types as far as they are known."""
    option = section.option
    if (space := _DEFINES.get(option)) and isinstance(name := props.get("id"), str):
        inspection.names.define(space, name, inside(path, "id"))
    for key, value in props.items():
        if (space := _REFERENCES.get((option, key))) and isinstance(value, str | int):
            inspection.names.refer(space, str(value), inside(path, key), front=space == "chardev")
    if _described(option, inspection) is None:
        check_option_rules(option, props, path, inspection)
    return _CHECKS.get(option, _check_option)(section, props, path, inspection)


def check_word(section: Section, word: str, inspection: Inspection) -> None:
    """Reports a word that the option can't take."""
    check_option_rules(section.option, {section.option: word}, section.name, inspection)


def _check_option(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    if section.option in _OPTIONAL and inspection.schema.option(section.option) is None:
        inspection.report(path, f"this QEMU has no -{section.option}")
    return check_parameters(section.option, props, path, inspection, more=("id",))


def _check_described(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    """The values stay as they are written: such an option reads text, some of it in ways of its own."""
    struct = _described(section.option, inspection)
    if struct and not (section.option == "display" and props.get("type") in _OWN_DISPLAYS):
        check_struct(section.option, struct, props, path, inspection)
    return props


def _described(option: str, inspection: Inspection) -> Struct | None:
    command = inspection.schema.command(_DESCRIBED_BY.get(option, ""))
    if command is None:
        return None
    found = inspection.schema.type(command.arguments if command.name in _TAKEN else command.returns)
    if isinstance(found, Array):
        found = inspection.schema.type(found.element)
    return found if isinstance(found, Struct) else None


def _check_tpmdev(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    """-tpmdev is flat, where `query-tpm` nests what belongs to the back end."""
    schema = inspection.schema
    command, kind = schema.command("query-tpm"), props.get("type")
    if command is None or not isinstance(kind, str):
        return props
    told = schema.type(command.returns)
    info = schema.struct(told.element if isinstance(told, Array) else command.returns)
    options = schema.struct(info.members["options"].type)
    if kind not in options.variants:
        inspection.report_unknown(
            inside(path, "type"), f"this QEMU has no tpmdev {shown(kind)}", kind, options.variants
        )
        return props
    own = schema.struct(schema.struct(options.variants[kind]).members["data"].type)
    members = {**own.members, **{key: Member(key, "str", optional=False) for key in ("id", "type")}}
    check_struct(kind, Struct(members), props, path, inspection)
    return props


def _check_accel(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    return check_accel(props, path, inspection)


def _check_global(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    """QEMU says nothing about a global that matches nothing, so here it is said."""
    driver, name = props.get("driver"), props.get("property")
    if not isinstance(driver, str) or not isinstance(name, str) or "value" not in props:
        inspection.report(path, "a global needs 'driver', 'property' and 'value'")
        return props
    device = inspection.schema.device(driver)
    if device is None:
        if driver not in inspection.schema.objects and not inspection.schema.types(driver):
            known = inspection.schema.devices
            inspection.report_unknown(inside(path, "driver"), f"this QEMU has no device {shown(driver)}", driver, known)
    elif device.properties is not None:
        prop = find_property(device.properties, name)
        if prop is None:
            known = [other for other, prop in device.properties.items() if is_settable(prop)]
            inspection.report_unknown(inside(path, "property"), f"{driver} has no property {shown(name)}", name, known)
        else:
            return {**props, "value": convert_property(prop, driver, props["value"], inside(path, "value"), inspection)}
    return props


def _check_machine(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    return check_machine(props, path, inspection)


def _check_cpu(section: Section, props: PropertyMap, path: str, inspection: Inspection) -> Mapping[str, Json]:
    return check_cpu(props, path, inspection)


_CHECKS: Final[dict[str, _Check]] = {
    "accel": _check_accel,
    "action": _check_described,
    "audiodev": _check_described,
    "cpu": _check_cpu,
    "display": _check_described,
    "global": _check_global,
    "machine": _check_machine,
    "numa": _check_described,
    "tpmdev": _check_tpmdev,
}
