"""What a machine can do: from what its binary says, its machine type, its accelerator, and what it was made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from gavotte.errors import Bug
from gavotte.hypervisor.interface import Ability, Capabilities, MachineConfig
from gavotte.hypervisor.qemu.migration.incoming import IGNORE_SHARED
from gavotte.hypervisor.qemu.plan import growth_of
from gavotte.qemu.machines import Machine
from gavotte.qemu.schema import Array, Enum, Schema

__all__ = ["VSOCK", "capabilities_of"]

VSOCK: Final = Path("/dev/vhost-vsock")

_Why: TypeAlias = Callable[[MachineConfig, Machine, Schema], str]
"""Why an ability is missing; empty when it is there."""

# On s390x, QEMU adds processors and removes none (s390_machine_device_unplug_request in hw/s390x/s390-virtio-ccw.c). It
# says itself whether a machine gets any.
# Seen with 7.2 (any change of the memory map after it) and 10.0 (more threads started than `maxcpus`) under TCG: it
# doesn't unregister a processor's memory listener, or give back its context (tcg_register_thread in tcg/tcg.c).
_REMOVES_VCPUS = ("x86_64", "ppc64")


def capabilities_of(config: MachineConfig, row: Machine, schema: Schema) -> Capabilities:
    """Each ability that is missing, with the reason. Looks at the host for nothing but vhost-vsock."""
    found = {ability: why(config, row, schema) for ability, why in _REASONS.items()}
    if len(found) != len(Ability):
        raise Bug("an ability has no rule")
    return Capabilities({ability: reason for ability, reason in found.items() if reason})


def _needs(*commands: str) -> _Why:
    def why(_config: MachineConfig, _row: Machine, schema: Schema) -> str:
        lacking = next((name for name in commands if schema.command(name) is None), "")
        return f"this QEMU has no command {lacking!r}" if lacking else ""

    return why


def _device(name: str) -> _Why:
    """`name` may have `{virtio}` in it, which stands for how the machine carries virtio devices."""

    def why(_config: MachineConfig, row: Machine, schema: Schema) -> str:
        type = name.format(virtio=row.virtio)
        return "" if schema.device(type) else f"this QEMU has no device {type!r}"

    return why


def _plug(config: MachineConfig, row: Machine, _schema: Schema) -> str:
    if not row.hotplug:
        return f"a machine {config.machine} takes no devices while it runs; choose another machine type"
    return "" if config.slots else "the machine was made without places for devices; give it slots"


def _add_vcpus(config: MachineConfig, _row: Machine, schema: Schema) -> str:
    machine = schema.machine(config.machine)
    if machine is None or not machine.hot_cpus:
        return f"a machine {config.machine} for {config.arch} has the processors that it was started with"
    return "" if config.max_vcpus > config.vcpus else "the machine was made without room for more; give it max_vcpus"


def _remove_vcpus(config: MachineConfig, row: Machine, schema: Schema) -> str:
    reason = _add_vcpus(config, row, schema)
    if not reason and config.arch not in _REMOVES_VCPUS:
        return f"QEMU adds processors to a machine {config.machine}, and removes none"
    if not reason and config.accel == "tcg":
        return "QEMU's emulator ends, or corrupts its memory, some time after it; take them offline in the guest"
    return reason


def _add_memory(config: MachineConfig, row: Machine, schema: Schema) -> str:
    if not growth_of(row, schema):
        return f"a machine {config.machine} for {config.arch} has the memory that it was started with"
    return "" if config.max_memory > config.memory else "the machine was made without room for more; give it max_memory"


def _virtiofs(config: MachineConfig, row: Machine, schema: Schema) -> str:
    reason = _device("vhost-user-fs-{virtio}")(config, row, schema)
    return reason or ("" if config.shared_memory else "the machine's memory isn't shared; give it shared_memory")


def _vsock(config: MachineConfig, row: Machine, schema: Schema) -> str:
    reason = _device("vhost-vsock-{virtio}")(config, row, schema)
    return reason or ("" if VSOCK.exists() else f"this host has no {VSOCK}; modprobe vhost_vsock")


def _on_pci(name: str) -> _Why:
    """A device that sits on PCI, for machines whose guests use that."""

    def why(config: MachineConfig, row: Machine, schema: Schema) -> str:
        if row.virtio != "pci":
            return f"a machine {config.machine} has no place for a {name!r}"
        return _device(name)(config, row, schema)

    return why


def _clone(config: MachineConfig, row: Machine, schema: Schema) -> str:
    if not row.clones:
        return f"copies of a machine {config.machine} for {config.arch} weren't seen to work"
    if config.shared_memory:
        return "the machine's memory is shared with other processes; leave out shared_memory"
    if IGNORE_SHARED not in _migration_capabilities(schema):
        return "this QEMU can't leave the memory out of a machine's state"
    return "" if schema.object("memory-backend-file") else "this QEMU can't have its memory in a file"


def _migration_capabilities(schema: Schema) -> Sequence[str]:
    command = schema.command("migrate-set-capabilities")
    if command is None:
        return ()
    listed = schema.type(schema.struct(command.arguments).members["capabilities"].type)
    element = schema.struct(listed.element) if isinstance(listed, Array) else None
    words = schema.type(element.members["capability"].type) if element else None
    return words.values if isinstance(words, Enum) else ()


def _balloon(config: MachineConfig, row: Machine, schema: Schema) -> str:
    if config.memory_file is not None and config.memory_file.private:
        # ram_block_discard_range punches holes into the file, also into one that is mapped privately (7.2, 10.0)
        return "the machine's memory is a copy of a file, and a balloon would empty the file; start it cold"
    return _device("virtio-balloon-{virtio}")(config, row, schema)


def _watchdog(config: MachineConfig, row: Machine, schema: Schema) -> str:
    return _device("diag288" if row.virtio == "ccw" else "i6300esb")(config, row, schema)


def _vmgenid(config: MachineConfig, row: Machine, schema: Schema) -> str:
    """QEMU tells of it in an ACPI table (docs/specs/vmgenid), which the small machine doesn't have."""
    if row.type == "microvm":
        return f"a machine {config.machine} has no ACPI table for it"
    return _device("vmgenid")(config, row, schema)


_REASONS: Final[dict[Ability, _Why]] = {
    Ability.PAUSE: _needs("stop", "cont"),
    Ability.RESET: _needs("system_reset", "set-action"),
    Ability.SAVE: _needs("migrate", "migrate-incoming"),
    Ability.CLONE: _clone,
    Ability.PLUG: _plug,
    Ability.ADD_VCPUS: _add_vcpus,
    Ability.REMOVE_VCPUS: _remove_vcpus,
    Ability.ADD_MEMORY: _add_memory,
    Ability.REMOVE_MEMORY: _add_memory,
    Ability.SHARE_9P: _device("virtio-9p-{virtio}"),
    Ability.SHARE_VIRTIOFS: _virtiofs,
    Ability.VSOCK: _vsock,
    Ability.VMGENID: _vmgenid,
    Ability.PVPANIC: _on_pci("pvpanic-pci"),
    Ability.WATCHDOG: _watchdog,
    Ability.BALLOON: _balloon,
    Ability.DUMP: _needs("dump-guest-memory", "query-memory-size-summary"),
    Ability.STATISTICS: _needs("query-stats"),
}
