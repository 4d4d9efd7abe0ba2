"""Waiting where an event may be late, or tell too little."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from gavotte.qmp.events import EventStream
from gavotte.qmp.wire import Event

__all__ = ["growing_pauses", "wait_for_news"]


async def wait_for_news(events: EventStream, seconds: float) -> Event | None:
    """The next of `events`; None after `seconds`, and at once when the connection has ended."""
    with suppress(TimeoutError, StopAsyncIteration):
        async with asyncio.timeout(seconds):
            return await anext(events)
    return None


def growing_pauses(first: float = 0.005, most: float = 0.25) -> Iterator[float]:
    """Seconds to wait before asking again: short ones at first, and never more than `most`."""
    while True:
        yield first
        first = min(first * 1.5, most)
