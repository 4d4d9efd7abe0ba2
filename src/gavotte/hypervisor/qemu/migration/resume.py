"""A machine that ran before, and stands still for a migration, runs again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from gavotte.errors import QmpRefused, SaveFailed
from gavotte.hypervisor.qemu.polling import growing_pauses, wait_for_news
from gavotte.qmp.client import Deadline, QmpClient

__all__ = ["LEFT_BY_MIGRATION", "go_on", "go_on_after_migration"]

LEFT_BY_MIGRATION: Final = frozenset({"postmigrate", "finish-migrate", "paused"})
"""Run states that a migration leaves a machine in; in any other, something else stopped it."""


async def go_on_after_migration(monitor: QmpClient) -> None:
    """Have a machine that ran before run again, if it is a migration that it stands still for."""
    with monitor.events("MIGRATION") as events:
        for pause in growing_pauses():
            status: Any = await monitor.execute("query-status")
            if status.get("status") != "finish-migrate":
                break
            await wait_for_news(events, pause)
        await go_on(monitor)


async def go_on(monitor: QmpClient) -> None:
    """Have a machine that ran before run again. QEMU refuses that for a moment after the end of the migration."""
    with monitor.events("RESUME") as events:
        try:
            async with asyncio.timeout(Deadline.NORMAL):
                for pause in growing_pauses(0.001, 0.1):
                    status: Any = await monitor.execute("query-status")
                    if status.get("status") not in LEFT_BY_MIGRATION:
                        return
                    with suppress(QmpRefused):
                        await monitor.execute("cont")
                        return
                    await wait_for_news(events, pause)
        except TimeoutError:
            raise SaveFailed("the machine doesn't go on", hint="resume it") from None
