"""Command lines as they are found in the wild: a machine file of each makes the same machine as it does."""

from __future__ import annotations

import os
import shlex
from collections.abc import Container, Mapping
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def tree_of_line(words: list[str], folder: Path) -> Tree | None:
    """What comes of a line on the installed QEMU; None where that refuses it."""
    try:
        return qom_tree(find_qemu().path, words, folder, only=(*PLACE, "parent_bus"))
    except AssertionError:
        return None


def check_modern(line: str, folder: Path) -> None:
    """What QEMU takes, it takes in its modern form, which passes the check and makes the same devices."""
    document, changes = modernise(import_argv(["qemu-system-x86_64", *shlex.split(line)]))
    before = tree_of_line(shlex.split(line), folder)
    if before is None or not any(change.after for change in changes):
        return
    after = tree_of_line(document_to_argv(check_document(document, schema_for(find_qemu().path))), folder)
    assert after is not None
    assert devices(after) == devices(before)


@pytest.mark.parametrize(
    "line",
    [
        "-enable-kvm -m 64 -machine q35,accel=tcg",
        "-usbdevice tablet -M pc,usb=off -serial none -serial null -parallel none -parallel null",
        "-M usb=off -usbdevice mouse -usbdevice tablet -device usb-kbd -nodefaults",
        "-drive file=disk.img,format=raw,if=virtio,discard=on -drive file=cd.iso,format=raw,index=3,discard=off",
        "-drive file=disk.img,format=raw,if=none,id=d,detect-zeroes=unmap,discard=unmap -device virtio-blk-pci,drive=d",
        "-nic user,model=virtio -net nic -net nic -net user -serial null -serial vc:80Cx24C",
        "-nic user,model=e1000 -net nic,model=rtl8139,macaddr=52:54:00:00:00:09 -net user -cdrom cd.iso",
    ],
)
def test_legacy_options_make_the_same_devices_in_their_modern_form(line: str, folder: Path) -> None:
    check_modern(f"{line} -display none", folder)


PARTS = """
-M pc; -M q35; -machine pc,accel=tcg; -M usb=off; -enable-kvm; -usb; -no-acpi; -nodefaults; -smp 2; -snapshot
-hda disk.img; -drive file=disk.img,format=raw,if=virtio,cache=none,discard=on; -cdrom cd.iso; -drive media=cdrom
-drive file=disk.img,format=raw,index=1; -drive file=disk.img,if=virtio; -watchdog i6300esb; -net none; -nic none
-net nic -net user; -nic user,model=virtio; -netdev user,id=n -device e1000,netdev=n; -balloon virtio
-serial null; -serial none; -parallel null; -monitor null; -debugcon null; -serial vc:80Cx24C; -usbdevice tablet
-device usb-kbd; -device virtio-rng-pci,id=r -set device.r.addr=0x1c; -device '{"driver":"virtio-rng-pci"}'
-virtfs local,path=.,mount_tag=t,security_model=none
"""
LEGACY = [part.strip() for part in PARTS.replace("\n", ";").split(";") if part.strip()]


@given(st.lists(st.sampled_from(LEGACY), min_size=2, max_size=5, unique=True))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_legacy_options_make_the_same_devices_in_their_modern_form(folder: Path, parts: list[str]) -> None:
    check_modern(f"{' '.join(parts)} -display none", folder)


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
