from __future__ import annotations

from pathlib import Path

import pytest

from gavotte.guest.image import find, find_image
from tests.guest.image.making import an_image


def os_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "os-release"
    path.write_text(text)
    monkeypatch.setattr(find, "OS_RELEASE", path)


@pytest.mark.parametrize(
    ("text", "suite"),
    [
        ('ID=debian\nVERSION_CODENAME="trixie"\n', "trixie"),
        ("ID=fedora\nVERSION_CODENAME=other\n", "bookworm"),
        ("ID=debian\n", "bookworm"),
        ("", "bookworm"),
    ],
)
def test_the_suite_is_the_host_s_where_it_is_debian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, suite: str
) -> None:
    os_release(tmp_path, monkeypatch, text)
    assert find.default_suite() == suite


@pytest.mark.parametrize(
    ("host", "arch", "suite"),
    [
        ("bookworm", "riscv64", "trixie"),
        ("trixie", "riscv64", "trixie"),
        ("bookworm", "ppc64", "bookworm"),
        ("bookworm", "aarch64", "bookworm"),
    ],
)
def test_an_architecture_that_a_release_lacks_comes_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, arch: str, suite: str
) -> None:
    os_release(tmp_path, monkeypatch, f"ID=debian\nVERSION_CODENAME={host}\n")
    assert find.default_suite(arch) == suite


@pytest.mark.parametrize(
    ("arch", "name"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("ppc64", "ppc64el"), ("s390x", "s390x"), ("riscv64", "riscv64")],
)
def test_an_image_is_found_by_its_architecture(arch: str, name: str) -> None:
    image = an_image(suite=find.default_suite(arch), arch=arch)
    assert image.manifest.recipe.architecture == name
    assert find_image(arch) == find_image(name) == image
    others = {"x86_64", "aarch64", "ppc64", "s390x", "riscv64"} - {arch}
    assert all(find_image(other) is None for other in others)


def test_the_newest_current_image_is_found() -> None:
    an_image(created=1.0)
    newest = an_image(created=2.0)
    an_image(created=3.0, agent="0" * 64)
    assert find_image(suite="bookworm") == newest
    assert find_image(suite="trixie") is None


def test_an_image_of_another_suite_serves_when_none_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os_release(tmp_path, monkeypatch, "ID=debian\nVERSION_CODENAME=bookworm\n")
    other = an_image(suite="trixie", created=2.0)
    assert find_image() == other
    own = an_image(suite="bookworm", created=1.0)
    assert find_image() == own


def test_an_empty_cache_has_none() -> None:
    assert find_image() is None
