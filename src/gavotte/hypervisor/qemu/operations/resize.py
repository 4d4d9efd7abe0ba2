"""More and fewer processors, more and less memory, while the machine runs.

Nothing is remembered here: what there is, is asked of QEMU each time. What is reported is what was reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from gavotte.errors import QmpRefused, UsageError
from gavotte.hypervisor.interface import Ability, MachineConfig, Memory
from gavotte.hypervisor.operation_lock import run_shielded
from gavotte.hypervisor.qemu.plan.memory import VMEM, plan_dimm
from gavotte.hypervisor.qemu.polling import growing_pauses, wait_for_news
from gavotte.qemu.machines import Machine
from gavotte.qemu.plug import plug
from gavotte.qemu.plug.presence import is_there
from gavotte.qemu.plug.removal import ask_to_go
from gavotte.qemu.props import Json, Recipe, Step
from gavotte.qmp import wire
from gavotte.qmp.client import QmpClient
from gavotte.qmp.wire import Event
from gavotte.text import size_text
from gavotte.values import dataclass

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.vm import QemuVm

__all__ = ["read_growth", "read_memory", "request_memory", "resize_memory", "resize_vcpus"]

_VCPU: Final = "vcpu"  # what the ids of our processors begin with; boot processors have none
_DIMM: Final = "dimm"
_OURS: Final = "/machine/peripheral/"  # where QEMU has the devices that were given an id
_VMEM_PATH: Final = _OURS + VMEM

_DELETED = "DEVICE_DELETED"
_REFUSED = "DEVICE_UNPLUG_GUEST_ERROR"
_OST = "ACPI_DEVICE_OST"
_SIZE_CHANGED = "MEMORY_DEVICE_SIZE_CHANGE"

# ACPI 6.5, section 6.3.5 (_OST): the answer to an ejection request, and that it is under way
_EJECTION = 3
_IN_PROGRESS = 0x84

_LONGEST_PAUSE = 0.1  # seconds


# --- processors -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """A place for a processor, or for several that come together, as QEMU lists it. `id` is empty for boot processors.

    `present` tells whether there is one in it.
    """

    index: int
    type: str
    count: int
    props: Mapping[str, Json]
    present: bool
    id: str

    @property
    def step(self) -> Step:
        return Step("device", {"driver": self.type, "id": self.id or f"{_VCPU}{self.index}", **self.props})


async def resize_vcpus(vm: QemuVm, wanted: int, deadline: float) -> int:
    """Add processors, the lowest first, or remove those that were added, the last first; how many there are then.

    They go when the guest lets them: fewer than asked for may have gone after `deadline` seconds, or when it refuses.

    Raises UsageError, with the bounds, and Unsupported before anything happened; QmpRefused.
    """
    config, monitor = vm.config, vm.monitor
    most = max(config.max_vcpus, config.vcpus)
    if not config.vcpus <= wanted <= most:
        raise UsageError(
            f"{wanted} vCPUs can't be: from {config.vcpus}, with which {config.name} was started, up to {most}",
            path="cpus",
            hint="start it with a larger max_vcpus" if wanted > most else "those of the start can't be removed",
        )
    if wanted > config.vcpus:
        vm.capabilities().require(Ability.ADD_VCPUS)
    places = await _places(monitor) if most > config.vcpus else []
    now = sum(place.count for place in places if place.present) or config.vcpus
    if wanted < now:
        vm.capabilities().require(Ability.REMOVE_VCPUS)
    until = asyncio.get_running_loop().time() + deadline
    for place in places:
        if not place.present and now + place.count <= wanted:
            await plug(monitor, (place.step,))
            now += place.count
    for place in reversed(places):
        if place.id and now - place.count >= wanted:
            if not await _let_go(monitor, place.id, until):
                break
            now -= place.count
    return now


async def _places(monitor: QmpClient) -> list[_Place]:
    """The lowest first."""
    listing: Any = await monitor.execute("query-hotpluggable-cpus")
    listing.sort(key=lambda entry: sorted(entry["props"].items()))  # QEMU's own order has changed before
    return [
        _Place(index, entry["type"], entry["vcpus-count"], entry["props"], "qom-path" in entry, _own_id(entry))
        for index, entry in enumerate(listing)
    ]


def _own_id(entry: Mapping[str, Any]) -> str:
    path = str(entry.get("qom-path", ""))
    return path.removeprefix(_OURS) if path.startswith(_OURS) else ""


async def _let_go(monitor: QmpClient, id: str, until: float) -> bool:
    """Ask for a device's removal; whether it has gone by then. False at once when the guest says no.

    QEMU tells of a processor's end (DEVICE_DELETED) when nothing refers to it any more, which may be never; so that it
    has gone is asked for.
    """
    with monitor.events(_DELETED, _REFUSED, _OST) as events:
        await ask_to_go(monitor, id)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                for pause in growing_pauses(most=_LONGEST_PAUSE):
                    if not await is_there(monitor, "device", id):
                        return True
                    event = await wait_for_news(events, pause)
                    if event is not None and _is_refusal(event, id):
                        return False
    return not await is_there(monitor, "device", id)


def _is_refusal(event: Event, id: str) -> bool:
    match event.name, event.data:
        case "DEVICE_UNPLUG_GUEST_ERROR", {"device": device}:
            return device == id
        case "ACPI_DEVICE_OST", {"info": {"device": device, "source": source, "status": int(status)}}:
            return device == id and source == _EJECTION and status not in (0, _IN_PROGRESS)
    return False


# --- memory -----------------------------------------------------------------------------------------------------------


async def read_memory(monitor: QmpClient, config: MachineConfig, row: Machine) -> Memory:
    """The guest's memory as QEMU has it (query-memory-size-summary, query-memory-devices)."""
    summary: Any = await monitor.execute("query-memory-size-summary")
    base = int(summary["base-memory"])
    block, requested = row.dimm, 0
    for kind, data in await _memory_devices(monitor):
        if kind == "virtio-mem":
            block = int(data["block-size"])
        requested += int(data["requested-size" if kind == "virtio-mem" else "size"])
    return Memory(
        base=base,
        plugged=int(summary.get("plugged-memory", 0)),
        requested=requested,
        limit=max(config.max_memory, base),
        block=block if config.max_memory > base else 0,
    )


