"""The documents say what is there: examples are taken, tables are whole, tests that they name exist."""

from __future__ import annotations

import ast
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


# --- docs/kata.md -----------------------------------------------------------------------------------------------------

KATA = (Path(__file__).parents[1] / "docs/kata.md").read_text(encoding="utf-8")
TESTS = Path(__file__).parent


def kata_rows(title: str) -> list[list[str]]:
    """The rows of the table below a heading, as lists of cells."""
    section = KATA.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("title", "count"), [("The 29 methods in Go", 29), ("The 30 methods in Rust", 30)])
def test_each_method_of_katas_has_a_test_or_a_reason(title: str, count: int) -> None:
    rows = kata_rows(title)
    assert len({row[0] for row in rows}) == len(rows) == count
    for name, here, shown in rows:
        assert "::" in shown or "no place: " in here, name


def test_each_test_that_the_table_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", KATA)
    assert len(named) > 80
    missing = [f"{file}::{name}" for file, name in named if name not in functions(TESTS / file)]
    assert missing == []
