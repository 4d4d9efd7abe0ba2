"""Cold start: from the API call to the first byte that a command writes, beside the same by hand."""

from __future__ import annotations

import time
from collections.abc import Callable

import gavotte
from bench.bare import cold_start
from bench.rows import Row, ratio, spread

__all__ = ["Setting", "measure"]

BOUND = 1.10

Setting = tuple[str, str, str, str, str]
"""What both sides run on: QEMU binary, kernel, initramfs, root file system, accelerator."""


def measure(setting: Setting, rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Boot `rounds` guests each way, taking turns at going first. Calls `tick` after each round."""
    samples: dict[str, list[float]] = {"gavotte s": [], "bare s": [], "close s": []}
    for number in range(rounds):
        for who in ("gavotte", "bare") if number % 2 else ("bare", "gavotte"):
            if who == "bare":
                samples["bare s"].append(cold_start(*setting))
            else:
                start_ours(setting, samples)
        tick()
    times = ratio(samples["gavotte s"], samples["bare s"])
    text = f"{times:.3f} x bare: {spread(samples['gavotte s'], 1, 's')} / {spread(samples['bare s'], 1, 's')}"
    return [
        Row("cold start to first output", text, f"<= {BOUND:.2f} x bare", times <= BOUND, samples),
        Row("shutdown, one idle sandbox", spread(samples["close s"], 1000, "ms")),
    ]


def start_ours(setting: Setting, samples: dict[str, list[float]]) -> None:
    qemu, _kernel, _initrd, _rootfs, accel = setting
    began = time.perf_counter()
    box = gavotte.Sandbox(qemu=qemu, accel=accel, cold=True)
    try:
        box.start()
        with box.spawn(["echo", "hello"]) as process:
            process.stdout.read(1)
            samples["gavotte s"].append(time.perf_counter() - began)
            process.wait(timeout=60)
    finally:
        began = time.perf_counter()
        box.close()
        samples["close s"].append(time.perf_counter() - began)
