"""Which accelerator is chosen: by a guest's sign of life, once, remembered for as long as it means anything."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.guest.image import Image
from gavotte.qemu.binary import QemuBinary, find_qemu
from gavotte.sandbox import accel
from gavotte.sandbox.accel import KVM, Choice, choose_accel, expected_accel, note_emulation, verdicts_path
from gavotte.sandbox.artifacts import Artifacts, artifacts
from gavotte.sandbox.spec import make_spec

needs_kvm_device = pytest.mark.skipif(not os.access(KVM, os.R_OK | os.W_OK), reason="no /dev/kvm to be misled by")

Probe = Callable[[bool, str], list[str]]


@pytest.fixture
def files(image: Image) -> Artifacts:
    return artifacts(image)


@pytest.fixture(autouse=True)
def cache(files: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory without verdicts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(accel, "_unwritten", {})
    return tmp_path / "cache"


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Has the probe find this, without a guest; gives the list that each probe adds a line to."""

    def find(works: bool, why: str) -> list[str]:
        calls: list[str] = []

        async def probe(binary: QemuBinary, name: str, *_: Any, **__: Any) -> tuple[bool, str]:
            calls.append(name)
            return works, why

        monkeypatch.setattr(accel, "probe", probe)
        return calls

    return find


def choose(files: Artifacts, *, again: bool = False, binary: QemuBinary | None = None) -> Choice:
    return asyncio.run(choose_accel(binary or find_qemu(), make_spec(), files, again=again))


def other_boot() -> None:
    """The remembered verdicts become those of an earlier boot of this host."""
    known = json.loads(verdicts_path().read_text())
    verdicts_path().write_text(json.dumps({key: {**verdict, "boot": "earlier"} for key, verdict in known.items()}))


@pytest.mark.vm
@needs_kvm_device
def test_a_device_that_opens_is_not_trusted_but_a_guest_is(files: Artifacts) -> None:
    choice = choose(files)
    verdict = next(iter(json.loads(verdicts_path().read_text()).values()))
    assert verdict["works"] is (choice.accel == "kvm")
    assert verdict["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    seen = "was seen to run" if choice.accel == "kvm" else "printed nothing|didn't come up|can't use kvm"
    assert any(words in choice.why for words in seen.split("|"))
    assert expected_accel(find_qemu(), make_spec(), files) == choice.accel


@pytest.mark.parametrize("name", ["tcg", "kvm"])
def test_what_is_asked_for_is_not_probed(name: str, files: Artifacts, probed: Probe) -> None:
    calls = probed(False, "")
    spec = make_spec(accel=name)
    assert asyncio.run(choose_accel(find_qemu(), spec, files)).accel == name
    assert expected_accel(find_qemu(), spec, files) == name
    assert calls == []
    assert not verdicts_path().exists()


@needs_kvm_device
@pytest.mark.parametrize("works", [True, False])
def test_a_verdict_is_remembered_until_it_is_asked_again(works: bool, files: Artifacts, probed: Probe) -> None:
    calls = probed(works, "as seen")
    chosen = Choice("kvm" if works else "tcg", "as seen")
    assert [choose(files), choose(files)] == [chosen, chosen]
    assert calls == ["kvm"]
    assert expected_accel(find_qemu(), make_spec(), files) == chosen.accel
    assert choose(files, again=True) == chosen
    assert calls == ["kvm", "kvm"]


@needs_kvm_device
def test_a_busy_minute_does_not_mean_emulation_for_ever(files: Artifacts, probed: Probe) -> None:
    probed(False, "a busy minute")
    assert choose(files).accel == "tcg"
    other_boot()
    calls = probed(True, "it works")
    assert choose(files) == Choice("kvm", "it works")
    assert calls == ["kvm"]


@needs_kvm_device
def test_that_it_works_is_known_for_good(files: Artifacts, probed: Probe) -> None:
    probed(True, "it works")
    choose(files)
    other_boot()
    calls = probed(False, "")
    assert choose(files) == Choice("kvm", "it works")
    assert calls == []


@needs_kvm_device
def test_another_qemu_or_kernel_is_another_question(files: Artifacts, probed: Probe, tmp_path: Path) -> None:
    calls = probed(False, "")
    choose(files)
    choose(files, binary=replace(find_qemu(), identity="another"))
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(b"")
    choose(replace(files, kernel=kernel))
    assert len(calls) == 3
    assert len(json.loads(verdicts_path().read_text())) == 3


@needs_kvm_device
def test_a_users_own_machine_or_initrd_condemns_kvm_for_itself_alone(
    files: Artifacts, probed: Probe, tmp_path: Path
) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"no initrd")
    probed(False, "it hangs")
    for spec in (make_spec(initrd=initrd), make_spec(machine="microvm")):
        assert asyncio.run(choose_accel(find_qemu(), spec, files)).accel == "tcg"
        assert expected_accel(find_qemu(), spec, files) == "tcg"
    calls = probed(True, "it works")
    assert choose(files) == Choice("kvm", "it works")
    initrd.write_bytes(b"a better one")
    assert asyncio.run(choose_accel(find_qemu(), make_spec(initrd=initrd), files)).accel == "kvm"
    assert calls == ["kvm", "kvm"]


