"""Copies of a template: from the call, or from the shell, to a command's output; and the memory that one takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gavotte
from bench.bare_clone import BareClone, Template, first_output
from bench.cold import Setting
from bench.memory import private
from bench.rows import Row, median, p99, pair, ratio
from gavotte.faces.loop import call
from gavotte.sandbox.template.store import templates_directory

__all__ = ["measure"]

BOUND = 1.15
COLD_BOUND = 12
PROCESS_BOUND = 0.150  # seconds
POOL_BOUND = 1.5
MEMORY_BOUND = 1.10

EACH = 4  # clones of each kind in a round: they take a tenth of what a boot takes
ECHO = ["echo", "hello"]
SIZES = {"512M": "512M", "256M": "256M", "1G": "1G"}  # the default, one with a template of its own, one that grows
GROWTH = {"1G": (1 << 30) - (256 << 20)}  # bytes that are plugged into a copy of the template with 256M

Samples = dict[str, list[float]]


def measure(setting: Setting, rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Start clones each way, in turns. Calls `tick` after each round."""
    qemu, *_, accel = setting
    options = {"qemu": qemu, "accel": accel}
    with ExitStack() as stack:
        opened = {size: stack.enter_context(Template(find(options, size))) for size in ("512M", "256M")}
        rows = starts(setting, opened, options, rounds, tick)
        rows += processes(setting, options, rounds, tick)
        rows += pool(options, rounds, tick)
        rows += memory(setting, opened["256M"], options, rounds)
        tick()
    return rows


def find(options: dict[str, Any], memory: str) -> Path:
    """The directory of the template for sandboxes of that size, which is made if it isn't there."""

    async def key() -> str:
        async with gavotte.AsyncSandbox(**options, memory=memory) as box:
            if not box.template:
                raise RuntimeError(f"a sandbox of {memory} is no copy of a template: {box.cold_reason}")
            return box.template

    return templates_directory() / call(key())


# --- starts -----------------------------------------------------------------------------------------------------------


def starts(
    setting: Setting, opened: dict[str, Template], options: dict[str, Any], rounds: int, tick: Callable[[], None]
) -> list[Row]:
    """To the first byte of output, clones of each size beside bare ones, and ours that boot."""
    ours: Samples = {size: [] for size in SIZES}
    bare: Samples = {size: [] for size in SIZES}
    cold = []
    for number in range(EACH * rounds):
        for size in SIZES:
            for who in ("gavotte", "bare") if number % 2 else ("bare", "gavotte"):
                if who == "gavotte":
                    ours[size].append(first_byte(**options, memory=size))
                else:
                    template = opened["256M" if size in GROWTH else size]
                    bare[size].append(first_output(template, setting, GROWTH.get(size, 0)))
        cold.append(first_byte(**options, cold=True))
        if number % EACH == 0:
            tick()
    rows = [start_row(size, ours[size], bare[size]) for size in SIZES]
    return [rows[0], cold_row(ours["512M"], cold), *rows[1:]]


def first_byte(**options: Any) -> float:
    """Seconds from the call to the first byte that a command writes."""
    began = time.perf_counter()
    with gavotte.Sandbox(**options) as box:
        return began_to_output(box, began)


def began_to_output(box: gavotte.Sandbox, began: float) -> float:
    with box.spawn(ECHO) as process:
        process.stdout.read(1)
        seconds = time.perf_counter() - began
        process.wait(timeout=60)
    return seconds


def start_row(size: str, ours: list[float], bare: list[float]) -> Row:
    times = ratio(ours, bare)
    what = f"clone of {size}{', which is plugged in part,' if size in GROWTH else ''} to first output"
    text = f"{times:.2f} x bare: {pair(ours, bare)}"
    samples = {"gavotte s": ours, "bare s": bare}
    return Row(what, text, f"<= {BOUND} x bare clone", times <= BOUND, samples)


def cold_row(ours: list[float], cold: list[float]) -> Row:
    times = ratio(cold, ours)
    text = f"{times:.1f} x as fast: {pair(ours, cold)}"
    return Row("the same, beside a cold start", text, f">= {COLD_BOUND} x", times >= COLD_BOUND, {"cold s": cold})


