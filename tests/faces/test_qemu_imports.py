"""`gavotte qemu import`, as it is typed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gavotte.faces.cli import main


def test_the_machine_file_of_a_command_line_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qemu", "import", "--", "qemu-system-x86_64", "-m", "1G", "-o", "x"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document == {"qemu": "qemu-system-x86_64", "memory": {"size": "1G"}, "options": [["-o", "x"]]}
    assert said.err == ""


def test_modern_names_each_change_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qemu", "import", "--modern", "--", "qemu-system-x86_64", "-hda", "a\x1b.raw"]) == 0
    said = capsys.readouterr()
    assert "blockdevs" in json.loads(said.out)
    assert "is now blockdevs and a device ide-hd" in said.err
    assert "\x1b" not in said.err


def test_a_script_becomes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.sh").write_text("qemu-system-x86_64 -netdev tap,id=n,fd=5\n")
    out = tmp_path / "vm.json"
    assert main(["qemu", "import", "--from-file", str(tmp_path / "run.sh"), "-o", str(out)]) == 0
    assert json.loads(out.read_text())["netdevs"] == [{"type": "tap", "id": "n", "fd": "5"}]
    assert "netdevs[0].fd: descriptor 5 was opened by who started this QEMU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one command line is wanted"),
        (["--pid", "1", "--", "qemu"], "one command line is wanted"),
        (["--", "ls"], "doesn't look like a QEMU"),
        (["--from-file", "/nonexistent"], "can't read /nonexistent: No such file"),
    ],
)
def test_mistakes_are_explained(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qemu", "import", *words]) == 2
    assert said in capsys.readouterr().err


def test_this_process_is_no_qemu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["qemu", "import", "--pid", str(os.getpid())]) == 2
    assert "doesn't look like a QEMU" in capsys.readouterr().err
