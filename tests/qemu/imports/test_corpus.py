"""Command lines as they are found in the wild: a machine file of each makes the same machine as it does."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from functools import cache
from pathlib import Path

import pytest

from gavotte.errors import InvalidMachine
from gavotte.qemu.binary import find_program, find_qemu
from gavotte.qemu.check import check_document
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.imports import command_in_text, import_argv, modernise
from gavotte.qemu.sections import Document
from tests.support.binaries import QEMU10
from tests.support.qom_trees import qom_tree
from tests.support.schemas import schema_for

CORPUS = Path(__file__).parent / "corpus"
ENTRIES = sorted(path for path in CORPUS.iterdir() if path.suffix != ".cfg")
STARTED = [path for path in ENTRIES if "# not started" not in path.read_text()]
ALSO_NEWER = [
    path for path in STARTED if path.stem in ("flags", "json-order", "kata", "libvirt", "order", "readconfig")
]
PLACE = ("type", "addr", "mac", "unit", "iobase", "devno", "index")

Tree = Mapping[str, Mapping[str, object]]


def read(entry: Path) -> list[str]:
    return list(command_in_text(entry.read_bytes(), entry.name).argv)


REWRITTEN = [path for path in STARTED if any(change.after for change in modernise(import_argv(read(path)))[1])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the machines find their disks."""
    path = tmp_path_factory.mktemp("corpus")
    for name in ("disk.img", "cd.iso"):
        with (path / name).open("wb") as file:
            file.truncate(1 << 20)
    (path / "key.aes").write_bytes(b"k" * 32)
    (path / "ports.cfg").write_bytes((CORPUS / "ports.cfg").read_bytes())
    return path


def installed(entry: Path) -> Path:
    """The binary that a command line wants, as it is called here."""
    name = read(entry)[0].rpartition("/")[2]
    path = find_program("qemu-system-x86_64" if name == "kvm" else name)
    if path is None:
        pytest.skip(f"{name} isn't installed")
    return path


def roms(binary: Path) -> list[str]:
    """Where the boot ROMs of network cards are, which the newer QEMU doesn't bring with it."""
    return ["-L", "/usr/lib/ipxe/qemu"] if binary == QEMU10 else []


@cache
def tree_of(binary: Path, entry: Path, folder: Path) -> Tree:
    """What comes of the command line as it was found."""
    return qom_tree(binary, [*read(entry)[1:], *roms(binary)], folder)


def tree_of_document(binary: Path, document: Document, folder: Path, only: Container[str] | None = None) -> Tree:
    argv = document_to_argv(check_document(document, schema_for(binary)))
    return qom_tree(binary, [*argv, *roms(binary)], folder, only=only)


def differences(before: Tree, after: Tree) -> list[tuple[str, str, object, object]]:
    """Object, property, and its two values; None where it is missing."""
    return [
        (path, name, old.get(name), new.get(name))
        for path in sorted({*before, *after})
        for old, new in [(before.get(path, {}), after.get(path, {}))]
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def devices(tree: Tree) -> list[tuple[str, ...]]:
    """Type and place of what the guest finds on its buses, whoever made it."""
    return sorted(
        (str(props.get("parent_bus")).rpartition("/")[2], *(str(props.get(key)) for key in PLACE))
        for props in tree.values()
        if props.get("parent_bus")
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: path.name)
def test_importing_what_was_printed_gives_the_same_machine_file(entry: Path) -> None:
    document = import_argv(read(entry))
    assert import_argv([str(document["qemu"]), *document_to_argv(document)]) == document


@pytest.mark.parametrize("entry", STARTED, ids=lambda path: path.name)
def test_the_machine_file_makes_the_same_machine_as_the_command_line(entry: Path, folder: Path) -> None:
    binary = installed(entry)
    after = tree_of_document(binary, import_argv(read(entry)), folder)
    assert differences(tree_of(binary, entry, folder), after) == []


@pytest.mark.parametrize("entry", REWRITTEN, ids=lambda path: path.name)
def test_the_modern_form_has_the_same_devices_at_the_same_addresses(entry: Path, folder: Path) -> None:
    binary = installed(entry)
    document, _ = modernise(import_argv(read(entry)))
    assert devices(tree_of_document(binary, document, folder, (*PLACE, "parent_bus"))) == devices(
        tree_of(binary, entry, folder)
    )


@pytest.mark.skipif(QEMU10 is None, reason="QEMU 10 isn't unpacked beside: make setup-qemu10")
@pytest.mark.parametrize("entry", ALSO_NEWER, ids=lambda path: path.name)
def test_on_a_newer_qemu_the_machine_file_makes_the_same_machine(
    entry: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if QEMU10 is None:
        return
    monkeypatch.setenv("QEMU_MODULE_DIR", os.fspath(QEMU10.parents[1] / "lib/x86_64-linux-gnu/qemu"))
    after = tree_of_document(QEMU10, import_argv(read(entry)), folder)
    assert differences(tree_of(QEMU10, entry, folder), after) == []


def test_a_line_that_qemu_refuses_for_the_order_of_its_devices_is_refused_by_the_check() -> None:
    """The bridge is JSON, and so comes behind the device that is to sit on its bus."""
    line = ["-M", "pc", "-device", '{"driver":"pci-bridge","id":"b","chassis_nr":1}', "-device", "virtio-rng-pci,bus=b"]
    document = import_argv(["qemu-system-x86_64", *line])
    with pytest.raises(InvalidMachine, match="the bus 'b' comes later"):
        check_document(document, schema_for(find_qemu().path))
