"""Taking back what QEMU was told, one thing at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from gavotte.errors import OutcomeUnknown, QemuError, QmpRefused, UnplugRefused
from gavotte.qemu.plug.actions import Action
from gavotte.qemu.plug.lent import label
from gavotte.qemu.plug.presence import is_there
from gavotte.qemu.props import Fd
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.events import EventStream
from gavotte.qmp.wire import Json

__all__ = ["Removal", "ask_to_go", "forgive", "remove_device", "remove_sets"]

_DELETED = "DEVICE_DELETED"
_GUEST_ERROR = "DEVICE_UNPLUG_GUEST_ERROR"
_NOT_FOUND = "DeviceNotFound"

# QEMU has no class for this refusal (qdev_unplug in system/qdev-monitor.c), so its words have to do.
_PENDING = "already in the process of unplug"


class Removal:
    """Takes actions back, for the time of a `with`. What is gone already is no error.

    A device that isn't found any more may still be on its way out: QEMU frees it later (device_finalize in
    hw/core/qdev.c), and says so by its event. Until then its back ends are in use.
    """

    def __init__(self, client: QmpClient) -> None:
        self._client = client
        self._departures: EventStream = client.events(_DELETED)
        self._leaving = False

    async def undo(self, action: Action, deadline: float) -> None:
        """Gives up after `deadline` seconds. Raises QmpRefused, UnplugRefused, QmpNotSent, OutcomeUnknown."""
        try:
            await self._tell(action, deadline)
        except QmpRefused:
            if not self._leaving:
                raise
            await self._departure(deadline)
            await self._tell(action, deadline)
        await remove_sets(self._client, action.sets, deadline)

    async def _tell(self, action: Action, deadline: float) -> None:
        try:
            if action.kind == "device":
                await remove_device(self._client, action.id, deadline=deadline)
            else:
                await self._client.execute(action.undo, action.target, deadline=deadline)
        except QmpRefused as error:
            if error.error_class == _NOT_FOUND:
                self._leaving |= action.kind == "device"
            elif await is_there(self._client, action.kind, action.id, deadline=deadline) is not False:
                raise

    async def _departure(self, deadline: float) -> None:
        self._leaving = False
        with suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(min(deadline, Deadline.QUICK)):
                await anext(self._departures)

    def __enter__(self) -> Removal:
        self._departures.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._departures.__exit__(None, None, None)


async def remove_device(client: QmpClient, id: str, *, deadline: float = Deadline.NORMAL) -> None:
    """Asks for the removal of a device and returns when it is gone (the event DEVICE_DELETED).

    If its removal was asked for before, this waits for that one.

    Raises QmpRefused; UnplugRefused, when it is the guest who refuses; QmpNotSent; OutcomeUnknown when it isn't gone
    within `deadline` seconds.
    """
    with client.events(_DELETED, _GUEST_ERROR) as events:  # before the command: the event may come with its answer
        try:
            async with asyncio.timeout(deadline):
                await ask_to_go(client, id)
                async for event in events:
                    if event.data.get("device") == id:
                        if event.name == _GUEST_ERROR:
                            raise UnplugRefused(id)
                        return
        except TimeoutError:
            late = OutcomeUnknown("device_del", f"{id!r} is not gone after {deadline:g} s")
            late.hint = "it goes when a guest that runs agrees; try again, or give it more time"
            raise late from None
    raise OutcomeUnknown("device_del", f"the connection ended before {id!r} was gone")


async def ask_to_go(client: QmpClient, id: str) -> None:
    """Asks for the removal of a device, unless that was done before. Raises what `execute` does."""
    try:
        await client.execute("device_del", {"id": id})
    except QmpRefused as error:
        if _PENDING not in error.desc:
            raise


async def remove_sets(client: QmpClient, fds: Sequence[Fd], deadline: float) -> None:
    """Closes the members of fd sets that are ours by their label; QEMU holds on to those that are in use."""
    labels = {label(fd.name) for fd in fds}
    if not labels:
        return
    listing = await forgive(client, "query-fdsets", {}, deadline)
    for fdset in listing if isinstance(listing, list) else ():
        match fdset:
            case {"fdset-id": int(number), "fds": [{"fd": int(fd), "opaque": str(opaque)}]} if opaque in labels:
                await forgive(client, "remove-fd", {"fdset-id": number, "fd": fd}, deadline)


async def forgive(client: QmpClient, command: str, arguments: dict[str, Json], deadline: float) -> Json:
    """Sends a command that tidies up; that it fails (QEMU took the fd, the connection ended) matters to nobody."""
    try:
        return await client.execute(command, arguments, deadline=min(deadline, Deadline.QUICK))
    except QemuError:
        return None
