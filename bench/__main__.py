"""`python -m bench`: the numbers of SPEC.md, measured here and now."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import gavotte
from bench import burst, clone, cold, density, detached, floods, hypervisor, maps, qmp, running
from bench.rows import Row
from gavotte.errors import HostError
from gavotte.guest.image import find_image
from gavotte.qemu.binary import find_qemu

QMP_BOUNDS = {"async": 1.6, "sync": 2.3}
PARTS = ("cold", "clone", "burst", "density", "qmp", "maps", "running", "floods", "hypervisor", "detached")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table. A bound that doesn't hold is shown, not a failure: machines are noisy."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Gavotte beside bare QEMU.")
    parser.add_argument("--rounds", type=int, default=5, help="boots of each kind, and repetitions of the rest (5)")
    parser.add_argument("--accel", default="auto", help="auto, kvm or tcg")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw samples there")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    here = setting(options.accel)
    tick = lambda: print(".", end="", file=sys.stderr, flush=True)  # noqa: E731
    parts: dict[str, Callable[[], list[Row]]] = {
        "cold": lambda: cold.measure(here, options.rounds, tick),
        "clone": lambda: clone.measure(here, options.rounds, tick),
        "burst": lambda: burst.measure(here, options.rounds, tick),
        "density": lambda: density.measure(here, options.rounds, tick),
        "qmp": qmp_rows,
        "maps": lambda: maps.measure(options.rounds, tick),
        "running": lambda: running.measure(here, options.rounds, tick),
        "floods": lambda: floods.measure(options.rounds, tick),
        "hypervisor": lambda: hypervisor.measure(here, options.rounds, tick),
        "detached": lambda: detached.measure(here, options.rounds, tick),
    }
    rows = [row for part in options.only or PARTS for row in parts[part]()]
    print(file=sys.stderr)
    show(rows, here)
    if options.json:
        options.json.write_text(json.dumps({row.what: row.samples for row in rows if row.samples}, indent=1) + "\n")
    return 0


def setting(accel: str) -> cold.Setting:
    """What both sides run on. Boots one guest, so that files and verdicts are warm for all that follow."""
    image = find_image()
    if image is None:
        raise HostError("there is no guest image", hint="gavotte image build")
    qemu = str(find_qemu().path)
    with gavotte.Sandbox(qemu=qemu, accel=accel) as box:
        return qemu, str(image.kernel), str(image.initrd), str(image.rootfs), box.accel


def qmp_rows() -> list[Row]:
    """Round trips over QMP, ours and qemu.qmp's, as ratios to a raw socket's."""
    medians = qmp.measure()
    rows = []
    for name in ("async", "sync", "qemu.qmp"):
        times = medians[name] / medians["raw"]
        text = f"{times:.2f} x raw: {medians[name] * 1e6:.0f} / {medians['raw'] * 1e6:.0f} µs"
        samples = {"median s": [medians[name]], "raw median s": [medians["raw"]]}
        if name in QMP_BOUNDS:
            bound = QMP_BOUNDS[name]
            holds = times <= bound and medians[name] < medians["qemu.qmp"]
            rows.append(Row(f"QMP round trip, {name}", text, f"<= {bound} x raw, below qemu.qmp", holds, samples))
        else:
            rows.append(Row(f"QMP round trip, {name}", text, samples=samples))
    return rows


def show(rows: Sequence[Row], here: cold.Setting) -> None:
    from rich.console import Console
    from rich.table import Table

    cpus, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    table = Table(title=f"{cpus} CPUs, {here[-1]}, load {load:.1f}; median (smallest to largest)", title_justify="left")
    for heading in ("what", "measured", "bound", "holds"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        word = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.holds]
        table.add_row(row.what, row.measured, row.bound, word)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    sys.exit(main())
