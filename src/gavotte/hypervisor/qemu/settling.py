"""What a manager that died had begun, finished or undone, so that the table says again what QEMU has.

Knows: how QEMU tells what it has. What was under way is known from the record.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from gavotte.errors import QmpRefused
from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.qemu.news import growing_pauses, wait_for_news
from gavotte.hypervisor.qemu.plan import tune
from gavotte.hypervisor.qemu.record import Pending, Record
from gavotte.hypervisor.qemu.table import Table
from gavotte.qemu.plug import unplug
from gavotte.qemu.plug.lent import label
from gavotte.qemu.props import Kind, Recipe, Step, plain
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.wire import Json

__all__ = ["settle_devices", "settle_run"]

# What lists all of a kind: a command, its arguments, and the key of the name.
_LISTS: Final[Mapping[Kind, tuple[str, dict[str, Json], str]]] = {
    "device": ("qom-list", {"path": "/machine/peripheral"}, "name"),
    "object": ("qom-list", {"path": "/objects"}, "name"),
    "chardev": ("query-chardev", {}, "label"),
    "blockdev": ("query-named-block-nodes", {"flat": True}, "node-name"),
}
_LENT: Final = label("")  # what the labels of our fd sets begin with

# Run states that a save leaves a machine in; in any other, something else stopped it.
_LEFT_BY_SAVE: Final = frozenset({"postmigrate", "finish-migrate", "paused"})
_UNDER_WAY: Final = frozenset({"setup", "active", "device", "pre-switchover", "wait-unplug", "cancelling"})
_DIMM_MEMORY: Final = re.compile(r"(dimm\d+)-ram")
_PAUSES: Final = (0.01, 0.25)


# --- whether it runs --------------------------------------------------------------------------------------------------


async def settle_run(client: QmpClient, record: Record) -> str:
    """QEMU's run state, once a start that was all but done is done, and a save that was under way is given up.

    "inmigrate" is a machine that was being loaded, for which nothing can be done.
    """
    await _end_save(client)
    status = await _status(client)
    if status == "prelaunch":
        await tune_devices(client, (*record.config.devices, *(each.device for each in record.table.placed.values())))
    if status == "prelaunch" or (record.saving and status in _LEFT_BY_SAVE):
        await client.execute("cont")
        return await _status(client)
    return status


async def _status(client: QmpClient) -> str:
    answer: Any = await client.execute("query-status", deadline=Deadline.QUICK)
    return str(answer["status"])


async def _end_save(client: QmpClient) -> None:
    pauses = growing_pauses(*_PAUSES)
    with client.events("MIGRATION") as events:
        while await _saves(client):
            with suppress(QmpRefused):
                await client.execute("migrate_cancel", deadline=Deadline.QUICK)
            await wait_for_news(events, next(pauses))


async def _saves(client: QmpClient) -> bool:
    if await _status(client) == "inmigrate":
        return False
    answer: Any = await client.execute("query-migrate", deadline=Deadline.QUICK)
    return answer.get("status") in _UNDER_WAY


# --- what it has ------------------------------------------------------------------------------------------------------


async def settle_devices(client: QmpClient, table: Table, pending: Pending | None, *, deadline: float) -> Table:
    """The table that is right, once what was pending is done or undone and what has gone meanwhile is tidied up.

    A plug is done when its device is there; else it is undone, but for a controller that came first, and stays. An
    unplug is done when its device has gone, and what is left of it is removed; else the device stays.

    Raises QemuError when QEMU doesn't let something go.
    """
    there = await _have(client, "device")
    if pending is not None:
        await _close_lent(client, pending.recipe)
        if pending.change == "plug":
            table = await _settle_plug(client, table, pending, there, deadline)
    for id, placed in table.placed.items():
        devices = _devices(placed.recipe)
        if devices and devices.isdisjoint(there):
            await _take_away(client, placed.recipe, deadline)
            table = table.without(id)
    await _free_sets(client, table.recipe())
    await _free_memory(client, there)
    return table


async def _settle_plug(
    client: QmpClient, table: Table, pending: Pending, there: frozenset[str], deadline: float
) -> Table:
    plugged = pending.table.placed[pending.id]
    if _devices(plugged.recipe) <= there:
        await tune_devices(client, [plugged.device])
        return pending.table
    await _take_away(client, plugged.recipe, deadline)
    controllers = pending.table.controllers.keys() - table.controllers.keys()
    return table if there.isdisjoint(controllers) else pending.table.without(pending.id)


async def tune_devices(client: QmpClient, devices: Iterable[Device]) -> None:
    """Say of devices what is said once they are there."""
    for device in devices:
        for command, arguments in tune(device):
            await client.execute(command, plain(arguments))


async def _take_away(client: QmpClient, recipe: Recipe, deadline: float) -> None:
    """Undo all steps, the last first, whichever are there."""
    for step in reversed(recipe):
        if step.kind == "netdev":  # QEMU doesn't tell which it has
            with suppress(QmpRefused):
                await unplug(client, (step,), deadline=deadline)
        elif _name(step) in await _have(client, step.kind):
            await _release(client, step, deadline)


async def _release(client: QmpClient, step: Step, deadline: float) -> None:
    """Undo a step. A device that is no longer listed may hold its back end a moment longer, until DEVICE_DELETED."""
    pauses = growing_pauses(*_PAUSES)
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline
    with client.events("DEVICE_DELETED") as events:
        while True:
            try:
                await unplug(client, (step,), deadline=deadline)
                return
            except QmpRefused:
                if loop.time() > until:
                    raise
            await wait_for_news(events, next(pauses))


async def _have(client: QmpClient, kind: Kind) -> frozenset[str]:
    """The names of all of a kind that QEMU has."""
    command, arguments, key = _LISTS[kind]
    listing: Any = await client.execute(command, arguments, deadline=Deadline.QUICK)
    return frozenset(entry.get(key, "") for entry in listing)


def _name(step: Step) -> str:
    return str(step.props.get("node-name" if step.kind == "blockdev" else "id"))


def _devices(recipe: Recipe) -> frozenset[str]:
    return frozenset(_name(step) for step in recipe if step.kind == "device")


async def _close_lent(client: QmpClient, recipe: Recipe) -> None:
    """Close what was lent by name and not taken; a name of the recipe's that QEMU doesn't have is no matter."""
    for step in recipe:
        for fd in step.fds:
            with suppress(QmpRefused):
                await client.execute("closefd", {"fdname": fd.name}, deadline=Deadline.QUICK)


async def _free_sets(client: QmpClient, used: Recipe) -> None:
    """Close what was lent in fd sets and belongs to no step of `used`."""
    labels = {label(fd.name) for step in used for fd in step.fds}
    listing: Any = await client.execute("query-fdsets", deadline=Deadline.QUICK)
    for fdset in listing:
        for member in fdset["fds"]:
            opaque = member.get("opaque", "")
            if opaque.startswith(_LENT) and opaque not in labels:
                with suppress(QmpRefused):
                    await client.execute("remove-fd", {"fdset-id": fdset["fdset-id"], "fd": member["fd"]})


async def _free_memory(client: QmpClient, there: frozenset[str]) -> None:
    """Remove what was to be the memory of a DIMM that never came, or has gone; see `plan_dimm`."""
    for name in await _have(client, "object"):
        found = _DIMM_MEMORY.fullmatch(name)
        if found and found[1] not in there:
            with suppress(QmpRefused):
                await client.execute("object-del", {"id": name})