# --- a process of its own ---------------------------------------------------------------------------------------------


def processes(setting: Setting, options: dict[str, Any], rounds: int, tick: Callable[[], None]) -> list[Row]:
    """`gavotte run -- true` as a whole, its interpreter's start included, beside a bare clone from nothing to the end
    of `true`. Either maps the template's file; only ours has the machine shut down in its time. Its byte code is kept,
    as that of an installed program is, whatever the bench itself was told."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    argv = [str(Path(sys.executable).with_name("gavotte")), "run", "-q", *words, "--", "true"]
    subprocess.run(argv, env=environment, check=True, stdin=subprocess.DEVNULL, timeout=300)
    ours, bare = [], []
    with Template(find(options, "512M"), sealed=False) as template:
        for number in range(EACH * rounds):
            for who in ("gavotte", "bare") if number % 2 else ("bare", "gavotte"):
                began = time.perf_counter()
                if who == "gavotte":
                    subprocess.run(argv, env=environment, check=True, stdin=subprocess.DEVNULL, timeout=300)
                    ours.append(time.perf_counter() - began)
                else:
                    with BareClone(template, *setting) as guest:
                        guest.prepare()
                        guest.finish(2, ["true"])
                        bare.append(time.perf_counter() - began)
            if number % EACH == 0:
                tick()
    more = median(ours) - median(bare)
    text = f"bare + {more * 1000:.0f} ms: {pair(ours, bare)}"
    bound = f"<= bare clone + {PROCESS_BOUND * 1000:.0f} ms"
    samples = {"gavotte s": ours, "bare s": bare}
    return [Row("`gavotte run -q -- true`", text, bound, more <= PROCESS_BOUND, samples)]


# --- one from the pool ------------------------------------------------------------------------------------------------


def pool(options: dict[str, Any], rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Handed over and its first output, beside a command in a guest that runs. All are there before one is taken."""
    what, bound = "hand-over from a pool to first output", f"<= {POOL_BOUND} x an exec"
    make: Any = getattr(gavotte, "Pool", None)
    if make is None:
        return [Row(what, "skipped: there is no gavotte.Pool", bound)]
    ours, running = [], []
    with gavotte.Sandbox(**options) as box, make(size=2, **options) as filled:
        for _ in range(EACH):  # code is translated when it first runs
            began_to_output(box, time.perf_counter())
        for _ in range(EACH * rounds):
            filled.ready(timeout=300)
            running.append(began_to_output(box, time.perf_counter()))
            began = time.perf_counter()
            with filled.acquire() as taken:
                ours.append(began_to_output(taken, began))
        tick()
    times = ratio(ours, running)
    text = f"{times:.2f} x: {pair(ours, running)}"
    return [Row(what, text, bound, times <= POOL_BOUND, {"gavotte s": ours, "exec s": running})]


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(setting: Setting, template: Template, options: dict[str, Any], rounds: int) -> list[Row]:
    """What an idle clone has for itself alone. Some of each kind are there at once, or what they share with each other
    would seem to be one's own; each has run a command, which is when all that it needed is there."""
    ours, bare = [], []
    with ExitStack() as stack:
        boxes, guests = [], []
        for _ in range(EACH * rounds):
            boxes.append(stack.enter_context(gavotte.Sandbox(**options, memory="256M")))
            boxes[-1].run(["true"], timeout=60)
            guests.append(stack.enter_context(BareClone(template, *setting)))
            guests[-1].prepare()
            guests[-1].finish(2, ["true"])
        ours = [private(call(box.vm.pids())["qemu"]) / 1e6 for box in boxes]
        bare = [private(guest.process.pid) / 1e6 for guest in guests]
    times = ratio(ours, bare)
    text = f"{times:.2f} x bare: {median(ours):.1f} (p99 {p99(ours):.1f}) / {median(bare):.1f} (p99 {p99(bare):.1f}) MB"
    samples = {"gavotte MB": ours, "bare MB": bare}
    bound = f"<= {MEMORY_BOUND:.2f} x bare clone"
    return [Row("private memory of an idle clone of 256M", text, bound, times <= MEMORY_BOUND, samples)]
