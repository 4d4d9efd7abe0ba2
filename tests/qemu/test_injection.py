"""Nothing in a value can add an option, or become another value: QEMU is asked what it has got."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gavotte.errors import InvalidMachine
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.document import Document, document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import CONFINED, start_process
from gavotte.qemu.props import Json
from gavotte.qemu.sections import SECTIONS
from gavotte.qmp.client import QmpClient
from tests.support.binaries import BINARIES
from tests.support.programs import DEADLINE

NASTY = [
    "a,b",
    ",",
    ",,driver=virtio-rng-pci",
    "x,id=y",
    "a=b",
    "=",
    "-S",
    "--version",
    "-device",
    "help",
    "?",
    "on",
    "\"'`$(reboot)\\",
    '","id":"z"}',
    '{"driver":"pvpanic"}',
    "two\nlines\r\t",
    "\x01\x1b[31m\x7f\x80\x9f",
    " spaces ",
    "%s%n%d%%",
    "é ß 漢 \U0001f600 \u202e \ufeff \ue000",
    "json:{}",
    "file:a:b",
    "/dev/fdset/1",
    "a.0.b",
    "\\u0000\\n",
    "x" * 10_000,
    "é,=" * 3_000,
]

# Whatever isn't refused at once; see test_what_no_option_can_carry_is_refused for the rest.
characters = st.sampled_from(",,==\"'{}[]:;-.%\\/ \n") | st.characters(
    exclude_categories=["Cs"],
    exclude_characters=["\0", *map(chr, range(0xFDD0, 0xFDF0))],
).filter(lambda c: ord(c) & 0xFFFE != 0xFFFE)
texts = st.sampled_from(NASTY) | st.text(characters, max_size=40)


# --- where text can stand, and how QEMU tells what came of it ---------------------------------------------------------


class Machine:
    """Sections with texts in them, and the questions whose answers should be these texts."""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.expected: dict[str, object] = {}
        self._questions: dict[str, tuple[str, dict[str, str], Callable[[Any], object]]] = {}

    def expect(self, what: str, answer: object, command: str, pick: Callable[[Any], object], **arguments: str) -> None:
        self.expected[what] = answer
        self._questions[what] = (command, arguments, pick)

    def expect_property(self, text: str, path: str, name: str) -> None:
        self.expect(f"{path}.{name}", text, "qom-get", lambda answer: answer, path=path, property=name)

    def expect_children(self, names: set[str], path: str) -> None:
        self.expect(path, names, "qom-list", lambda found: children(found) - {"pc.ram"}, path=path)

    def expect_files(self, names: set[str]) -> None:
        self.expected["files"] = names

    async def ask(self, client: QmpClient) -> dict[str, object]:
        found = {
            what: pick(await client.execute(command, arguments))
            for what, (command, arguments, pick) in self._questions.items()
        }
        files = {"files": {path.name for path in self.folder.iterdir()}} if "files" in self.expected else {}
        return {**found, **files}


def children(found: Any) -> set[str]:
    return {entry["name"] for entry in found if entry["type"].startswith("child<")}


def cut(text: str, length: int) -> str:
    """As much of the text as fits into so many bytes."""
    return text.encode()[:length].decode(errors="ignore")


def as_file(text: str, suffix: str, length: int = 250) -> str:
    """The text as the name of a file in the current directory, so that nothing stands before it."""
    return cut(text.replace("/", "|"), length - len(suffix)) + suffix


def full_machine(texts: Sequence[str], folder: Path) -> Machine:
    """Text in many sections of one machine; what names a file names one in `folder`, which is QEMU's directory."""
    name, secret, port, anonymous, serial, vendor, model, oem, *files = texts
    image, log, socket, pid, share = (
        as_file(text, f".{kind}", 100) for text, kind in zip(files, ("i", "l", "s", "p", "d"), strict=True)
    )
    (folder / image).touch()
    (folder / share).mkdir()
    devices = [
        {"driver": "virtio-scsi-pci", "id": "scsi"},
        {"driver": "virtio-serial-pci", "id": "ports"},
        {"driver": "virtserialport", "id": "port", "bus": "ports.0", "name": port},
        {"driver": "virtserialport", "bus": "ports.0", "name": anonymous},
        {"driver": "scsi-hd", "id": "disk", "drive": "null", "serial": cut(serial, 20)},
        {"driver": "virtio-9p-pci", "id": "share", "fsdev": "f", "mount_tag": "tag"},
    ]
    machine = Machine(
        {
            "name": {"guest": name},
            "pidfile": pid,
            "machine": {"type": "q35", "accel": "tcg", "x-oem-id": cut(oem, 6)},
            "cpu": {"model": "qemu64", "model-id": cut(model.replace(",", ";"), 47)},
            "globals": [{"driver": "scsi-hd", "property": "vendor", "value": vendor}],
            "objects": [{"qom-type": "secret", "id": "s", "data": secret}],
            "chardevs": [
                {"backend": "null", "id": "log", "logfile": log},
                {"backend": "socket", "id": "sock", "path": socket, "server": True, "wait": False},
            ],
            "blockdevs": [
                {"driver": "file", "node-name": "image", "filename": image},
                {"driver": "null-co", "node-name": "null"},
            ],
            "fsdevs": [{"fsdriver": "local", "id": "f", "path": share, "security_model": "none"}],
            "devices": devices,
        },
        folder,
    )
    machine.expect("name", name, "query-name", lambda answer: answer["name"])
    machine.expect(
        "image", image, "query-named-block-nodes", lambda all: {n["node-name"]: n["file"] for n in all}["image"]
    )
    chardevs = {"log": "null", "sock": f"disconnected:unix:{socket},server=on"}
    machine.expect("chardevs", chardevs, "query-chardev", lambda all: {c["label"]: c["filename"] for c in all[1:]})
    machine.expect_children({"s"}, "/objects")
    machine.expect_children({"scsi", "ports", "port", "disk", "share"}, "/machine/peripheral")
    machine.expect_children({"device[0]"}, "/machine/peripheral-anon")
    machine.expect_property(secret, "/objects/s", "data")
    machine.expect_property(port, "/machine/peripheral/port", "name")
    machine.expect_property(anonymous, "/machine/peripheral-anon/device[0]", "name")
    machine.expect_property(cut(serial, 20), "/machine/peripheral/disk", "serial")
    machine.expect_property(vendor, "/machine/peripheral/disk", "vendor")
    machine.expect_property(cut(oem, 6), "/machine", "x-oem-id")
    machine.expect_property(cut(model.replace(",", ";"), 47), "/machine/unattached/device[0]", "model-id")
    machine.expect_files({image, log, socket, pid, share})
    return machine


