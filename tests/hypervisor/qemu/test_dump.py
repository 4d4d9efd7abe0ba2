"""The memory of a guest that panicked, in a file; or why there is none."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gavotte.hypervisor.devices import Raw
from gavotte.hypervisor.events import GuestPanicked
from gavotte.hypervisor.qemu import dump
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from tests.support.binaries import BINARIES
from tests.support.programs import DEADLINE
from tests.support.tiny import PANIC, config_for, does

MEMORY = 32 << 20


def panicked(kernels: Path, directory: Path, qemu: Path | None = None) -> tuple[GuestPanicked, str]:
    """What a machine that dumps to `directory` reports of its panic, and says of its end, which follows by itself."""

    async def main() -> tuple[GuestPanicked, str]:
        binary = find_qemu(path=str(qemu) if qemu else None)
        devices = (Raw("panic", {"driver": "pvpanic"}),)
        vm = QemuVm(binary, config_for(does(kernels, PANIC), devices=devices, memory=MEMORY, dump=directory))
        async with asyncio.timeout(2 * DEADLINE):
            with vm.events(GuestPanicked) as events:
                await vm.start()
                event = await anext(events)
                assert isinstance(event, GuestPanicked)
                assert await vm.wait()
                why = str(await vm.explain_end())
                await vm.stop()
                return event, why

    return asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "dumps"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("qemu", BINARIES)
def test_the_memory_of_a_panicked_guest_is_an_elf_file_for_its_owner(
    tmp_path: Path, folder: Path, qemu: Path | None
) -> None:
    event, why = panicked(tmp_path, folder, qemu)
    assert event.dump_problem == ""
    assert event.dump is not None
    assert [*folder.iterdir()] == [event.dump]
    assert event.dump.name.startswith("tiny-")
    assert event.dump.suffix == ".elf"
    assert event.dump.stat().st_mode & 0o777 == 0o600
    data = event.dump.read_bytes()
    assert data[:4] == b"\x7fELF"
    assert len(data) >= MEMORY
    assert PANIC in data  # the guest's own code
    assert f"its memory is in {event.dump}" in why


def test_without_room_there_is_no_dump_and_the_numbers_are_told(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "_MARGIN", 1 << 60)
    event, why = panicked(tmp_path, folder)
    assert event.dump is None
    assert " free, and a dump of this guest takes" in event.dump_problem
    assert event.dump_problem in why
    assert [*folder.iterdir()] == []


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    event, _ = panicked(tmp_path, tmp_path / "nowhere")
    assert "nowhere" in event.dump_problem


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half the memory's size."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEMORY // 2}", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting takes root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_small_disk_is_found_before_anything_is_written(tmp_path: Path, small_disk: Path) -> None:
    event, _ = panicked(tmp_path, small_disk)
    assert "has 16M free, and a dump of this guest takes 96M" in event.dump_problem
    assert [*small_disk.iterdir()] == []


def test_a_disk_that_fills_up_meanwhile_leaves_no_half_dump(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "_MARGIN", -MEMORY)  # as if there had been room when it was looked at
    event, why = panicked(tmp_path, small_disk)
    assert "couldn't dump the memory" in event.dump_problem
    assert "No space left on device" in event.dump_problem
    assert "there is no dump" in why
    assert [*small_disk.iterdir()] == []
