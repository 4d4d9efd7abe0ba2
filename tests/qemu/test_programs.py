from __future__ import annotations

import os
from pathlib import Path

import pytest

from gavotte.errors import HostError
from gavotte.qemu.programs import tool, which


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH, and the current one is another."""
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def program(path: Path, mode: int = 0o755) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return os.fspath(path)


def test_a_name_is_looked_for_on_path_in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "second").mkdir()
    only_there, first = program(folder / "second" / "other"), program(folder / "dance")
    program(folder / "second" / "dance")
    monkeypatch.setenv("PATH", f"/no/such/directory:{folder}:{folder}/second")
    assert (which("dance"), which("other")) == (first, only_there)
    assert which("no-such-dance") is None


def test_a_name_with_a_slash_is_a_path_whatever_is_on_path(folder: Path) -> None:
    program(folder / "dance")
    assert which("./dance") is None
    assert which("../dance") == os.fspath(folder / "dance"), "it has to be one from everywhere"
    assert which(os.fspath(folder / "dance")) == os.fspath(folder / "dance")


def test_a_directory_and_what_nobody_may_execute_are_no_programs(folder: Path) -> None:
    (folder / "directory").mkdir()
    program(folder / "text", mode=0o644)
    for name in ("directory", "text"):
        assert which(name) is None
        assert which(f"{folder}/{name}") is None


def test_what_is_no_program_does_not_hide_one_that_comes_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "second").mkdir()
    (folder / "dance").mkdir()
    found = program(folder / "second" / "dance")
    monkeypatch.setenv("PATH", f"{folder}:{folder}/second")
    assert which("dance") == found


def test_a_link_to_a_program_is_one_and_a_link_to_nothing_is_none(folder: Path) -> None:
    program(folder / "dance")
    (folder / "link").symlink_to("dance")
    (folder / "broken").symlink_to("nothing")
    assert which("link") == os.fspath(folder / "link")
    assert which("broken") is None


def test_a_tool_that_is_missing_is_an_error_that_names_its_package(folder: Path) -> None:
    found = program(folder / "dance")
    assert tool("dance") == found
    with pytest.raises(HostError, match="march is not on PATH") as caught:
        tool("march", "drums")
    assert caught.value.hint == "apt-get install drums"