async def resize_memory(vm: QemuVm, size: int, deadline: float) -> int:
    """Make the guest's memory `size` bytes, as far as it takes and gives; what it is then.

    With virtio-mem, what the guest didn't take or give within `deadline` seconds isn't asked for any longer. DIMMs are
    taken at once; they are given back whole, and only those that the guest can do without.

    Raises UsageError, with the bounds or the step, and Unsupported before anything happened; QmpRefused.
    """
    config, monitor = vm.config, vm.monitor
    memory = await read_memory(monitor, config, vm.row)
    _check_size(config, memory, size)
    if size > memory.base:
        vm.capabilities().require(Ability.ADD_MEMORY)
    if size < memory.total:
        vm.capabilities().require(Ability.REMOVE_MEMORY)
    until = asyncio.get_running_loop().time() + deadline
    if size != memory.total or memory.requested != memory.plugged:
        if any(kind == "virtio-mem" for kind, _ in await _memory_devices(monitor)):
            await _ask_virtio_mem(monitor, size - memory.base, until)
        elif size > memory.total:
            await _add_dimm(monitor, config, size - memory.total)
        else:
            await _remove_dimms(monitor, memory.total - size, until)
    return (await read_memory(monitor, config, vm.row)).total


def _check_size(config: MachineConfig, memory: Memory, size: int) -> None:
    if not memory.base <= size <= memory.limit:
        above = size > memory.limit
        raise UsageError(
            f"{size_text(size)} can't be: from {size_text(memory.base)}, with which {config.name} was started, "
            f"up to {size_text(memory.limit)}",
            path="memory",
            hint="start it with a larger max_memory" if above else "what it was started with can't be removed",
        )
    over = (size - memory.base) % memory.block if memory.block else 0
    if over:
        raise UsageError(
            f"{size_text(size)} can't be: memory comes in steps of {size_text(memory.block)}",
            path="memory",
            hint=f"take {size_text(size - over)}"
            + (f" or {size_text(size - over + memory.block)}" if size - over + memory.block <= memory.limit else ""),
        )


