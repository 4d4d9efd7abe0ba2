"""Processes found by what is on their command line, whoever started them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from tests.support.programs import wait_for_end

__all__ = ["expect_none_of", "processes_of", "wait_for_ends"]


def processes_of(name: str) -> list[int]:
    """The pids of the QEMUs of the machine `name` that run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            dead = (entry / "stat").read_bytes().rpartition(b") ")[2][:1] in (b"Z", b"X")
        except OSError:  # it ended while we looked
            continue
        values = [value for word, value in itertools.pairwise(words) if word == b"-name"]
        if not dead and any(name.encode() in value.replace(b"=", b",").split(b",") for value in values):
            found.append(int(entry.name))
    return found


def expect_none_of(name: str) -> None:
    """Returns when no QEMU of that machine runs; one that was killed takes a moment. Raises TimeoutError."""
    wait_for_ends(processes_of(name))


def wait_for_ends(pids: Iterable[int]) -> None:
    """Returns when none of them runs. Raises TimeoutError."""
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            wait_for_end(pid, pidfd)
        finally:
            os.close(pidfd)
