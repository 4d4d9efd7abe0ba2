"""What `gavotte check` finds: that it fails where a run would."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from gavotte.guest.image import Image
from gavotte.hypervisor.interface import Ability
from gavotte.hypervisor.qemu import capabilities
from gavotte.qemu.binary import find_program, find_qemu
from gavotte.sandbox import host
from gavotte.sandbox.host import Finding, examine
from tests.support.blank_templates import made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory without images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in asyncio.run(examine())}


@pytest.mark.parametrize("tool", ["mmdebstrap", "mksquashfs", "dpkg-deb", "apt-get"])
def test_without_an_image_a_missing_build_tool_is_a_failure(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "find_program", lambda program: None if program == tool else find_program(program))
    found = findings()[tool]
    assert (found.ok, found.needed) == (False, True)
    assert found.remedy.startswith("apt-get install")
    assert "builds images" in found.text


@pytest.mark.parametrize("name", ["disk", "scratch"])
def test_without_an_image_a_full_disk_is_a_failure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 20))
    found = findings()[name]
    assert (found.ok, found.needed) == (False, True)
    assert found.text.startswith("1M free")
    assert found.remedy.startswith("free ")


def test_templates_are_counted_and_one_more_has_room_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = findings()["templates"]
    assert (finding.ok, finding.needed) == (True, False)
    assert finding.text.startswith("none yet; ")
    made("aa11")
    made("bb22")
    assert findings()["templates"].text.startswith("2 take 0M; ")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 20))
    full = findings()["templates"]
    assert (full.ok, full.needed) == (False, False)
    assert full.remedy.startswith("free 576M, or set XDG_CACHE_HOME")


def test_a_qemu_that_cannot_make_copies_is_told_with_its_reason(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(capabilities._REASONS, Ability.CLONE, lambda *_: "it can't")
    finding = asyncio.run(host._templates(find_qemu(), image))
    assert (finding.ok, finding.needed, finding.text) == (None, False, "each sandbox boots: it can't")
    assert finding.remedy


def test_with_an_image_nothing_that_builds_one_is_needed() -> None:
    assert [finding.needed for finding in host._disks(needed=False)] == [False, False]
    assert not host._tool("mmdebstrap", "builds images", "mmdebstrap", needed=False).needed


def test_a_cache_that_can_only_be_read_is_of_use_if_it_has_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    disk, _ = host._disks(needed=False)
    assert (disk.ok, disk.remedy) == (None, "")
    assert "can only be read: images that are there are used" in disk.text
    missing, _ = host._disks(needed=True)
    assert (missing.ok, missing.needed) == (False, True)
    assert "XDG_CACHE_HOME" in missing.remedy


def test_a_scratch_directory_that_is_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/no/such/directory")
    found = findings()["scratch"]
    assert (found.ok, found.needed) == (False, True)
    assert "TMPDIR" in found.remedy


def test_a_cache_that_cannot_be_used_is_a_finding_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    found = findings()
    for name in ("image", "disk"):
        assert (found[name].ok, found[name].needed) == (False, True)
        assert "XDG_CACHE_HOME" in found[name].remedy
    assert found["setpriv"].needed
