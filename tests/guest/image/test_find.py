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
