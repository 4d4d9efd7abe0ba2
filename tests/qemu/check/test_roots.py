"""The buses that a machine has by itself, compared with the real ones."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from gavotte.qemu.binary import find_program
from gavotte.qemu.check.roots import ROOTS, Roots, find_roots
from tests.support.programs import DEADLINE

MACHINES = {
    ("x86_64", "pc-q35-"): "q35",
    ("x86_64", "pc-i440fx-"): "pc",
    ("x86_64", "microvm"): "microvm",
    ("aarch64", "virt-"): "virt",
    ("riscv64", "virt"): "virt",
    ("ppc64", "pseries-"): "pseries",
    ("s390x", "s390-ccw-virtio"): "s390-ccw-virtio",
}


def device_tree(target: str, machine: str) -> str:
    program = find_program(f"qemu-system-{target}")
    if program is None:
        pytest.skip(f"qemu-system-{target} isn't installed: make setup-arches")
    ask = {"execute": "human-monitor-command", "arguments": {"command-line": "info qtree"}}
    ended = subprocess.run(
        [program, "-machine", machine, "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"],
        input="\n".join(map(json.dumps, ({"execute": "qmp_capabilities"}, ask, {"execute": "quit"}))),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    answers = (json.loads(line).get("return") for line in ended.stdout.splitlines())
    return next(answer for answer in answers if isinstance(answer, str))


@pytest.mark.parametrize("row", ROOTS, ids=lambda row: f"{row.target}-{row.prefix}")
def test_a_row_names_the_buses_that_the_machine_has(row: Roots) -> None:
    tree = device_tree(row.target, MACHINES[row.target, row.prefix])
    buses = set(re.findall(r"bus: (\S+)", tree)) - {"main-system-bus"}
    assert set(row.buses) == buses
    addresses = {(int(slot, 16), int(function)) for slot, function in re.findall(r"addr = (\w+)\.(\d)", tree)}
    assert set(row.taken) <= addresses


def test_a_machine_with_more_buses_than_its_row_is_left_to_qemu() -> None:
    assert find_roots("pc-q35-7.2", "x86_64", {"usb": True}) is None
    assert find_roots("pc-q35-7.2", "x86_64", {"usb": False}) is not None
    assert find_roots("isapc", "x86_64", {}) is None
    assert find_roots("", "x86_64", {}) is None
