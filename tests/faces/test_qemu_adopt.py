"""`gavotte qemu adopt` as its users start it, at a QEMU that something else started."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests.support.adoptable import Foreign, foreign_qemu
from tests.support.command_line import gavotte, read_until, started

DISK = '{"driver": "null-co", "node-name": "stick", "size": 1048576, "read-zeroes": true}'
STICK = '{"driver": "usb-storage", "id": "stick0", "drive": "stick"}'


@pytest.fixture(scope="module")
def qemu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    with foreign_qemu(tmp_path_factory.mktemp("adopt")) as found:
        yield found
        assert found.process.poll() is None, "it was stopped"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def adopt(qemu: Foreign, *words: str) -> Any:
    return gavotte("qemu", "adopt", "--qmp", qemu.socket, *words)


def test_the_overview_holds_no_character_that_acts_on_a_terminal(qemu: Foreign) -> None:
    ended = adopt(qemu)
    assert (ended.returncode, ended.stderr) == (0, b"")
    lines = ended.stdout.decode().splitlines()
    assert lines[0].startswith("QEMU ")
    assert lines[0].endswith("-machine, foreign\ufffd[31m")
    assert "object    io  iothread" in lines
    assert "device      scsi  virtio-scsi-pci  on rp0" in lines
    assert "device        hd  scsi-hd  on scsi.0" in lines
    assert b"\x1b" not in ended.stdout


def test_programs_get_json(qemu: Foreign) -> None:
    for action in ((), ("stats",), ("check",)):
        ended = adopt(qemu, "--json", *action)
        assert (ended.returncode, ended.stderr) == (0, b""), action
        assert json.loads(ended.stdout)


def test_a_device_with_its_back_end_comes_and_goes(qemu: Foreign) -> None:
    plugged = adopt(qemu, "plug", STICK, "--blockdev", DISK)
    assert (plugged.returncode, plugged.stderr) == (0, b"")
    assert b"stick0  usb-storage" in adopt(qemu).stdout
    gone = adopt(qemu, "unplug", "stick0", "--blockdev", "stick")
    assert (gone.returncode, gone.stderr) == (0, b"")
    assert b"stick" not in adopt(qemu).stdout


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("plug", '{"driver": "usb-storag", "id": "x"}'), 2, "usb-storage"),
        (("plug", '{"driver": "usb-kbd", "id": "k", "poort": 1}'), 2, "MAP.poort: "),
        (("plug", '{"driver": "usb-kbd"}', "--netdev", '{"type": "user", "id": "n", "nett": 1}'), 2, "--netdev.nett: "),
        (("plug", '{"driver": "usb-kbd"}', "--netdev", '{"type": "user", "id": "n", "nett": 1}'), 2, "MAP: without"),
        (("plug", '{"driver": "usb-kbd", "id": "hd"}'), 125, "step 0 (device 'hd')"),
        (("plug", "usb-kbd"), 2, "not JSON"),
        (("plug", "[]"), 2, "a mapping is wanted"),
        (("plug",), 2, "plug what?"),
        (("unplug",), 2, "unplug what?"),
        (("unplug", "nobody"), 125, "'nobody' not found"),
        (("--deadline", "0.2", "unplug", "scsi"), 125, "unknown"),
        (("stats", "x"), 2, "takes no device"),
        (("quit",), 2, "'quit' is none of overview"),
        (("--deadline", "nan", "unplug", "scsi"), 2, "not a number of seconds"),
    ],
)
def test_what_fails_says_why(qemu: Foreign, words: tuple[str, ...], status: int, says: str) -> None:
    ended = adopt(qemu, *words)
    text = ended.stderr.decode()
    assert ended.returncode == status, text
    assert says in text
    assert "Traceback" not in text
    assert qemu.process.poll() is None


def test_events_come_as_lines_until_ctrl_c_and_qemu_stays(qemu: Foreign) -> None:
    with started("qemu", "adopt", "--qmp", qemu.socket, "events") as process:
        read_until(process.stderr, b"Ctrl-C")
        busy = adopt(qemu, "stats")
        assert busy.returncode == 125
        assert b"one client" in busy.stderr
        for words in (("plug", '{"driver": "usb-kbd", "id": "keys"}'), ("unplug", "keys")):
            assert gavotte("qemu", "adopt", "--qmp", qemu.other, *words).returncode == 0
        line = read_until(process.stdout, b"\n")
        assert json.loads(line) == {"event": "DEVICE_DELETED", "data": ANY, "seconds": ANY}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert adopt(qemu).returncode == 0


def test_events_end_with_an_error_when_qemu_ends(tmp_path: Path) -> None:
    with (
        foreign_qemu(tmp_path) as mortal,
        started("qemu", "adopt", "--qmp", mortal.socket, "events") as process,
    ):
        read_until(process.stderr, b"Ctrl-C")
        mortal.process.kill()
        assert b"QEMU ended the connection" in read_until(process.stderr, b"connection")
        assert process.wait(20) == 125
