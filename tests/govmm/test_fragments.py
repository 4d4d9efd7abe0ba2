"""Each of govmm's device kinds, object types, Config fields and knobs, shown to real QEMU binaries."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine
from gavotte.qemu.check import check_document
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.imports import import_argv
from gavotte.qmp.client import QmpClient
from tests.support.binaries import BINARIES
from tests.support.govmm import binary_for, merged, placed, running, vm_files
from tests.support.schemas import schema_for
from tools.govmm_table import PAGE, Row, read_table, render

TABLE = read_table()


def test_the_page_is_what_the_table_gives(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        PAGE.write_text(render(TABLE), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == render(TABLE)


def test_the_table_has_a_row_for_all_of_it() -> None:
    """Of the parts that can be counted: govmm has 22 device kinds, 8 object types and 50 methods."""
    kinds = {row.govmm.split(" (")[0] for row in TABLE.rows if row.part == "device"} - {
        "Transport ccw of all virtio kinds"
    }
    assert len(kinds) == 22
    assert len([row for row in TABLE.rows if row.part == "object"]) == 8
    assert len({method.govmm for method in TABLE.methods}) == 50


def machine_of(start: str, rows: list[Row], folder: Path) -> dict[str, Any]:
    return merged(placed(part, folder) for part in (TABLE.starts[start], *(row.fragment for row in rows)))


def as_text(value: Any) -> Any:
    """The value with its scalars as a command line has them."""
    match value:
        case dict():
            return {key: as_text(item) for key, item in value.items()}
        case list():
            return [as_text(item) for item in value]
        case bool():
            return "on" if value else "off"
    return str(value)


@cache
def facts(start: str, qemu: Path | None) -> dict[str, Any]:
    """What a QEMU that runs all fragments of a start says of itself."""
    rows = [row for row in TABLE.rows if row.start == start]
    binary = binary_for(rows[0].arch, qemu)
    schema = schema_for(binary)

    async def ask(client: QmpClient) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, path in (("devices", "/machine/peripheral"), ("objects", "/objects")):
            children: Any = await client.execute("qom-list", {"path": path})
            found[name] = {child["name"] for child in children}
        for name, command, key in (
            ("chardevs", "query-chardev", "label"),
            ("blockdevs", "query-named-block-nodes", "node-name"),
        ):
            entries: Any = await client.execute(command)
            found[name] = {entry[key] for entry in entries}
        network = await client.execute("human-monitor-command", {"command-line": "info network"})
        found["netdevs"] = {word.strip(" \\:") for word in str(network).replace(":", " ").split()}
        return found

    async def main(folder: Path) -> dict[str, Any]:
        document = check_document(machine_of(start, rows, folder), schema)
        said = import_argv([str(binary), *document_to_argv(document)])
        async with running(binary, document) as client:
            return {**await ask(client), "meant": as_text(document), "said": as_text(said)}

    with vm_files() as folder:
        return asyncio.run(main(folder))


def rows_of(*, started: bool) -> list[Any]:
    return [pytest.param(row, id=f"{row.part}-{row.govmm}") for row in TABLE.rows if bool(row.start) == started]


@pytest.mark.parametrize("qemu", BINARIES)
@pytest.mark.parametrize("row", rows_of(started=True))
def test_a_fragment_starts(row: Row, qemu: Path | None) -> None:
    if row.arch != "x86_64" and qemu is not None:
        pytest.skip(f"the newer QEMU is one for x86_64, not {row.arch}")
    found = facts(row.start, qemu)
    for section in ("devices", "objects", "chardevs", "blockdevs", "netdevs"):
        key = "node-name" if section == "blockdevs" else "id"
        wanted = {entry[key] for entry in row.fragment.get(section, ())}
        assert wanted <= found[section], section
    for section in row.fragment:
        assert found["said"].get(section) == found["meant"][section]


@pytest.mark.parametrize("qemu", BINARIES)
@pytest.mark.parametrize("row", rows_of(started=False))
def test_a_fragment_is_checked(row: Row, qemu: Path | None) -> None:
    if row.arch != "x86_64" and qemu is not None:
        pytest.skip(f"the newer QEMU is one for x86_64, not {row.arch}")
    schema = schema_for(binary_for(row.arch, qemu))
    types = [entry["qom-type"] for entry in row.fragment.get("objects", ())]
    if lacking := [type for type in types if type not in schema.objects]:
        assert row.needs, f"{lacking} should be in every QEMU"
        with pytest.raises(InvalidMachine, match=lacking[0]):
            check_document(row.fragment, schema)
    else:
        check_document(row.fragment, schema)
