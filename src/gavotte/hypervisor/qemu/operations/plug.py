"""Devices that come and go: the state of the machine decides whether that is cold or hot.

Cold, a device gets its place, and its steps when the machine is started. Hot, QEMU is told the same steps, and what
was done is undone when one fails. A place is free again when its device has gone for sure: until then it is plugged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gavotte.errors import GavotteError, InvalidMachine, QemuError, QmpRefused, StateError, UsageError
from gavotte.hypervisor.devices import Device, Disk, Raw
from gavotte.hypervisor.interface import Ability, VmState, abilities_for
from gavotte.hypervisor.operation_lock import run_shielded
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, PORTS, SCSI, Wire, plan_device, tune
from gavotte.hypervisor.qemu.plan.memory import VMEM
from gavotte.hypervisor.qemu.plan.names import check_id
from gavotte.hypervisor.qemu.record import Pending
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.plug import has_step, plug, unplug
from gavotte.qemu.props import PropertyMap, Recipe, plain
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.wire import Event

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.lifecycle import QemuLifecycle
    from gavotte.hypervisor.qemu.vm import QemuVm
    from gavotte.qemu.schema import Schema

__all__ = ["Departures", "plug_device", "unplug_device", "wire_plugged"]

_RESERVED: Final = frozenset({CONSOLE, MONITOR, PORTS, SCSI, VMEM})

_SLOTS: Final = frozenset({"pcie", "pci", "ccw"})

# The buses whose devices go when the guest lets them; others are just taken away.
_ASKS_THE_GUEST: Final = frozenset({"pcie", "pci"})


async def plug_device(vm: QemuVm, device: Device, deadline: float) -> None:
    """Add it; see `Plugging.plug`. For a block that has the turn, before the start or after it."""
    hot = vm.state is not VmState.CREATED
    _check_id(vm, device.id)
    schema = await vm.schema()
    vm.capabilities().require(*abilities_for(device))
    vm.wiring.check(device, hot=hot)
    table, place = vm.table.place(device, vm.row, schema)
    if hot and table.kind_of_place(device.id) in _SLOTS:
        vm.capabilities().require(Ability.PLUG)
    if hot:
        await _plug_hot(vm, device, table, place, deadline)
    else:
        _check_cold(vm, device, place, schema)
        vm.table = table.with_device(device, ())


async def unplug_device(vm: QemuVm, id: str, deadline: float) -> None:
    """Remove it; see `Plugging.unplug`. For a block that has the turn, before the start or after it."""
    if id not in vm.table.devices:
        raise _not_plugged(vm, id)
    if vm.state is VmState.PAUSED and vm.table.kind_of_place(id) in _ASKS_THE_GUEST:
        raise StateError(f"{id!r} goes when the guest lets it, and the guest is paused", hint="resume it first")
    if vm.state is VmState.CREATED:
        vm.table = vm.table.without(id)
    else:
        await _take_away(vm, id, deadline)


async def wire_plugged(vm: QemuLifecycle, ledger: FdLedger) -> Table:
    """The table of a machine that is about to be started with `ledger`, with the steps that make its devices.

    Raises what `Wiring.cold` does.
    """
    wires: dict[str, Wire] = {}
    for id, placed in vm.table.placed.items():
        wire = await vm.wiring.cold(placed.device, ledger)
        if wire is not None:
            wires[id] = wire
    return vm.table.planned(vm.row, wires, vm.config.name)


class Departures:
    """Hears of devices that have gone, and frees what they had: of those that go by themselves, or late."""

    def __init__(self, vm: QemuVm) -> None:
        self._vm = vm
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, event: Event) -> None:
        """Take an event of QEMU's in."""
        id = event.data.get("device")
        if event.name == "DEVICE_DELETED" and isinstance(id, str) and id in self._vm.table.placed:
            task = asyncio.get_running_loop().create_task(self._tidy_up(id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """The connection has ended: there is nothing to be freed in QEMU."""

    async def _tidy_up(self, id: str) -> None:
        """When it is our turn, `unplug` may have done it, and another device may have that id."""
        with suppress(GavotteError):  # the machine ends; or QEMU keeps a back end, and a later `unplug` says why
            async with self._vm.changing("tidy up"):
                placed = self._vm.table.placed.get(id)
                if placed and not await has_step(self._vm.monitor, placed.recipe[-1]):
                    await _take_away(self._vm, id, Deadline.NORMAL)


# --- hot --------------------------------------------------------------------------------------------------------------


async def _plug_hot(vm: QemuVm, device: Device, table: Table, place: PropertyMap, deadline: float) -> None:
    client = vm.monitor
    wire = await vm.wiring.hot(device)
    try:
        recipe = plan_device(device, vm.row, place, wire, machine=vm.config.name)
        table = table.with_device(device, recipe)
        steps = _in_order(recipe, [steps for id, steps in table.controllers.items() if id not in vm.table.controllers])
        schema = await vm.schema(hot=_drivers(steps))
        vm.save_state(Pending("plug", device.id, steps, table))
    except BaseException:
        await run_shielded(vm.wiring.drop(device.id))
        raise
    try:
        await _whole(_tell(client, device, steps, schema, deadline), _take_back(client, steps, deadline))
    except BaseException as error:
        told = None if client.closed or isinstance(error, InvalidMachine) else client
        await run_shielded(_after_failure(vm, told, device, steps, table, min(deadline, Deadline.QUICK)))
        if isinstance(error, QemuError):
            _explain(error, vm, device)
        raise
    vm.table = table
    vm.wiring.settle(device.id)
    vm.save_state()


async def _tell(client: QmpClient, device: Device, steps: Recipe, schema: Schema, deadline: float) -> None:
    await plug(client, steps, schema, deadline=deadline)
    try:
        for command, arguments in tune(device):
            await client.execute(command, plain(arguments), deadline=deadline)
    except BaseException:
        await _take_back(client, steps, deadline)
        raise


async def _take_back(client: QmpClient, steps: Recipe, deadline: float) -> None:
    with suppress(QemuError):  # what remains is found by who looks after a failure
        await unplug(client, steps, deadline=min(deadline, Deadline.QUICK))


async def _after_failure(
    vm: QemuVm, client: QmpClient | None, device: Device, steps: Recipe, table: Table, deadline: float
) -> None:
    """Make the table right: what QEMU still has, or may have, is in it, and can be unplugged. Without a client, QEMU
    has none of it."""
    left = await _left_of(client, steps, deadline) if client else ()
    if left is None or any(step in table.placed[device.id].recipe for step in left):
        vm.table = table
        vm.wiring.settle(device.id)
    else:
        await vm.wiring.drop(device.id)
        if left:  # a controller, for the next device
            vm.table = table.without(device.id)
    vm.save_state()


async def _left_of(client: QmpClient, steps: Recipe, deadline: float) -> Recipe | None:
    """The steps that QEMU still has; None when it doesn't tell."""
    try:
        return tuple([step for step in steps if await has_step(client, step, deadline=deadline)])
    except QemuError:
        return None


def _explain(error: QemuError, vm: QemuVm, device: Device) -> None:
    """QEMU doesn't always name the file that it means."""
    if isinstance(device, Disk) and str(device.path) not in error.message:
        error.message = f"{device.path}: {error.message}"
        error.args = (error.message,)
    if device.id in vm.table.placed:
        error.hint = f"{device.id!r} may still be there: unplug it"


async def _take_away(vm: QemuVm, id: str, deadline: float) -> None:
    recipe, table = vm.table.placed[id].recipe, vm.table.without(id)
    vm.save_state(Pending("unplug", id, recipe, table))
    try:
        await unplug(vm.monitor, recipe, deadline=deadline)
        vm.table = table
        await run_shielded(vm.wiring.drop(id))
    except QmpRefused as error:
        error.hint = error.hint or "the guest may be busy with it: try again in some seconds"
        raise
    finally:
        vm.save_state()


async def _whole(work: Coroutine[Any, Any, None], undo: Coroutine[Any, Any, None]) -> None:
    """Await `work`, which undoes what it did when it fails. A cancellation of the caller's reaches it once, so that it
    undoes all; when it comes too late for that, `undo` does."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        await run_shielded(_end_of(task))
        if not task.cancelled() and task.exception() is None:
            await run_shielded(undo)
        raise
    finally:
        undo.close()


async def _end_of(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


def _in_order(recipe: Recipe, controllers: list[Recipe]) -> Recipe:
    """Controllers come after the back ends, which fail more often, and so before the device that sits on them."""
    front = next(index for index, step in enumerate(recipe) if step.kind == "device")
    return (*recipe[:front], *(step for steps in controllers for step in steps), *recipe[front:])


def _drivers(steps: Recipe) -> set[str]:
    return {str(step.props.get("driver")) for step in steps if step.kind == "device"}


# --- what can be told beforehand --------------------------------------------------------------------------------------


def _check_id(vm: QemuVm, id: str) -> None:
    check_id(id)
    hint = "give it another id"
    if id in vm.table.placed:
        raise UsageError(f"{id!r} is plugged already", path="id", hint=f"unplug that first, or {hint}")
    if any(id == device.id for device in vm.config.devices):
        raise UsageError(f"{id!r} is one of the machine's own devices", path="id", hint=hint)
    if id in _RESERVED or any(id == step.props["id"] for step in vm.table.fixed()):
        raise UsageError(f"{id!r} is a part of the machine", path="id", hint=hint)


def _not_plugged(vm: QemuVm, id: str) -> UsageError:
    if any(id == device.id for device in vm.config.devices):
        hint = "what is to go again has to be plugged"
        return UsageError(f"{id!r} is one of the machine's own devices, which stay", path="id", hint=hint)
    known = ", ".join(vm.table.devices)
    hint = f"there are {known}" if known else "nothing is plugged"
    return UsageError(f"no device {id!r} is plugged", path="id", hint=hint)


def _check_cold(vm: QemuVm, device: Device, place: PropertyMap, schema: Schema) -> None:
    """Raises now what the machine's start would raise; what the device leads to is known only then."""
    recipe = plan_device(device, vm.row, place, Wire({}), machine=vm.config.name)
    if isinstance(device, Raw):
        from gavotte.qemu.check import check_step

        for step in recipe:
            check_step(step, schema)
