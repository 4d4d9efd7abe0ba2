"""Images for other architectures: what is refused at once, and the guest that does what can't be done here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte.errors import ImageError, QemuNotFound, UsageError
from gavotte.guest.image import Image, cache
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.machines import host_arch
from gavotte.sandbox.accel import choose_accel, expected_accel
from gavotte.sandbox.artifacts import artifacts
from gavotte.sandbox.images import build_image, in_guest
from gavotte.sandbox.spec import make_spec
from gavotte.sandbox.template.store import templates_directory

OTHER = "s390x"  # not this host's, whoever runs the tests
assert host_arch() != OTHER


def quiet(_phase: str, _fraction: float | None) -> None:
    """A progress that nobody looks at."""


def run_here(image: Image, *argv: str, lines: list[str] | None = None) -> Any:
    """`in_guest` in a guest of this host's architecture, which needs no long emulation."""
    said = [] if lines is None else lines
    return in_guest(host_arch(), None, image.kernel, image.initrd, image.rootfs, argv, said.append)


def test_without_an_emulator_the_package_is_named_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(QemuNotFound) as caught:
        build_image(OTHER, progress=quiet)
    assert caught.value.hint == f"apt-get install qemu-system-{OTHER}"
    assert not (tmp_path / "cache").exists()


def test_an_architecture_that_is_not_known_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="no architecture 'vax'") as caught:
        build_image("vax", progress=quiet)
    assert "riscv64" in caught.value.hint


def test_kvm_is_refused_for_another_architecture() -> None:
    with pytest.raises(UsageError, match=rf"^accel: KVM runs guests .* not {OTHER}$"):
        make_spec(arch=OTHER, accel="kvm")


def test_another_architecture_is_emulated_without_a_probe(image: Image) -> None:
    spec = make_spec(arch=OTHER)
    choice = asyncio.run(choose_accel(find_qemu(), spec, artifacts(image)))
    assert choice.accel == expected_accel(find_qemu(), spec, artifacts(image)) == "tcg"
    assert OTHER in choice.why


def test_an_alias_and_a_default_machine_are_resolved() -> None:
    spec = make_spec(arch="ppc64le")
    assert (spec.arch, spec.machine) == ("ppc64", "pseries")
    assert make_spec().arch == host_arch()


def test_a_machine_of_another_architecture_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^machine: no machine 'q35' for aarch64$"):
        gavotte.Sandbox(arch="aarch64", machine="q35")


def test_memory_is_held_to_what_the_architecture_needs() -> None:
    with pytest.raises(gavotte.UsageError, match="too little"):
        make_spec(arch="ppc64", memory="200M")
    assert make_spec(arch="x86_64", memory="200M").memory == 200 << 20


@pytest.mark.vm
def test_a_guest_gives_stdout_as_a_stream_and_stderr_as_lines(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made of what it is given, as while a first image is built: there is no other, and the lock is taken."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines: list[str] = []
    argv = ("sh", "-c", "echo one >&2; head -c 3000000 /dev/zero; echo two >&2")
    with cache.lock(quiet), run_here(image, *argv, lines=lines) as source:
        assert source.read() == bytes(3_000_000)
    assert lines == ["one", "two"]
    assert list(cache.images_directory().iterdir()) == []
    assert not templates_directory().exists()


@pytest.mark.vm
def test_a_command_that_fails_is_an_error_with_its_last_lines(image: Image) -> None:
    script = "echo out; echo the reason >&2; exit 3"
    with (
        pytest.raises(ImageError, match=r"status 3 in the guest\n  the reason"),
        run_here(image, "sh", "-c", script) as s,
    ):
        assert s.read() == b"out\n"


@pytest.mark.vm
def test_leaving_early_ends_the_guest(image: Image) -> None:
    with pytest.raises(KeyboardInterrupt), run_here(image, "sh", "-c", "yes; sleep 1000") as source:
        assert source.read(2) == b"y\n"
        raise KeyboardInterrupt
