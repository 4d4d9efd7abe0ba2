"""In which order several processes that share the tests take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["LONGEST", "longest_first"]

TESTS = Path(__file__).parents[1]

# The files that take longest and those with the longest tests, found by --durations. None of them is left to one
# process when the others are through.
LONGEST = (
    "faces/test_run.py",
    "sandbox/test_commands.py",
    "qemu/test_conformance.py",
    "faces/test_detached_life.py",
    "sandbox/test_lifecycle.py",
    "faces/test_run_terminal.py",
    "test_gates.py",
    "faces/test_cli.py",
    "faces/test_headstart_cli.py",
    "faces/test_detached.py",
    "hypervisor/qemu/operations/test_resize.py",
    "sandbox/test_sweep_vm.py",
    "qemu/imports/test_corpus.py",
    "hypervisor/qemu/devices/test_cold.py",
    "hypervisor/qemu/takeover/test_attach_faults.py",
    "guest/test_machine.py",
    "guest/test_agent_hostile.py",
)


def longest_first(items: list[pytest.Item]) -> None:
    """Sort them so that those files lead; all else stays as it is."""
    ranks = {file: rank for rank, file in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(os.path.relpath(item.path, TESTS), len(ranks)))
