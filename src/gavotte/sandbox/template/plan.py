"""The machines of a template and of its copies: alike but for what may differ."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from gavotte.hypervisor.devices import VmGenId
from gavotte.hypervisor.interface import Ability, MachineConfig, MemoryFile
from gavotte.hypervisor.qemu.capabilities import capabilities_of
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.machines import host_arch
from gavotte.qemu.schema import Schema
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.boot import machine_config
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.template.layout import Layout

__all__ = ["host_of", "key_of", "plan_config", "why_no_template"]

_MADE_SO = 3  # raise it when templates are made in another way, or copies are planned in one


def plan_config(
    name: str,
    spec: Spec,
    layout: Layout,
    accel: str,
    files: Artifacts,
    schema: Schema,
    memory: MemoryFile | None = None,
) -> MachineConfig:
    """The machine of a template for such a sandbox, or of a copy of it. Pure."""
    places = len(list(layout.latent()))
    room = replace(
        spec,
        memory=layout.memory,
        max_memory=layout.max_memory,
        cpus=layout.cpus,
        max_cpus=0,
        slots=layout.slots + places,
        devices=(),
    )
    config = machine_config(name, room, accel, files, memory)
    if Ability.VMGENID in capabilities_of(config, machine_row(spec.arch, spec.machine), schema):
        config = replace(config, devices=(*config.devices, VmGenId("generation")))
    return config


def why_no_template(config: MachineConfig, schema: Schema) -> str:
    """Why such a machine can't be copied; empty when it can."""
    missing = capabilities_of(config, machine_row(config.arch, config.machine), schema).missing
    return missing.get(Ability.CLONE, "")


def key_of(config: MachineConfig, layout: Layout, binary: QemuBinary) -> str:
    """What tells one template from another: all that it is made of, and for KVM what it was made on."""
    facts = (
        _MADE_SO,
        replace(config, name="", memory_file=None),
        layout,
        binary.identity,
        host_of(config.accel),
    )
    return _digest(facts)


def host_of(accel: str) -> str:
    """What a template was made on, as far as that matters: nothing under emulation, else kernel and processor."""
    if accel != "kvm":
        return ""
    return _digest((host_arch(), Path("/proc/sys/kernel/osrelease").read_text(), _processor()))


def _digest(facts: tuple[object, ...]) -> str:
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _processor() -> list[str]:
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return [line for line in lines if "MHz" not in line]
