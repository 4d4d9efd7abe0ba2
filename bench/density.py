"""Many clones alive at once: whether each one more costs what the one before it did, in time and in memory."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import gavotte
from bench.cold import Setting
from bench.memory import available, proportional
from bench.plot import Panel, Series, draw
from bench.rows import Row, median
from gavotte.faces.loop import call

__all__ = ["PLOT", "measure"]

PLOT = Path(__file__).parents[1] / "docs/density.svg"

EACH = 10  # clones for each round
FULL = 50  # with so many, the plot is kept
AT_ONCE = 2
MEMORY = "256M"
TIME_BOUND = 1.5  # times what it took when there were few
FIRST = slice(5, 15)  # the first ones find caches cold
OFF_BOUND = 0.05  # of the memory that all have, that a sum may be off the line

Point = tuple[float, float]


@dataclass
class Seen:
    """What was seen: seconds by the number of clones that were alive before, bytes by how many are alive."""

    starts: list[Point] = field(default_factory=list)
    sums: list[Point] = field(default_factory=list)
    drops: list[Point] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)  # seconds of a command
    among: list[float] = field(default_factory=list)  # the same, when all are alive


def measure(setting: Setting, rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Start ten for each round, two at a time. Calls `tick` after each ten."""
    qemu, *_, accel = setting
    count = EACH * rounds
    seen: Seen = call(start_all(qemu, accel, count, tick))
    if count >= FULL:
        PLOT.write_text(draw(panels(seen)), encoding="utf-8")
    return [time_row(seen, count), memory_row(seen), drop_row(seen), exec_row(seen, count)]


async def start_all(qemu: str, accel: str, count: int, tick: Callable[[], None]) -> Seen:
    seen = Seen()
    boxes: list[gavotte.AsyncSandbox] = []
    async with gavotte.AsyncSandbox(qemu=qemu, accel=accel, memory=MEMORY) as first:  # the template is there, and read
        await commands(first, EACH)
        seen.alone += await commands(first, EACH)
    async with AsyncExitStack() as stack:
        before = available()
        while len(boxes) < count:
            alive = len(boxes)
            pair = [gavotte.AsyncSandbox(qemu=qemu, accel=accel, memory=MEMORY) for _ in range(AT_ONCE)]
            for box in pair:
                stack.push_async_callback(box.close)
            seen.starts += [(alive, seconds) for seconds in await asyncio.gather(*map(start, pair))]
            boxes += pair
            seen.drops.append((len(boxes), before - available()))
            if len(boxes) % EACH == 0:
                seen.sums.append((len(boxes), sum([proportional((await box.vm.pids())["qemu"]) for box in boxes])))
                tick()
        await commands(boxes[0], EACH)
        seen.among += await commands(boxes[0], EACH)
        await asyncio.gather(*(box.close() for box in boxes))
    return seen


async def start(box: gavotte.AsyncSandbox) -> float:
    """Seconds to the end of a first command."""
    began = time.perf_counter()
    await box.start()
    await box.run(["true"], timeout=120)
    return time.perf_counter() - began


async def commands(box: gavotte.AsyncSandbox, count: int) -> list[float]:
    """Seconds of commands, one after the other."""
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        await box.run(["true"], timeout=120)
        seconds.append(time.perf_counter() - began)
    return seconds


def time_row(seen: Seen, count: int) -> Row:
    seconds = [second for _, second in seen.starts]
    few, many = median(seconds[FIRST] or seconds), median(seconds[-EACH:])
    text = f"{many / few:.2f} x: {many * 1000:.0f} / {few * 1000:.0f} ms"
    what = f"start among {count} clones, two at a time, beside the 6th to the 15th"
    return Row(what, text, f"<= {TIME_BOUND} x", many <= TIME_BOUND * few, {"start s": seconds})


def memory_row(seen: Seen) -> Row:
    slope, off = fit(seen.sums)
    share = off / seen.sums[-1][1]
    text = f"{slope / 1e6:.1f} MB for each, {seen.sums[-1][1] / 1e6:.0f} MB for {seen.sums[-1][0]}; off by {share:.1%}"
    bound = f"within {OFF_BOUND:.0%} of a line"
    return Row("memory of clones (PSS)", text, bound, share <= OFF_BOUND, {"PSS": [size for _, size in seen.sums]})


def drop_row(seen: Seen) -> Row:
    slope, _ = fit(seen.drops)
    text = f"{slope / 1e6:.1f} MB for each, {seen.drops[-1][1] / 1e6:.0f} MB for {seen.drops[-1][0]}"
    return Row("memory that the host has less (MemAvailable)", text, samples={"drop": [size for _, size in seen.drops]})


def exec_row(seen: Seen, count: int) -> Row:
    text = f"{median(seen.among) * 1000:.0f} ms among {count}, {median(seen.alone) * 1000:.0f} ms alone"
    return Row("exec among many clones", text, samples={"among s": seen.among, "alone s": seen.alone})


def fit(points: Sequence[Point]) -> tuple[float, float]:
    """The slope of the line through the points, and how far at most one of them is off it (least squares)."""
    if len(points) < 2:
        return points[0][1] / points[0][0], 0.0
    xs, ys = zip(*points, strict=True)
    slope, base = statistics.linear_regression(xs, ys)
    return slope, max(abs(y - base - slope * x) for x, y in points)


def panels(seen: Seen) -> list[Panel]:
    starts = [(alive, seconds * 1000) for alive, seconds in seen.starts]
    sums, drops = ([(alive, size / 1e6) for alive, size in points] for points in (seen.sums, seen.drops))
    return [
        Panel(
            "Start to the end of a first command, two at a time, in ms", "clones alive before", [Series("each", starts)]
        ),
        Panel(
            f"Memory of guests of {MEMORY}, in MB",
            "clones alive",
            [
                Series("PSS of all, shared pages divided", [(0, 0), *sums], line=True),
                Series("MemAvailable that the host has less", drops),
            ],
        ),
    ]
