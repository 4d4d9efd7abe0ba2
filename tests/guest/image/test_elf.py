from __future__ import annotations

import struct
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


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_is_read(order: str) -> None:
    assert elf.modinfo(a_module(order, depends="a,b"))["depends"] == ["a,b"]
    names = b"\0libc.so.6\0ld64.so.1\0"
    dynamic = b"".join(struct.pack(f"{order}QQ", *pair) for pair in ((1, 1), (5, 0), (1, 11)))
    program = an_elf({".dynamic": dynamic, ".dynstr": names, ".interp": b"/lib/ld64.so.1\0"}, order)
    assert elf.needed(program) == ["libc.so.6", "ld64.so.1"]
    assert elf.interpreter(program) == "/lib/ld64.so.1"


def test_a_section_that_is_not_there_is_empty() -> None:
    assert elf.section(an_elf({".text": b"x"}), b".modinfo") == b""


def test_what_is_not_elf_is_refused() -> None:
    with pytest.raises(ValueError, match="not a 64-bit"):
        elf.section(b"#!/bin/sh", b".text")


def test_a_cut_off_file_is_refused() -> None:
    with pytest.raises(ValueError, match="cut off"):
        elf.needed(PROGRAM[:1000])
