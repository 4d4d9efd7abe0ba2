"""Which device types `device_add` takes while a machine runs.

No query tells it, so `device_add` itself is tried, in a process without a machine and on a bus that isn't there. QEMU
looks at the class before it looks for the bus (qdev_device_add_from_qdict in qdev-monitor.c): when its refusal names
our bus, the class may be plugged. A refused try takes QEMU 60 ms, because it waits for its RCU thread (drain_call_rcu
in qmp_device_add), so this is asked only of the types that somebody wants to plug, and remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gavotte.errors import OutcomeUnknown, QmpNotSent, QmpRefused
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema.probe import asked
from gavotte.qmp.client import QmpClient

__all__ = ["learn_pluggable"]

_NO_BUS = "gavotte-no-such-bus"
_AT_ONCE = 8  # processes; they wait more than they work
_EACH = 8  # types at least, since a start takes as long as one or two of them


async def learn_pluggable(binary: QemuBinary, names: Sequence[str]) -> dict[str, bool]:
    """Gives whether each of these device types can be plugged, 60 ms for each; no entry where QEMU didn't answer.

    Raises QemuError and HostError as `asked` does.
    """
    count = max(1, min(_AT_ONCE, len(names) // _EACH))
    found: dict[str, bool] = {}
    async with asyncio.TaskGroup() as group:
        for part in range(count):
            group.create_task(_learn_some(binary, names[part::count], found))
    return found


async def _learn_some(binary: QemuBinary, names: Sequence[str], found: dict[str, bool]) -> None:
    async with asked(binary) as client:
        for name in names:
            try:
                found[name] = await _takes(client, name)
            except (OutcomeUnknown, QmpNotSent):
                return


async def _takes(client: QmpClient, name: str) -> bool:
    try:
        await client.execute("device_add", {"driver": name, "bus": _NO_BUS})
    except QmpRefused as refused:
        return _NO_BUS in refused.desc
    return True
