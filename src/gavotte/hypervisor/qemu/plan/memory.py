"""A machine's processors and memory: what is there at the start, and the room to grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from gavotte.errors import Bug, Unsupported, UsageError
from gavotte.hypervisor.interface import Ability, MachineConfig, MemoryFile
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import Json, PropertyMap, Recipe, Step
from gavotte.text import size_text

if TYPE_CHECKING:
    from gavotte.qemu.schema import Schema

__all__ = [
    "BLOCK",
    "MEMORY",
    "VMEM",
    "Growth",
    "MemoryPlan",
    "growth_of",
    "plan_dimm",
    "plan_memory",
    "plan_vcpus",
]

Growth: TypeAlias = Literal["virtio-mem", "dimm", ""]
"""How a machine gets more memory while it runs: by one device that grows and shrinks, by DIMMs in slots, or not."""

VMEM: Final = "vmem0"  # the virtio-mem device
BLOCK: Final = 2 << 20  # its block; said, since the default depends on the host's pages, and a saved machine has to fit

MEMORY: Final = "memory"  # what the wire of the memory's file goes by
_RAM = "ram0"
_SLOTS = 16  # for DIMMs: one for each growth. Both the PC and pseries have room for more


class MemoryPlan(NamedTuple):
    """The parts of a machine file that are about memory: its section, options of the machine, objects and devices."""

    memory: PropertyMap
    machine: PropertyMap
    recipe: Recipe


def growth_of(row: Machine, schema: Schema) -> Growth:
    """How a machine of `row` can grow, on the binary of `schema`."""
    if row.virtio_mem and f"virtio-mem-{row.virtio}" in schema.devices:
        return "virtio-mem"
    return "dimm" if row.dimm and "pc-dimm" in schema.devices else ""


def plan_vcpus(config: MachineConfig) -> dict[str, Json]:
    """The section `smp`. Raises UsageError for none, and when the bound is below what there is at the start."""
    if config.vcpus < 1:  # QEMU would choose a number
        raise UsageError(f"{config.vcpus} vCPUs can't be", path="vcpus", hint="take 1 at least")
    if config.max_vcpus and config.max_vcpus < config.vcpus:
        raise UsageError(f"{config.max_vcpus} is less than the {config.vcpus} at the start", path="max_vcpus")
    if config.max_vcpus > config.vcpus:
        return {"cpus": config.vcpus, "maxcpus": config.max_vcpus}
    return {"cpus": config.vcpus}


def plan_memory(
    config: MachineConfig, row: Machine, growth: Growth = "", file: PropertyMap | None = None
) -> MemoryPlan:
    """The memory of `config`, with room up to `max_memory`. `file` says where the `memory_file` is.

    Raises UsageError for bounds that can't be, Unsupported when the machine can't grow.
    """
    size = _kib(config.memory, "memory")
    machine: dict[str, Json] = {}
    recipe: list[Step] = []
    if config.memory_file is not None:
        machine["memory-backend"] = _RAM
        recipe.append(_plan_file(config, config.memory_file, file))
    elif config.shared_memory:
        machine["memory-backend"] = _RAM
        recipe.append(_backend(_RAM, config.memory, shared=True))
    room = config.max_memory - config.memory if config.max_memory else 0
    _check_room(config, room, growth)
    if not room:
        return MemoryPlan({"size": size}, machine, tuple(recipe))
    memory: dict[str, Json] = {"size": size, "maxmem": _kib(config.max_memory, "max_memory")}
    if growth == "dimm":
        memory["slots"] = _SLOTS
    else:
        recipe += _virtio_mem(row, room, shared=config.shared_memory)
    return MemoryPlan(memory, machine, tuple(recipe))


def plan_dimm(id: str, size: int, *, shared: bool, place: Mapping[str, Json] | None = None) -> Recipe:
    """A DIMM of `size` bytes. `place` is its `slot` and `addr`, where they have to be the same as they were."""
    backend = f"{id}-ram"
    return (
        _backend(backend, size, shared=shared),
        Step("device", {"driver": "pc-dimm", "id": id, "memdev": backend, **(place or {})}),
    )


def _plan_file(config: MachineConfig, memory: MemoryFile, file: PropertyMap | None) -> Step:
    if config.shared_memory:
        raise UsageError(
            "a copy of a template's memory isn't shared", path="shared_memory", hint="leave one of both out"
        )
    if memory.fd is None:
        return _backend(_RAM, config.memory, shared=False)
    if file is None:
        raise Bug("the memory's file leads nowhere")
    props = {"qom-type": "memory-backend-file", "id": _RAM, "size": config.memory, "share": not memory.private, **file}
    return Step("object", props)


def _virtio_mem(row: Machine, room: int, *, shared: bool) -> Recipe:
    """The device has all its room from the start, and the guest gets none of it: no memory of the host is used yet."""
    backend = f"{VMEM}-ram"
    device = {"driver": f"virtio-mem-{row.virtio}", "id": VMEM, "memdev": backend}
    return (
        _backend(backend, room, shared=shared, reserve=False),
        Step("device", {**device, "block-size": BLOCK, "requested-size": 0}),
    )


def _backend(id: str, size: int, *, shared: bool, **more: Json) -> Step:
    kind: dict[str, Json] = {"qom-type": "memory-backend-ram"}
    if shared:
        kind = {"qom-type": "memory-backend-memfd", "share": True}
    return Step("object", {**kind, "id": id, "size": size, **more})


def _check_room(config: MachineConfig, room: int, growth: Growth) -> None:
    if room < 0:
        raise UsageError(
            f"{size_text(config.max_memory)} is less than {size_text(config.memory)} at the start", path="max_memory"
        )
    if room and not growth:
        raise Unsupported(
            Ability.ADD_MEMORY.value,
            f"a machine {config.machine} for {config.arch} can't have more memory than at the start with this QEMU",
            hint="leave out max_memory, and start it with all the memory that it needs",
        )
    if growth == "virtio-mem" and room % BLOCK:
        raise UsageError(
            f"it leaves {size_text(room)} to grow by, which isn't a multiple of {size_text(BLOCK)}",
            path="max_memory",
            hint=f"take {size_text(config.memory + room - room % BLOCK)}",
        )


def _kib(size: int, path: str) -> str:
    if size <= 0 or size % 1024:  # QEMU would take its own default for none
        raise UsageError(f"{size_text(size)} can't be", path=path, hint="take a multiple of 1024")
    return f"{size // 1024}K"
