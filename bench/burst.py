"""A burst of requests to a pool: that they are served in a line, a few machines at once, and at which rate."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import gavotte
from bench.cold import Setting
from bench.rows import Row, median
from gavotte.faces.loop import call

__all__ = ["measure"]

EACH = 40  # requests for each round
BOUND = 4  # machines at once, for each processor
SIZE = 8


def measure(setting: Setting, rounds: int, tick: Callable[[], None]) -> list[Row]:
    """All requests at once, each for a sandbox of its own. Calls `tick` at the end."""
    qemu, *_, accel = setting
    row: Row = call(burst(EACH * rounds, qemu=qemu, accel=accel))
    tick()
    return [row]


async def burst(count: int, **options: Any) -> Row:
    waits: list[float] = []
    most = running = 0

    async def one(began: float) -> None:
        nonlocal most, running
        async with pool.acquire() as box:
            running += 1
            most = max(most, running)
            (await box.run(["true"], timeout=120)).check()
            waits.append(time.perf_counter() - began)
            running -= 1

    async with gavotte.AsyncPool(SIZE, **options) as pool:
        began = time.perf_counter()
        await asyncio.gather(*(one(began) for _ in range(count)))
    rate = count / max(waits)
    text = f"{most} in use at once; {rate:.1f} a second, half of them within {median(waits):.0f} s"
    what, bound = f"{count} requests at once on a pool of {SIZE}", f"<= {BOUND} in use for each processor"
    return Row(what, text, bound, most <= BOUND * len(os.sched_getaffinity(0)), {"wait s": waits})
