"""What a manager that died had begun, finished or undone, so that the table says again what QEMU has.

Knows: how QEMU tells what it has. What was under way is known from the record.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final

from gavotte.errors import QmpRefused
from gavotte.hypervisor.qemu.devices.settings import tune_devices
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.migration.resume import LEFT_BY_MIGRATION
from gavotte.hypervisor.qemu.polling import growing_pauses, wait_for_news
from gavotte.hypervisor.qemu.record import Pending, Record
from gavotte.qemu.plug import unplug
from gavotte.qemu.plug.lent import label
from gavotte.qemu.plug.presence import name_of, names_of
from gavotte.qemu.props import Recipe
from gavotte.qmp.client import Deadline, QmpClient

__all__ = ["settle_devices", "settle_run"]

_LENT: Final = label("")  # what the labels of our fd sets begin with
_UNDER_WAY: Final = frozenset({"setup", "active", "device", "pre-switchover", "wait-unplug", "cancelling"})
_DIMM_MEMORY: Final = re.compile(r"(dimm\d+)-ram")


# --- whether it runs --------------------------------------------------------------------------------------------------


async def settle_run(client: QmpClient, record: Record) -> str:
    """QEMU's run state, once a start that was all but done is done, and a save that was under way is given up.

    "inmigrate" is a machine that was being loaded, for which nothing can be done.
    """
    await _end_save(client)
    status = await _status(client)
    if status == "prelaunch":
        await tune_devices(client, (*record.config.devices, *(each.device for each in record.table.placed.values())))
    if status == "prelaunch" or (record.saving and status in LEFT_BY_MIGRATION):
        await client.execute("cont")
        return await _status(client)
    return status


async def _status(client: QmpClient) -> str:
    answer: Any = await client.execute("query-status", deadline=Deadline.QUICK)
    return str(answer["status"])


async def _end_save(client: QmpClient) -> None:
    pauses = growing_pauses()
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
    there = await names_of(client, "device")
    if pending is not None:
        await _close_lent(client, pending.recipe)
        if pending.change == "plug":
            table = await _settle_plug(client, table, pending, there, deadline)
    for id, placed in table.placed.items():
        devices = _devices(placed.recipe)
        if devices and devices.isdisjoint(there):
            await unplug(client, placed.recipe, deadline=deadline)
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
    await unplug(client, plugged.recipe, deadline=deadline)
    controllers = pending.table.controllers.keys() - table.controllers.keys()
    return table if there.isdisjoint(controllers) else pending.table.without(pending.id)


def _devices(recipe: Recipe) -> frozenset[str]:
    return frozenset(name_of(step) for step in recipe if step.kind == "device")


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
    for name in await names_of(client, "object"):
        found = _DIMM_MEMORY.fullmatch(name)
        if found and found[1] not in there:
            with suppress(QmpRefused):
                await client.execute("object-del", {"id": name})
