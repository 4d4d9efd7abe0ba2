from __future__ import annotations

import os
from pathlib import Path

import pytest

from gavotte.errors import QemuNotFound
from gavotte.qemu.binary import find_program, find_qemu
from gavotte.qemu.machines import ARCHES, EMULATORS, host_arch


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.delenv("GAVOTTE_QEMU", raising=False)
    return tmp_path


def put_program(path: Path, mode: int = 0o755, text: str = "#!/bin/sh\n") -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_architecture_names_the_program_on_path(bin_dir: Path) -> None:
    program = put_program(bin_dir / "qemu-system-s390x")
    assert find_qemu("s390x").path == program


def test_an_explicit_path_wins_over_the_variable_and_that_over_path(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(bin_dir / "qemu-system-x86_64")
    second = put_program(bin_dir / "second")
    third = put_program(bin_dir / "third")
    monkeypatch.setenv("GAVOTTE_QEMU", os.fspath(second))
    assert find_qemu().path == second
    assert find_qemu(path=os.fspath(third)).path == third


def test_a_missing_qemu_says_what_to_install(bin_dir: Path) -> None:
    with pytest.raises(QemuNotFound, match="qemu-system-x86_64 is not on PATH") as error:
        find_qemu()
    assert error.value.hint == "apt-get install qemu-system-x86"
    with pytest.raises(QemuNotFound) as error:
        find_qemu("aarch64")
    assert error.value.hint == "apt-get install qemu-system-arm"


@pytest.mark.parametrize(
    ("path", "arch", "package"),
    [
        ("qemu-system-aarch64", "aarch64", "qemu-system-arm"),
        ("/no/such/qemu-system-arm", "arm", "qemu-system-arm"),
        ("qemu-system-ppc64le", "ppc64le", "qemu-system-ppc"),
        ("qemu-system-mipsel", "mipsel", "qemu-system-mips"),
        ("qemu-system-riscv64", "riscv64", "qemu-system-riscv64"),  # which qemu-system-misc provides in Debian 12
    ],
)
def test_the_name_of_the_program_tells_the_architecture(bin_dir: Path, path: str, arch: str, package: str) -> None:
    with pytest.raises(QemuNotFound, match=f"^no QEMU for {arch}: {path} ") as error:
        find_qemu(path=path)
    assert error.value.hint == f"apt-get install {package}, or correct the path"


def test_the_architecture_that_is_asked_for_is_the_one_that_lacks_an_emulator(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QemuNotFound, match="^no QEMU for s390x: qemu-system-arm is not on PATH") as error:
        find_qemu("s390x", "qemu-system-arm")
    assert error.value.hint == "correct the path, or leave it out and apt-get install qemu-system-s390x"
    monkeypatch.setenv("GAVOTTE_QEMU", "qemu-system-arm")  # meant for the host's own
    with pytest.raises(QemuNotFound, match=f"^no QEMU for {host_arch()}") as error:
        find_qemu()
    assert error.value.hint.startswith("correct GAVOTTE_QEMU, or leave it out")


def test_each_architecture_of_the_machines_has_an_emulator() -> None:
    assert EMULATORS.keys() >= set(ARCHES)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: put_program(path, mode=0o644), "is not executable"),
    ],
)
def test_a_wrong_path_says_what_is_wrong_with_it_and_who_gave_it(
    make: object, why: str, bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bin_dir / "mine"
    assert callable(make)
    make(path)
    with pytest.raises(QemuNotFound, match=f"{path} {why}") as error:
        find_qemu(path=os.fspath(path))
    assert error.value.hint.startswith("correct the path")
    monkeypatch.setenv("GAVOTTE_QEMU", os.fspath(path))
    with pytest.raises(QemuNotFound, match=why) as error:
        find_qemu()
    assert error.value.hint.startswith("correct GAVOTTE_QEMU")


def test_what_is_not_executable_is_passed_over_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    put_program(first / "tool", mode=0o644)
    monkeypatch.setenv("PATH", f"{first}:{second}")
    assert find_program("tool") is None
    assert put_program(second / "tool") == find_program("tool")


def test_a_program_is_found_as_an_absolute_path(bin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children start in `/`, where a relative path would name something else."""
    program = put_program(bin_dir / "tool")
    monkeypatch.chdir(bin_dir)
    monkeypatch.setenv("PATH", ".")
    assert find_program("tool") == program
    assert find_program("./tool") == program


def test_identity_stays_until_the_file_changes(bin_dir: Path) -> None:
    program = put_program(bin_dir / "qemu-system-x86_64")
    link = bin_dir / "link"
    link.symlink_to(program)
    before = find_qemu()
    assert find_qemu() == before
    assert find_qemu(path=os.fspath(link)) == before, "a link is the same binary"
    put_program(program, text="#!/bin/sh\nexit 1\n")
    assert find_qemu().identity != before.identity


def test_identity_sees_a_replacement_of_the_same_size_and_time(bin_dir: Path) -> None:
    program = put_program(bin_dir / "qemu-system-x86_64")
    before = find_qemu()
    other = put_program(bin_dir / "new")
    stat = program.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(program)
    assert find_qemu().identity != before.identity
