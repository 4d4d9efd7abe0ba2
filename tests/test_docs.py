"""docs/machine-files.md: its examples are what it says, and no section is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gavotte.qemu.document import document_to_argv, parse_document
from gavotte.qemu.sections import SECTIONS

TEXT = (Path(__file__).parents[1] / "docs/machine-files.md").read_text(encoding="utf-8")
SHAPES = {"map": "a mapping", "maps": "a list of mappings", "word": "text", "flag": "true or false"}


def example(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("language", ["json", "toml"])
def test_an_example_is_a_machine_file(language: str) -> None:
    assert document_to_argv(parse_document(example(language), f"machine.{language}"))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_section_stands_in_the_row_of_its_shape(shape: str) -> None:
    row = re.search(rf"^\| {SHAPES[shape]} \|[^|]*\|([^|]*)\|$", TEXT, re.MULTILINE)
    assert re.findall(r"`([^`]+)`", row[1] if row else "") == [s.name for s in SECTIONS.values() if s.shape == shape]