async def _ask_virtio_mem(monitor: QmpClient, wanted: int, until: float) -> None:
    """Request the size and wait for it. The event comes at most once a second, so the size is asked for in between."""
    try:
        with monitor.events(_SIZE_CHANGED) as events:
            await request_memory(monitor, wanted)
            async with asyncio.timeout_at(until):
                for pause in growing_pauses(most=_LONGEST_PAUSE):
                    if await _vmem_size(monitor) == wanted:
                        return
                    await wait_for_news(events, pause)
    except TimeoutError:
        await run_shielded(_ask_no_longer(monitor))
    except asyncio.CancelledError:
        await run_shielded(_ask_no_longer(monitor))
        raise


async def _ask_no_longer(monitor: QmpClient) -> None:
    """What is, is what is wanted: the guest's driver would go on trying for ever."""
    await request_memory(monitor, await _vmem_size(monitor))


async def request_memory(monitor: QmpClient, size: int) -> None:
    """Have virtio-mem ask the guest to take so many bytes in all; not waited for."""
    arguments: dict[str, wire.Json] = {"path": _VMEM_PATH, "property": "requested-size", "value": size}
    await monitor.execute("qom-set", arguments)


async def _vmem_size(monitor: QmpClient) -> int:
    size: Any = await monitor.execute("qom-get", {"path": _VMEM_PATH, "property": "size"})
    return int(size)


async def _add_dimm(monitor: QmpClient, config: MachineConfig, size: int) -> None:
    taken = {data.get("id") for kind, data in await _memory_devices(monitor) if kind == "dimm"}
    id = next(id for number in count() if (id := f"{_DIMM}{number}") not in taken)
    try:
        await plug(monitor, plan_dimm(id, size, shared=config.shared_memory))
    except QmpRefused as error:
        error.hint = error.hint or "each growth takes a slot of its own: grow in fewer, larger steps"
        raise


async def _remove_dimms(monitor: QmpClient, surplus: int, until: float) -> None:
    """The last first, without going below what was asked for."""
    for kind, data in reversed(await _memory_devices(monitor)):
        id, size = str(data.get("id", "")), int(data.get("size", 0))
        if kind == "dimm" and id.startswith(_DIMM) and size <= surplus:
            if not await _let_go(monitor, id, until):
                return
            await monitor.execute("object-del", {"id": f"{id}-ram"})
            surplus -= size


async def _memory_devices(monitor: QmpClient) -> list[tuple[str, dict[str, Any]]]:
    """Kind and data of each, by address, which is the order in which they were added."""
    listing: Any = await monitor.execute("query-memory-devices")
    return sorted(((entry["type"], entry["data"]) for entry in listing), key=lambda each: _address(each[1]))


def _address(data: Mapping[str, Any]) -> int:
    return int(data.get("addr", data.get("memaddr", 0)))


# --- both -------------------------------------------------------------------------------------------------------------


async def read_growth(monitor: QmpClient, config: MachineConfig) -> Recipe:
    """The steps that make what was added to the machine since its start, for one that is to be just like it."""
    recipe: list[Step] = []
    if config.max_vcpus > config.vcpus:
        recipe += [place.step for place in await _places(monitor) if place.id]
    for kind, data in await _memory_devices(monitor):
        if kind == "dimm":
            place = {"slot": data["slot"], "addr": data["addr"]}
            recipe += plan_dimm(str(data["id"]), int(data["size"]), shared=config.shared_memory, place=place)
    return tuple(recipe)
