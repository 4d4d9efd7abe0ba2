"""The table of options, held against real binaries."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gavotte.qemu.binary import find_qemu
from gavotte.qemu.imports import import_argv
from gavotte.qemu.imports.options import FLAGS, VALUED
from tests.support.binaries import BINARIES
from tests.support.programs import DEADLINE

ASK = '{"execute":"qmp_capabilities"}\n{"execute":"query-command-line-options"}\n{"execute":"quit"}\n'


@pytest.mark.parametrize("qemu", BINARIES)
def test_options_that_a_binary_lists_take_a_value(qemu: Path | None) -> None:
    path = find_qemu().path if qemu is None else qemu
    argv = [str(path), "-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    said = subprocess.run(argv, input=ASK, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout
    answers = [json.loads(line) for line in said.splitlines()]
    listed = next(answer["return"] for answer in answers if isinstance(answer.get("return"), list))
    names = {entry["option"] for entry in listed} - {"", "acpi", "memory", "smp-opts", "boot-opts"}
    assert len(names) > 20
    assert names <= VALUED


@pytest.mark.parametrize("name", sorted(FLAGS & {"S", "usb", "nographic", "snapshot", "no-reboot", "preconfig"}))
def test_a_flag_takes_no_value(name: str) -> None:
    """Or QEMU would say that it wants one: the last word is what it stumbles over."""
    argv = [str(find_qemu().path), f"-{name}", "-frobnicate"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, check=False).stderr
    assert "-frobnicate: invalid option" in said


@pytest.mark.parametrize("name", sorted(VALUED))
def test_an_option_with_a_value_swallows_the_next_word_or_is_unknown(name: str) -> None:
    argv = [str(find_qemu().path), f"-{name}"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, check=False).stderr
    assert f"-{name}: requires an argument" in said or f"-{name}: invalid option" in said


def test_two_hundred_options_become_two_hundred_maps() -> None:
    argv = ["qemu-system-x86_64"]
    for number in range(100):
        argv += ["-device", f"virtio-blk-pci,id=d{number},drive=b{number}", "-blockdev", f"null-co,node-name=b{number}"]
    document = import_argv(argv)
    assert [len(maps) for maps in document.values() if isinstance(maps, list)] == [100, 100]
