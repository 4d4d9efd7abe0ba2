"""Detached sandboxes: what it costs to ask for one, and to take one over; and the memory of its keeper."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import gavotte
from bench.cold import Setting
from bench.hypervisor import Monitor, beside, timed
from bench.memory import proportional
from bench.rows import Row
from gavotte.faces.loop import call
from gavotte.hypervisor.qemu.vm import QemuVm

__all__ = ["measure"]

NAME = "bench"
KEEPER_BOUND = 25  # MB, proportional set size


def measure(setting: Setting, rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Start one detached sandbox and one kept machine, in a run directory of their own. Calls `tick` after each."""
    with tempfile.TemporaryDirectory(prefix="gv") as folder, patch.dict(os.environ, {"GAVOTTE_RUN_DIR": folder}):
        rows = detached(setting, rounds)
        tick()
        rows += taken_over(setting, rounds, Path(folder))
        tick()
    return rows


def detached(setting: Setting, rounds: int) -> list[Row]:
    """`ps` and `exec` as whole processes, beside an interpreter that does nothing; a keeper's memory."""
    qemu, *_, accel = setting
    gavotte_("run", "-q", "-d", "--qemu", qemu, "--accel", accel, "--name", NAME)
    try:
        gavotte_("exec", NAME, "--", "true")  # the first one is slower: code is translated in the guest
        listing = [timed(gavotte_, "ps") for _ in range(rounds)]
        executing = [timed(gavotte_, "exec", NAME, "--", "true") for _ in range(rounds)]
        nothing = [timed(run, sys.executable, "-c", "pass") for _ in range(rounds)]
        pid = json.loads(gavotte_("ps", "--json"))[0]["keeper"]
        size = proportional(pid) / 1e6
    finally:
        gavotte_("rm", "-f", NAME)
    return [
        beside("`ps`, beside `python -c pass`", listing, nothing),
        beside("`exec -- true` of a detached sandbox, beside `python -c pass`", executing, nothing),
        Row("memory of one keeper", f"{size:.1f} MB PSS", f"<= {KEEPER_BOUND} MB", size <= KEEPER_BOUND),
    ]


def taken_over(setting: Setting, rounds: int, folder: Path) -> list[Row]:
    """A kept machine, attached to again and again, beside a bare QMP connection to it."""
    qemu, *_, accel = setting
    box = gavotte.Sandbox(qemu=qemu, accel=accel, keep=True, name=NAME)
    box.start()
    box.detach()
    ours, bare = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        vm = call(QemuVm.attach(folder / NAME))
        ours.append(time.perf_counter() - began)
        call(vm.detach())
        bare.append(timed(connect, folder / NAME / "vm.monitor.sock"))
    gavotte.Sandbox.attach(NAME).close()
    return [beside("re-attach to a machine, beside a QMP connection", ours, bare)]


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.fspath(path))
        Monitor(sock).execute("query-status")


def gavotte_(*words: str) -> str:
    return run(sys.executable, "-m", "gavotte.faces.cli", *words)


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=300).stdout
