"""Commands that are to come to an end of their own, before their machine ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable

from gavotte.errors import GuestError
from gavotte.guest.command import AsyncProcess

__all__ = ["AFTERWARDS", "end_commands"]

AFTERWARDS = 2.0  # seconds in which the end of a command that had to be killed is seen


async def end_commands(commands: Iterable[AsyncProcess], number: int, grace: float) -> None:
    """Send signal `number` to each command, and wait until all have ended; those that go on after `grace` seconds get
    SIGKILL. The end of one whose output nobody reads isn't seen."""
    left = list(commands)
    for seconds, sent in ((grace, number), (AFTERWARDS, signal.SIGKILL)):
        ends = {asyncio.ensure_future(_end(command, sent)): command for command in left}
        if not ends:
            return
        try:
            await asyncio.wait(ends, timeout=seconds)
            left = [command for end, command in ends.items() if not end.done()]
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)


async def _end(command: AsyncProcess, number: int) -> None:
    try:
        await command.send_signal(number)
        await command.wait()
    except GuestError:
        pass  # its guest has gone, or gives no sign of life
