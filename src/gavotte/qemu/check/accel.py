"""Accelerators: `-accel`, and the list in `-machine accel=`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.qom import convert_property, is_settable
from gavotte.qemu.check.words import options_of
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.schema.model import Property

__all__ = ["check_accel", "check_accels"]

_REAL: Final = frozenset({"hvf", "kvm"})  # those that give a guest the host's own processor


def check_accel(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    """Gives -accel's properties in their own types. Its name is looked at with the others'."""
    name, schema = props.get("accel"), inspection.schema
    if not isinstance(name, str) or not schema.accels:
        return dict(props)
    known = schema.accel(name)
    if known is None:  # then at least none may be a property of no accelerator
        known = {key: prop for each in schema.accels for key, prop in (schema.accel(each) or {}).items()}
    return {
        key: value if key == "accel" else _checked(name, known, key, value, inside(path, key), inspection)
        for key, value in props.items()
    }


def _checked(
    name: str, known: Mapping[str, Property], key: str, value: Json, path: str, inspection: Inspection
) -> Json:
    if key in known:
        return convert_property(known[key], name, value, path, inspection)
    settable = [other for other, prop in known.items() if is_settable(prop) and other != "type"]
    inspection.report_unknown(path, f"{name} has no property '{key}'", key, settable)
    return value


def check_accels(document: Mapping[str, Json], inspection: Inspection) -> None:
    """Reports accelerators that this binary doesn't have, two ways to name them at once, and a CPU that none gives.

    QEMU takes the first that works, and passes over those that it doesn't know (configure_accelerators in its
    system/vl.c): so the names are wrong when it knows none of them.
    """
    listed, single = list(_of_accels(document)), list(_of_machine(document))
    if listed and (single or _enables_kvm(document)):
        inspection.report("accels", "-accel can't be given beside -machine accel=, which -enable-kvm is short for")
    _check_known(listed, inspection)
    _check_known(single, inspection)
    cpu, names = document.get("cpu"), [name for _, name in (*listed, *single)]
    if names and _REAL.isdisjoint(names) and isinstance(cpu, Mapping) and cpu.get("model") == "host":
        inspection.report("cpu.model", f"the CPU model 'host' needs KVM, and the accelerator is {', '.join(names)}")


def _check_known(named: Sequence[tuple[str, str]], inspection: Inspection) -> None:
    known = inspection.schema.accels
    if known and named and not any(name in known for _, name in named):
        path, name = named[0]
        hint = "give each its own entry in 'accels'" if ":" in name else ""
        inspection.report_unknown(path, f"this QEMU has no accelerator {shown(name)}", name, known, hint=hint)


def _of_accels(document: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Gives the path and the name of each."""
    accels = document.get("accels")
    for index, props in enumerate(accels if isinstance(accels, list) else ()):
        if isinstance(props, Mapping) and isinstance(name := props.get("accel"), str):
            yield f"accels[{index}].accel", name


def _of_machine(document: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    machine = document.get("machine")
    names = machine.get("accel") if isinstance(machine, Mapping) else None
    if isinstance(names, str):
        yield from (("machine.accel", name) for name in names.split(":"))


def _enables_kvm(document: Mapping[str, Json]) -> bool:
    return any(option == "enable-kvm" for option, _ in options_of(document.get("options")))