TEXTS_OF_A_FULL_MACHINE = 13


def unborn_machine(texts: Sequence[str]) -> Machine:
    """A machine that QEMU has read about and not yet made: files needn't be there."""
    kernel, initrd, dtb, append, firmware = texts
    machine = Machine(
        {
            "preconfig": True,
            "kernel": kernel,
            "initrd": initrd,
            "dtb": dtb,
            "machine": {"type": "q35", "accel": "tcg", "append": append, "firmware": firmware},
        },
        Path("/"),
    )
    for name, text in zip(("kernel", "initrd", "dtb", "append", "firmware"), texts, strict=True):
        machine.expect_property(text, "/machine", name)
    return machine


TEXTS_OF_AN_UNBORN_MACHINE = 5


def answers_of(machine: Machine, qemu: Path | None) -> dict[str, object]:
    """Starts the machine in its folder, and gives what it answers, and which files are there then."""

    async def main() -> dict[str, object]:
        ours, theirs = socketpair()
        with ours, FdLedger() as ledger:
            qmp: Json = {"backend": "socket", "id": "qmp", "fd": ledger.give(theirs, "QMP")}
            monitor: dict[str, Json] = {"chardevs": [qmp], "monitors": [{"chardev": "qmp", "mode": "control"}]}
            argv = document_to_argv({**CONFINED, "display": {"type": "none"}, "S": True, **monitor})
            argv += document_to_argv(machine.document)
            async with (
                await start_process(
                    ["/usr/bin/env", "-C", str(machine.folder), path_of(qemu), *argv], ledger
                ) as process,
                await QmpClient.connect(ours, deadline=DEADLINE, last_words=process.last_words) as client,
            ):
                return await machine.ask(client)

    return asyncio.run(main())


def path_of(qemu: Path | None) -> str:
    return str(find_qemu("x86_64", str(qemu) if qemu else None).path)


