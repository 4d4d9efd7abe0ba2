from __future__ import annotations

from pathlib import Path

import pytest

from gavotte.guest.image import elf
from tests.guest.image.making import a_module, an_elf

PROGRAM = Path("/bin/sh").read_bytes()


def test_a_program_of_this_host_names_its_libraries_and_loader() -> None:
    assert any(name.startswith("libc.so") for name in elf.needed(PROGRAM))
    assert Path(elf.interpreter(PROGRAM)).exists()


def test_a_module_says_what_it_depends_on() -> None:
    assert elf.modinfo(a_module(depends="a,b", name="x"))["depends"] == ["a,b"]


def test_a_section_that_is_not_there_is_empty() -> None:
    assert elf.section(an_elf({".text": b"x"}), b".modinfo") == b""


def test_what_is_not_elf_is_refused() -> None:
    with pytest.raises(ValueError, match="not a 64-bit"):
        elf.section(b"#!/bin/sh", b".text")


def test_a_cut_off_file_is_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        elf.needed(PROGRAM[:1000])
