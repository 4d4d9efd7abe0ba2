from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gavotte.compat import override
from gavotte.faces import cli
from gavotte.qemu import schema as schemas
from gavotte.qemu.binary import QemuBinary, find_qemu
from tests.support.fake_qemu import a_qemu
from tests.support.schemas import schema_for


class Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


class Run:
    """`gavotte qemu …` in this process, with the schema that the other tests have learnt."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.error = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        assert cli.main(["qemu", *words]) == status
        out, self.error = self.capsys.readouterr()
        return out

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Run:
    def known(binary: QemuBinary, *, hot: tuple[str, ...] = (), cold: tuple[str, ...] = ()) -> schemas.Schema:
        assert binary == find_qemu()
        parts = {name: name != "hpet" for name in cold}
        return schema_for(None).with_asked("pluggable", dict.fromkeys(hot, True)).with_asked("creatable", parts)

    monkeypatch.setattr(schemas, "schema_of", known)
    return Run(capsys)


def columns(line: str) -> list[str]:
    return [cell for cell in line.split("  ") if cell]


# --- lists ----------------------------------------------------------------------------------------------------------


def test_parts_of_boards_are_not_listed(run: Run) -> None:
    assert "hpet" not in [line.split()[0] for line in run("devices").splitlines()]
    run("devices", "hpet", status=2)
    assert "is a part of boards" in run.error


def test_devices_are_listed_with_their_kind(run: Run) -> None:
    lines = dict(line.split() for line in run("devices").splitlines())
    assert len(lines) == len(schema_for(None).devices) - 1  # hpet
    assert lines["virtio-blk-pci"] == "pci-device"
    assert lines["max-x86_64-cpu"] == "cpu"
    assert lines["scsi-hd"] == "scsi-device"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("virtio-rng-p", ["virtio-rng-pci", "virtio-rng-pci-non-transitional", "virtio-rng-pci-transitional"]),
        ("VIRTIO-RNG-P*L", ["virtio-rng-pci-non-transitional", "virtio-rng-pci-transitional"]),
        ("virtio-rng-pci", ["virtio-rng-pci", "virtio-rng-pci-non-transitional", "virtio-rng-pci-transitional"]),
        ("nvm[e]", ["nvme"]),
    ],
)
def test_a_pattern_is_a_part_of_a_name_or_a_glob(run: Run, pattern: str, found: list[str]) -> None:
    assert [row["name"] for row in run.json("devices", pattern)] == found


def test_a_pattern_that_finds_nothing_gets_a_suggestion(run: Run) -> None:
    assert run("devices", "virtoi-blk-pci", status=2) == ""
    assert "virtoi-blk-pci" in run.error
    assert "did you mean virtio-blk-pci" in run.error


def test_machines_are_found_by_alias_and_say_which_is_the_default(run: Run) -> None:
    (q35,) = run.json("machines", "q3[5]")
    assert q35["alias"] == "q35"
    assert q35["name"].startswith("pc-q35-")
    assert q35["cpus"] >= 255
    assert sum("  default" in line for line in run("machines").splitlines()) == 1


def test_objects_cpus_and_commands_are_listed(run: Run) -> None:
    assert "rng-random" in run("objects").splitlines()
    assert run("cpus", "max").split() == ["max", "max-x86_64-cpu"]
    assert run("commands", "migrate-pa*").split() == ["migrate-pause", "oob"]


def test_a_line_in_a_pipe_has_no_colours_and_no_blanks_at_its_end(run: Run) -> None:
    for line in run("machines").splitlines():
        assert line == line.rstrip()
        assert "\x1b" not in line


def test_a_terminal_gets_a_table_with_headings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    assert cli.main(["qemu", "devices", "virtio-rng-pci"]) == 0
    heading, _, first = terminal.getvalue().splitlines()[1:4]
    assert heading.split() == ["name", "kind"]
    assert first.split() == ["virtio-rng-pci", "pci-device"]


def test_a_narrow_terminal_cuts_no_name_short(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setenv("TERM", "dumb")
    assert cli.main(["qemu", "objects", "memory-backend-*"]) == 0
    assert "memory-backend-ram" in terminal.getvalue().replace("\n", "").replace(" ", "")
    assert "…" not in terminal.getvalue()


# --- one type -------------------------------------------------------------------------------------------------------


def test_props_of_a_device_say_type_default_and_words(run: Run) -> None:
    lines = {columns(line)[0]: columns(line)[1:] for line in run("props", "virtio-blk-pci").splitlines()}
    assert [cell.strip() for cell in lines["num-queues"]] == ["uint16", "65535", "-", "-"]
    assert [cell.strip() for cell in lines["werror"]][:3] == [
        "BlockdevOnError",
        '"auto"',
        "report/ignore/enospc/stop/auto",
    ]
    assert "device virtio-blk-pci, can be plugged while the machine runs" in run.error


def test_props_for_programs_have_everything(run: Run) -> None:
    told = run.json("props", "virtio-blk-pci")
    assert (told["name"], told["what"], told["pluggable"]) == ("virtio-blk-pci", "device", True)
    assert "pci-device" in told["parents"]
    assert {"name": "num-queues", "type": "uint16", "default": 65535, "values": [], "description": ""} in told[
        "properties"
    ]


@pytest.mark.parametrize(
    ("name", "what", "real", "property"),
    [
        ("rng-random", "object", "rng-random", "filename"),
        ("q35", "machine", "pc-q35-", "smm"),
        ("max", "device", "max-x86_64-cpu", "vmx"),
        ("virtio-blk", "device", "virtio-blk-pci", "num-queues"),
    ],
)
def test_props_work_for_objects_machines_cpu_models_and_aliases(
    run: Run, name: str, what: str, real: str, property: str
) -> None:
    told = run.json("props", name)
    assert told["what"] == what
    assert told["name"].startswith(real)
    assert property in {row["name"] for row in told["properties"]}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["props", "virtio-blk-pcie"], "did you mean virtio-blk-pci"),
        (["props", "query-status"], "gavotte qemu command query-status"),
        (["props", "§§§"], "gavotte qemu devices, objects, machines and cpus list them"),
        (["command", "query-statu"], "did you mean query-status"),
        (["command", "§§§"], "gavotte qemu commands lists them"),
    ],
)
def test_an_unknown_name_is_an_error_that_says_where_to_look(run: Run, words: list[str], hint: str) -> None:
    assert run(*words, status=2) == ""
    assert hint in run.error
    assert words[1] in run.error


def test_props_that_the_binary_cannot_tell_are_an_error_that_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    binary = a_qemu(tmp_path, devices=["good", "bad"], ends=["bad"])
    assert run("props", "bad", "--qemu", os.fspath(binary.path), status=125) == ""
    assert "this QEMU can't tell the properties of bad" in run.error
    assert run("props", "good", "--qemu", os.fspath(binary.path)).split() == ["p", "bool"]


def test_a_binary_that_is_not_there_or_no_qemu_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    run("devices", "--qemu", "/nowhere/qemu", status=125)
    assert "/nowhere/qemu does not exist" in run.error
    run("devices", "--qemu", "/bin/true", status=125)
    assert "can't learn what" in run.error
    run("devices", "--arch", "toaster", status=125)
    assert "qemu-system-toaster is not on PATH" in run.error


# --- commands -------------------------------------------------------------------------------------------------------


def test_a_command_is_shown_with_its_arguments_and_what_it_gives(run: Run) -> None:
    assert run("command", "query-yank").splitlines()[:3] == [
        "query-yank (oob)",
        "takes nothing",
        "gives list of object",
    ]
    assert run("command", "block_resize").splitlines() == [
        "block_resize",
        "takes",
        "  [device]: string",
        "  [node-name]: string",
        "  size: int",
        "gives nothing",
    ]


def test_a_commands_variants_and_nested_structs_are_shown_and_recursion_ends(run: Run) -> None:
    lines = run("command", "blockdev-add").splitlines()
    place = lines.index("  with driver null-co:")
    assert "    [size]: int" in lines[place:]
    assert "  [cache]: object" in lines
    assert "    [direct]: boolean" in lines
    assert len(lines) < 1000


def test_a_command_for_programs_has_the_same_as_data(run: Run) -> None:
    told = run.json("command", "netdev_add")
    assert told["arguments"]["tag"] == "type"
    assert {"name": "id", "optional": False, "type": "string"} in told["arguments"]["members"]
    assert "hostfwd" in {member["name"] for member in told["arguments"]["variants"]["user"]}
    assert told["returns"] == {"type": "object", "members": []}


def test_every_command_can_be_shown(run: Run) -> None:
    from gavotte.faces.qemu import signatures

    schema = schema_for(None)
    for command in filter(None, map(schema.command, schema.commands)):
        assert next(signatures.as_lines(schema, command)).startswith(command.name)
        assert len(json.dumps(signatures.as_dict(schema, command))) < 1_000_000
