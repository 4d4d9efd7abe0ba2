"""The root file system of another architecture: its packages as one tree, and a guest that does the rest."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image import unconfigured
from gavotte.guest.image.apt import Package
from tests.guest.image.making import a_deb, quiet

STATUS = b"Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n"


class FakeApt:
    """An archive of these packages."""

    def __init__(self, debs: Sequence[Path]) -> None:
        self.debs = debs

    def closure(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def candidates(self, _names: Sequence[str]) -> list[Package]:
        return []

    def download(self, _packages: Sequence[Package], _phase: str, _progress: object) -> list[Path]:
        return list(self.debs)


@pytest.fixture
def debs(tmp_path: Path) -> list[Path]:
    """Two packages that share a directory, one of them as before the merge of /usr, one as after it."""
    old: dict[str, bytes | str] = {"bin/sh": "dash", "bin/dash": b"old", "lib64/ld.so": "ld-1.so", "etc/both": b"first"}
    new: dict[str, bytes | str] = {
        "usr/bin/mawk": b"new",
        "lib": "usr/lib",
        "usr/share/doc/new/x": b"",
        "etc/both": b"second",
    }
    return [a_deb(tmp_path, old, name="old"), a_deb(tmp_path, new, name="new")]


def listing(squashfs: Path) -> dict[str, str]:
    """Path -> type, owner and target, as unsquashfs says them."""
    said = subprocess.run(["unsquashfs", "-lln", squashfs], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 5) for line in said.splitlines() if "squashfs-root" in line)
    return {row[-1].partition(" -> ")[0].removeprefix("squashfs-root"): f"{row[0][0]} {row[1]}" for row in rows}


def content(squashfs: Path, name: str) -> bytes:
    return subprocess.run(["unsquashfs", "-cat", squashfs, name], capture_output=True, check=True).stdout


def build(tmp_path: Path, debs: Sequence[Path], system: bytes, seen: list[Path]) -> dict[str, str]:
    @contextlib.contextmanager
    def guest(
        _kernel: Path, _initrd: Path, rootfs: Path, _argv: Sequence[str], on_line: Callable[[str], None]
    ) -> Iterator[IO[bytes]]:
        copy = tmp_path / "seen"
        copy.write_bytes(rootfs.read_bytes())
        seen.append(copy)
        on_line("Unpacking old (1) ...")
        yield io.BytesIO(system)

    kernel = tmp_path / "kernel"
    return unconfigured.build(tmp_path / "rootfs", FakeApt(debs), kernel, kernel, guest, quiet)  # type: ignore[arg-type]  # stands in for apt


def a_system() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as system:
        for name, data in {"./var/lib/dpkg/status": STATUS, "./etc/hostname": b"builder\n"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            system.addfile(info, io.BytesIO(data))
    return file.getvalue()


def test_packages_become_one_tree_with_merged_usr(tmp_path: Path, debs: list[Path]) -> None:
    seen: list[Path] = []
    assert build(tmp_path, debs, a_system(), seen) == {"bash": "5.2"}
    tree = listing(seen[0])
    assert {name: tree[name][0] for name in ("/bin", "/lib64", "/lib", "/usr/bin/sh", "/usr/lib64/ld.so")} == {
        "/bin": "l",
        "/lib64": "l",
        "/lib": "l",
        "/usr/bin/sh": "l",
        "/usr/lib64/ld.so": "l",
    }
    assert content(seen[0], "usr/bin/dash") == b"old"
    assert content(seen[0], "usr/bin/mawk") == b"new"
    assert "/sbin" not in tree, "a link to nothing"
    assert "/usr/share/doc" in tree
    assert "/usr/share/doc/new" not in tree


def test_all_belongs_to_root_whoever_builds(tmp_path: Path, debs: list[Path]) -> None:
    seen: list[Path] = []
    build(tmp_path, debs, a_system(), seen)
    owners = {facts.split()[1] for name, facts in listing(seen[0]).items() if name not in ("", "/var")}
    assert owners == {"0/0"}


def test_of_two_packages_with_one_file_the_first_gives_it(tmp_path: Path, debs: list[Path]) -> None:
    seen: list[Path] = []
    build(tmp_path, debs, a_system(), seen)
    assert content(seen[0], "etc/both") == b"first"


def test_the_packages_themselves_are_there_for_the_guest(tmp_path: Path, debs: list[Path]) -> None:
    seen: list[Path] = []
    build(tmp_path, debs, a_system(), seen)
    for deb in debs:
        assert content(seen[0], f"{unconfigured.ARCHIVES}/{deb.name}") == deb.read_bytes()


def test_what_the_guest_gives_is_the_image_and_nothing_else_is_left(tmp_path: Path, debs: list[Path]) -> None:
    build(tmp_path, debs, a_system(), [])
    assert content(tmp_path / "rootfs", "etc/hostname") == b"gavotte\n"
    assert not (tmp_path / "unconfigured").exists()


@pytest.mark.parametrize("system", [b"", b"sh: 1: not a tar archive" * 100, a_system()[:700]])
def test_a_stream_that_is_no_system_is_an_image_error(tmp_path: Path, debs: list[Path], system: bytes) -> None:
    with pytest.raises(ImageError):
        build(tmp_path, debs, system, [])
    assert not (tmp_path / "unconfigured").exists()
