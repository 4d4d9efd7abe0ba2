"""The machine type and the CPU model, with their properties."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.names import Space
from gavotte.qemu.check.qom import convert_property, is_settable
from gavotte.qemu.check.words import options_of
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.schema.model import CpuModel, MachineType, Property

__all__ = ["check_cpu", "check_machine", "check_smp", "machine_of"]

# What -machine takes for the accelerator's sake (qemu_apply_legacy_machine_options in QEMU's system/vl.c).
_FOR_ACCEL: Final = ("accel", "igd-passthru", "kernel-irqchip", "kvm-shadow-mem")

# Options that are passed on as they are, and may name a machine type as well.
_ELSEWHERE: Final = frozenset({"M", "machine", "readconfig"})

# The levels of a CPU topology that the machine types of a target don't have (`smp_props` in QEMU's hw/).
_NO_LEVELS: Final[Mapping[str, tuple[str, ...]]] = {
    "aarch64": ("books", "dies", "drawers", "modules"),
    "i386": ("books", "clusters", "drawers"),
    "s390x": ("clusters", "dies", "modules"),
    "x86_64": ("books", "clusters", "drawers"),
}

# The levels of a CPU topology of which QEMU works out what isn't told.
_LEVELS: Final = frozenset({"sockets", "cores", "threads"})

_REFERENCES: Final[dict[str, Space]] = {
    "confidential-guest-support": "object",
    "memory-backend": "object",
    "memory-encryption": "object",
    "pcspk-audiodev": "audiodev",
    "pflash0": "block",
    "pflash1": "block",
}

# Spellings that the CPU's own parser takes (x86_cpu_parse_featurestr in QEMU's target/i386/cpu.c).
_X86_FEATURES: Final = ("tsc-freq",)


def check_machine(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    """Gives -machine's properties in their own types. It takes `_` for `-` in each key."""
    machine = _find_machine(props, inspection) if "type" in props else _default_machine(inspection)
    if "type" in props and machine is None:
        _report_machine(props["type"], inside(path, "type"), inspection)
    known = machine.properties if machine else {}
    return {
        key: _check_property(machine, known, key, value, inside(path, key), inspection) for key, value in props.items()
    }


def machine_of(document: Mapping[str, Json], inspection: Inspection) -> MachineType | None:
    """Gives the machine type that a file asks for, or QEMU's default; None where it isn't known."""
    if not _ELSEWHERE.isdisjoint(option for option, _ in options_of(document.get("options"))):
        return None
    props = document.get("machine")
    if isinstance(props, Mapping) and "type" in props:
        return _find_machine(props, inspection)
    return _default_machine(inspection)


def _find_machine(props: PropertyMap, inspection: Inspection) -> MachineType | None:
    name = props.get("type")
    return inspection.schema.machine(name) if isinstance(name, str) else None


def _default_machine(inspection: Inspection) -> MachineType | None:
    schema = inspection.schema
    return next((machine for machine in map(schema.machine, schema.machines) if machine and machine.default), None)


def _report_machine(name: Json, path: str, inspection: Inspection) -> None:
    schema = inspection.schema
    aliases = [machine.alias for machine in map(schema.machine, schema.machines) if machine and machine.alias]
    inspection.report_unknown(path, f"this QEMU has no machine {shown(name)}", str(name), (*schema.machines, *aliases))


def _check_property(
    machine: MachineType | None,
    known: Mapping[str, Property],
    key: str,
    value: Json,
    path: str,
    inspection: Inspection,
) -> Json:
    name = key.replace("_", "-")
    if name == "accel" and not isinstance(value, str):
        inspection.report(path, f"the names of accelerators are wanted, not {shown(value)}")
    if name == "type" or name in _FOR_ACCEL or not machine or not known:
        return value
    if name not in known:
        names = [other for other, prop in known.items() if is_settable(prop)]
        inspection.report_unknown(path, f"{machine.name} has no property '{key}'", key, (*names, *_FOR_ACCEL))
        return value
    value = convert_property(known[name], machine.name, value, path, inspection)
    if name in _REFERENCES and isinstance(value, str) and "/" not in value:
        inspection.names.refer(_REFERENCES[name], value, path)
    return value


def check_smp(document: Mapping[str, Json], inspection: Inspection) -> None:
    """Reports more CPUs than the machine type has room for, levels it hasn't, and a topology that doesn't add up."""
    smp = document.get("smp")
    if not isinstance(smp, Mapping):
        return
    counts = {key: count for key, count in smp.items() if isinstance(count, int)}
    _check_topology(counts, inspection)
    for key in _NO_LEVELS.get(inspection.schema.target, ()):
        if counts.get(key, 0) > 1:
            inspection.report(f"smp.{key}", f"no machine type of {inspection.schema.target} has {key}")
    machine = machine_of(document, inspection)
    for key in ("cpus", "maxcpus"):
        if machine and counts.get(key, 0) > machine.max_cpus:
            inspection.report(f"smp.{key}", f"{machine.name} has at most {machine.max_cpus} CPUs, not {counts[key]}")


def _check_topology(smp: Mapping[str, int], inspection: Inspection) -> None:
    """Of sockets, cores and threads, one that isn't told is what remains (machine_parse_smp_config in QEMU's
    hw/core/machine-smp.c)."""
    cpus, maxcpus = smp.get("cpus", 0), smp.get("maxcpus", 0)
    levels = {key: count for key, count in smp.items() if key not in ("cpus", "maxcpus") and count > 0}
    product, total = math.prod(levels.values()), maxcpus or cpus
    told = " * ".join(f"{key} {count}" for key, count in levels.items())
    if maxcpus and cpus > maxcpus:
        inspection.report("smp.maxcpus", f"{maxcpus} is less than cpus, {cpus}")
    elif total and (total != product if levels.keys() >= _LEVELS else total % product):
        inspection.report("smp", f"{told} is {product}, which doesn't make {total} CPUs")


def check_cpu(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    """Gives -cpu's features in their own types, as far as the model's device type shows them."""
    model = _find_model(props, path, inspection)
    device = inspection.schema.device(model.type) if model and model.type else None
    if device is None or not device.properties:
        return dict(props)
    return {
        key: value
        if key == "model"
        else _check_feature(device.name, device.properties, key, value, inside(path, key), inspection)
        for key, value in props.items()
    }


def _find_model(props: PropertyMap, path: str, inspection: Inspection) -> CpuModel | None:
    name, models = props.get("model"), inspection.schema.cpus
    if not isinstance(name, str):
        inspection.report(path, "a CPU needs a 'model'")
        return None
    fold = inspection.schema.target.startswith("ppc")  # the one target that doesn't care
    for model in models:
        if model.name == name or (fold and model.name.lower() == name.lower()):
            return model
    if models:
        known = [model.name for model in models]
        inspection.report_unknown(inside(path, "model"), f"this QEMU has no CPU {shown(name)}", name, known)
    return None


def _check_feature(
    owner: str, known: Mapping[str, Property], key: str, value: Json, path: str, inspection: Inspection
) -> Json:
    prop = known.get(key) or known.get(key.replace("_", "-"))
    if prop is not None:
        return convert_property(prop, owner, value, path, inspection)
    if key not in _X86_FEATURES:
        features = [name for name, prop in known.items() if is_settable(prop)]
        inspection.report_unknown(path, f"{owner} has no feature '{key}'", key, features)
    return value