@needs_kvm_device
def test_a_new_agent_is_not_another_question(files: Artifacts, probed: Probe, tmp_path: Path) -> None:
    calls = probed(True, "it works")
    choose(files)
    (tmp_path / "initramfs").write_bytes(b"with a new agent")
    choose(replace(files, initrd=tmp_path / "initramfs"))
    assert calls == ["kvm"]


@needs_kvm_device
@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}"])
def test_a_damaged_memory_is_no_memory(content: str, files: Artifacts, probed: Probe) -> None:
    verdicts_path().parent.mkdir(parents=True)
    verdicts_path().write_text(content)
    calls = probed(False, "seen")
    assert choose(files) == choose(files) == Choice("tcg", "seen")
    assert calls == ["kvm"]


@needs_kvm_device
def test_a_cache_that_cannot_be_written_costs_a_process_one_probe(files: Artifacts, probed: Probe, cache: Path) -> None:
    cache.write_text("a file in the way")
    calls = probed(False, "seen")
    assert choose(files) == choose(files) == Choice("tcg", "seen")
    assert expected_accel(find_qemu(), make_spec(), files) == "tcg"
    assert calls == ["kvm"]
    calls = probed(True, "it works")
    assert choose(files, again=True) == choose(files) == Choice("kvm", "it works")
    cache.unlink()
    assert choose(files, again=True) == Choice("kvm", "it works")
    assert verdicts_path().exists()
    assert calls == ["kvm", "kvm"]


def test_without_the_device_there_is_nothing_to_probe(
    files: Artifacts, probed: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = probed(True, "")
    monkeypatch.setattr(accel, "KVM", "/no/such/kvm")
    assert choose(files) == Choice("tcg", "there is no /dev/kvm")
    assert calls == []


# what is said of it

EMULATED = Choice("tcg", "a guest on kvm printed nothing")


@pytest.fixture
def other_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets what this process has logged, as another one has never logged it."""

    def forget() -> None:
        monkeypatch.setattr(accel, "_noted", set())

    forget()
    return forget


@pytest.fixture
def noted(caplog: pytest.LogCaptureFixture, cache: Path) -> list[str]:
    (cache / "gavotte").mkdir(parents=True)
    caplog.set_level(logging.WARNING, "gavotte")
    return caplog.messages


def count(caplog: pytest.LogCaptureFixture) -> int:
    return sum("emulated" in message for message in caplog.messages)


@pytest.mark.usefixtures("noted")
def test_emulation_is_noted_once_in_each_boot_of_the_host(
    caplog: pytest.LogCaptureFixture, other_process: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        note_emulation(make_spec(), EMULATED)
    other_process()
    note_emulation(make_spec(), EMULATED)
    assert count(caplog) == 1
    assert "gavotte check" in caplog.text
    assert "printed nothing" not in caplog.text
    monkeypatch.setattr(accel, "boot_id", lambda: "the next boot")
    note_emulation(make_spec(), EMULATED)
    assert count(caplog) == 2


@pytest.mark.usefixtures("noted", "other_process")
def test_nothing_is_noted_of_kvm_or_of_emulation_that_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    note_emulation(make_spec(), Choice("kvm", "a guest was seen to run"))
    note_emulation(make_spec(accel="tcg"), EMULATED)
    note_emulation(make_spec(arch="aarch64"), EMULATED)
    assert count(caplog) == 0


@pytest.mark.usefixtures("noted")
def test_what_nobody_hears_of_is_noted_later(
    caplog: pytest.LogCaptureFixture, other_process: Callable[[], None]
) -> None:
    caplog.set_level(logging.CRITICAL, "gavotte")  # as with --quiet
    note_emulation(make_spec(), EMULATED)
    caplog.set_level(logging.WARNING, "gavotte")
    other_process()
    note_emulation(make_spec(), EMULATED)
    assert count(caplog) == 1


@pytest.mark.usefixtures("other_process")
def test_a_cache_that_cannot_be_written_means_a_note_from_each_process(
    caplog: pytest.LogCaptureFixture, cache: Path
) -> None:
    cache.write_text("a file in the way")
    for _ in range(2):
        note_emulation(make_spec(), EMULATED)
    assert count(caplog) == 1