@pytest.mark.parametrize("qemu", BINARIES)
@given(values=st.lists(texts, min_size=TEXTS_OF_A_FULL_MACHINE, max_size=TEXTS_OF_A_FULL_MACHINE, unique=True))
@example(values=NASTY[:TEXTS_OF_A_FULL_MACHINE])
@example(values=NASTY[-TEXTS_OF_A_FULL_MACHINE:])
@settings(max_examples=25)
def test_qemu_gets_exactly_the_text_in_every_section_and_nothing_else(qemu: Path | None, values: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        machine = full_machine(values, Path(folder))
        assert answers_of(machine, qemu) == machine.expected


@pytest.mark.parametrize("qemu", BINARIES)
@given(values=st.lists(texts, min_size=TEXTS_OF_AN_UNBORN_MACHINE, max_size=TEXTS_OF_AN_UNBORN_MACHINE))
@example(values=NASTY[:5])
@example(values=NASTY[5:10])
@example(values=NASTY[-5:])
@example(values=["", "", "", "", ""])
@settings(max_examples=25)
def test_qemu_gets_exactly_the_words_and_texts_of_the_machine_itself(qemu: Path | None, values: list[str]) -> None:
    machine = unborn_machine(values)
    assert answers_of(machine, qemu) == machine.expected


# --- fw_cfg, read as a guest's firmware reads it ----------------------------------------------------------------------


@pytest.mark.parametrize("qemu", BINARIES)
@given(values=st.lists(texts.filter(bool), min_size=4, max_size=4))
@example(values=["x" * 10_000, ",", "a=b,c", "\x1b,string="])
@settings(max_examples=10)
def test_firmware_reads_exactly_the_text(qemu: Path | None, values: list[str]) -> None:
    name = f"opt/b{cut(values[1], 50)}"
    document: Document = {
        "machine": {"type": "q35", "accel": "tcg"},
        "fw_cfg": [{"name": "opt/a,a", "string": values[0]}, {"name": name, "string": "b"}],
        "smbios": [{"type": 1, "serial": values[2]}, {"type": 11, "value": [values[1], values[3]]}],
    }
    files = read_fw_cfg(document, ["opt/a,a", "etc/smbios/smbios-tables"], qemu)
    assert files.keys() == {"opt/a,a", name, "etc/smbios/smbios-tables"}
    assert files["opt/a,a"] == values[0].encode()
    [first, serial, last] = (text.encode() for text in values[1:])
    assert b"\0%b\0" % serial in files["etc/smbios/smbios-tables"]
    assert b"\x02%b\0%b\0\0" % (first, last) in files["etc/smbios/smbios-tables"], "a count, and so many strings"


def read_fw_cfg(document: Document, contents: Sequence[str], qemu: Path | None) -> dict[str, bytes]:
    """Gives the files that the user put there, and those in `contents` with what they hold.

    Through I/O ports 0x510 and 0x511 (QEMU's docs/specs/fw_cfg.rst), by QEMU's own test protocol (docs/devel/testing).
    """
    options = [["-qtest", "stdio"], ["-qtest-log", "/dev/null"]]
    argv = [
        path_of(qemu),
        *document_to_argv({**CONFINED, "display": {"type": "none"}, "S": True, **document, "options": options}),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=-1) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            count = struct.unpack(">I", read_port(process.stdin, process.stdout, 0x19, 4))[0]
            directory = read_port(process.stdin, process.stdout, 0x19, 4 + 64 * count)[4:]
            files = {name: (size, selector) for size, selector, name in entries(directory)}
            return {
                name: read_port(process.stdin, process.stdout, selector, size) if name in contents else b""
                for name, (size, selector) in files.items()
                if name in contents or name.startswith("opt/")
            }
        finally:
            process.kill()


def entries(directory: bytes) -> Iterator[tuple[int, int, str]]:
    for size, selector, name in struct.iter_unpack(">IH2x56s", directory):
        yield size, selector, name.rstrip(b"\0").decode()


def read_port(commands: IO[bytes], replies: IO[bytes], selector: int, size: int) -> bytes:
    commands.write(b"outw 0x510 %d\n" % selector)
    commands.flush()
    assert replies.readline() == b"OK\n"
    data = bytearray()
    while len(data) < size:
        piece = min(size - len(data), 500)  # what fits into the pipes both ways
        commands.write(b"inb 0x511\n" * piece)
        commands.flush()
        data += bytes(int(replies.readline().split()[1], 16) for _ in range(piece))
    return bytes(data)


# --- what can't be passed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["\0", "a\0b", "\ud800", "\udfff"], ids=ascii)
def test_what_no_argument_can_carry_is_refused_in_every_section(bad: str) -> None:
    entry = {"driver": "d", "property": "p", "value": bad}
    shapes: Any = {"map": entry, "maps": [entry], "word": bad, "words": [["-x"], ["-a", bad]], "flag": bad}
    for section in SECTIONS.values():
        with pytest.raises(InvalidMachine) as caught:
            document_to_argv({section.name: shapes[section.shape]})
        [problem] = caught.value.problems
        assert problem.path.startswith(section.name)


@pytest.mark.parametrize("bad", ["\uffff", "\ufdd0", "\U0010fffe", os.fsdecode(b"\xff")], ids=ascii)
def test_what_qemus_json_cannot_carry_is_refused_in_every_map(bad: str) -> None:
    for section in SECTIONS.values():
        if section.shape in ("map", "maps"):
            entry: Json = {"driver": bad, "property": "", "value": ""}
            with pytest.raises(InvalidMachine):
                document_to_argv({section.name: entry if section.shape == "map" else [entry]})


@given(texts.filter(lambda text: "," in text))
def test_a_value_can_add_no_feature_to_a_processor(text: str) -> None:
    cpus: list[Json] = [{"model": text}, {"model": "max", "model-id": text}, {"model": "max", "a": {"b": [text]}}]
    for cpu in cpus:
        with pytest.raises(InvalidMachine):
            document_to_argv({"cpu": cpu})


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_path_that_is_not_utf8_reaches_qemu_byte_by_byte(qemu: Path | None, tmp_path: Path) -> None:
    name = os.fsdecode(b"-\xff\x80,\xc3.pid")
    machine = Machine({"machine": {"type": "none"}, "pidfile": name}, tmp_path)
    machine.expect_files({name})
    assert answers_of(machine, qemu) == machine.expected
