"""`python -m tools.govmm_table`: docs/govmm.md from docs/govmm.toml.

The same rows are what tests/govmm shows to real binaries.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PAGE", "Defect", "Method", "Row", "Table", "read_table", "render"]

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "govmm.md"

_INTRODUCTION = """\
# What govmm had

govmm is the Go library under Kata Containers that writes QEMU command lines and speaks QMP. This page says, for each
thing that it has, what that thing is in Gavotte. It is generated from docs/govmm.toml (`python -m
tools.govmm_table`), and the tests in tests/govmm read the same rows.

There is no struct for each kind of device. What stands below is a fragment of a machine file: QEMU's own keys and
values. `gavotte qemu check FILE` tells what is wrong with one before anything starts, `gavotte qemu argv FILE` prints
its command line, and `gavotte qemu import -- qemu-system-x86_64 …` makes one of a command line that govmm wrote.
Paths below /srv/vm stand for files of yours.

The last column says how a row is shown. *Starts*: real binaries start with it, cold, and its devices, objects and
back ends are found there. *Checked*: the hardware, or the other end of a socket, is missing on a test machine, so the
fragment is checked against the schema of the binary. Where it needs something, a binary without that refuses it by
name.
"""

_PARTS = {
    "device": ("Device kinds", "Each of these is a struct with a `QemuParams` of its own in govmm."),
    "object": ("Object types", "For confidential guests there is no code here, only QEMU's objects."),
    "config": (
        "Fields of Config",
        "A field of the struct that a VM is launched with is a section of the machine file.",
    ),
    "knob": ("Knobs", ""),
}

_METHODS = """\
## QMP methods

Every command of a QEMU is there: `vm.qmp.device_del(id="disk0")` with types, `client.execute("device_del", {"id":
"disk0"})` with maps, `gavotte qmp SOCKET device_del id=disk0` by hand. What follows are the commands of govmm's
methods, in an order in which one QEMU answers them all. *Checked*: as a step that is plugged while the machine runs,
against the schema.
"""

_DEFECTS = """\
## Defects that have no place here

Each has a test that is named by its symptom.
"""


@dataclass(frozen=True)
class Row:
    """One thing that govmm has, as a fragment of a machine file."""

    part: str
    govmm: str
    ours: str
    start: str = ""
    arch: str = "x86_64"
    needs: str = ""
    note: str = ""

    @property
    def fragment(self) -> dict[str, Any]:
        fragment: dict[str, Any] = json.loads(self.ours)
        return fragment

    @property
    def shown(self) -> str:
        word = "starts" if self.start else "checked"
        where = f", {self.arch}" if self.arch != "x86_64" else ""
        return word + where + (f", needs {self.needs}" if self.needs else "")


@dataclass(frozen=True)
class Method:
    """One method of govmm's QMP client, as the command that it sends."""

    govmm: str
    command: str
    arguments: str = "{}"
    hot: str = ""
    fd: str = ""
    refused: str = ""
    on: str = "running"
    arch: str = "x86_64"
    needs: str = ""
    note: str = ""

    @property
    def props(self) -> dict[str, Any]:
        props: dict[str, Any] = json.loads(self.arguments)
        return props

    @property
    def shown(self) -> str:
        if self.hot:
            where = f", {self.arch}" if self.arch != "x86_64" else ""
            return "checked" + where + (f", needs {self.needs}" if self.needs else "")
        return "refused" if self.refused else "answered"


@dataclass(frozen=True)
class Defect:
    """One of govmm's defects, and the test that shows that it isn't here."""

    symptom: str
    test: str


@dataclass(frozen=True)
class Table:
    """All of it; `starts` are what the fragments of each start are added to."""

    starts: dict[str, dict[str, Any]]
    rows: Sequence[Row]
    methods: Sequence[Method]
    defects: Sequence[Defect]


def read_table() -> Table:
    """Reads docs/govmm.toml. Raises TypeError for a key that no row has."""
    with (DOCS / "govmm.toml").open("rb") as file:
        raw = tomllib.load(file)
    return Table(
        starts={name: json.loads(text) for name, text in raw["starts"].items()},
        rows=[Row(**row) for row in raw["row"]],
        methods=[Method(**method) for method in raw["method"]],
        defects=[Defect(**defect) for defect in raw["defect"]],
    )


def render(table: Table) -> str:
    """The page."""
    return "\n".join(_lines(table)) + "\n"


def _lines(table: Table) -> Iterator[str]:
    yield _INTRODUCTION
    for part, (title, words) in _PARTS.items():
        yield f"## {title}\n"
        if words:
            yield f"{words}\n"
        yield from _rows([row for row in table.rows if row.part == part])
        yield ""
    yield _METHODS
    yield "| govmm | command | arguments | shown |"
    yield "| --- | --- | --- | --- |"
    for method in table.methods:
        cells = [method.govmm, f"`{method.command}`", _code(method.arguments) + _note(method.note), method.shown]
        yield f"| {' | '.join(cells)} |"
    yield f"\n{_DEFECTS}"
    yield "| symptom | test in tests/govmm |"
    yield "| --- | --- |"
    for defect in table.defects:
        yield f"| {_escaped(defect.symptom)} | `{defect.test}` |"


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    yield "| govmm | here | shown |"
    yield "| --- | --- | --- |"
    for row in rows:
        yield f"| {_escaped(row.govmm)} | {_sections(row.fragment)}{_note(row.note)} | {row.shown} |"


def _sections(fragment: dict[str, Any]) -> str:
    """One line for each entry, so that a cell can be read."""
    lines = []
    for name, value in fragment.items():
        entries = value if isinstance(value, list) else [value]
        lines += [f"{name}: {_code(json.dumps(entry))}" for entry in entries]
    return "<br>".join(lines)


def _code(text: str) -> str:
    return "" if text == "{}" else f"`{_escaped(text)}`"


def _note(text: str) -> str:
    return f"<br>{_escaped(text)}" if text else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(read_table()), encoding="utf-8")
    print(PAGE.name, file=sys.stderr)
