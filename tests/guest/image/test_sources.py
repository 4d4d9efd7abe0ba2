from __future__ import annotations

from pathlib import Path

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image import sources

DEB822 = """\
Types: deb deb-src
# a comment
URIs: http://archive.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {keyring}

Types: deb
URIs: http://archive.example/security
Suites: bookworm-security
Components: main
Signed-By:
 {keyring}

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
Signed-By: {keyring}

Types: deb
URIs: http://third.example/party
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/third-party.gpg
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by={keyring}] http://old.example/debian bookworm main non-free # trailing
deb [signed-by={keyring}] http://old.example/debian bookworm contrib
"""


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "debian-archive-keyring.gpg"
    path.touch()
    monkeypatch.setattr(sources, "KEYRING", path)
    return path


def host(tmp_path: Path, name: str, text: str, keyring: Path) -> Path:
    path = tmp_path / "apt" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(keyring=keyring))
    return tmp_path / "apt"


def test_only_debian_s_own_archives_of_the_suite_are_kept(tmp_path: Path, keyring: Path) -> None:
    found = sources.choose("bookworm", directory=host(tmp_path, "sources.list.d/debian.sources", DEB822, keyring))
    assert [source.one_line() for source in found] == [
        f"deb [signed-by={keyring}] http://archive.example/debian bookworm main\n",
        f"deb [signed-by={keyring}] http://archive.example/debian bookworm-updates main\n",
        f"deb [signed-by={keyring}] http://archive.example/security bookworm-security main\n",
    ]


def test_the_old_format_is_read_too(tmp_path: Path, keyring: Path) -> None:
    found = sources.choose("bookworm", directory=host(tmp_path, "sources.list", ONE_LINE, keyring))
    assert [source.uri for source in found] == ["http://old.example/debian"]


def test_a_mirror_replaces_the_archive_but_not_its_security_updates(tmp_path: Path, keyring: Path) -> None:
    directory = host(tmp_path, "sources.list.d/debian.sources", DEB822, keyring)
    found = sources.choose("bookworm", mirror="http://near.example/debian", directory=directory)
    assert [(source.uri, source.suite) for source in found] == [
        ("http://near.example/debian", "bookworm"),
        ("http://near.example/debian", "bookworm-updates"),
        ("http://archive.example/security", "bookworm-security"),
    ]


def test_a_suite_that_the_host_does_not_name_asks_for_a_mirror(tmp_path: Path, keyring: Path) -> None:
    with pytest.raises(ImageError, match="'sid'") as caught:
        sources.choose("sid", directory=host(tmp_path, "sources.list.d/debian.sources", DEB822, keyring))
    assert "--mirror" in caught.value.hint


def test_an_archive_that_serves_the_host_serves_a_later_release(tmp_path: Path, keyring: Path) -> None:
    directory = host(tmp_path, "sources.list.d/debian.sources", DEB822, keyring)
    found = sources.choose("trixie", like="bookworm", directory=directory)
    assert [(source.uri, source.suite) for source in found] == [
        ("http://archive.example/debian", "trixie"),
        ("http://archive.example/debian", "trixie-updates"),
        ("http://archive.example/security", "trixie-security"),
    ]


def test_what_the_host_names_itself_is_preferred(tmp_path: Path, keyring: Path) -> None:
    text = DEB822 + DEB822.replace("bookworm", "trixie").replace("archive.example", "other.example")
    found = sources.choose(
        "trixie", like="bookworm", directory=host(tmp_path, "sources.list.d/debian.sources", text, keyring)
    )
    assert {source.uri.split("/")[2] for source in found} == {"other.example"}


def test_without_a_keyring_nothing_is_trusted(tmp_path: Path, keyring: Path) -> None:
    keyring.unlink()
    with pytest.raises(ImageError, match="keyring") as caught:
        sources.choose("sid", mirror="http://near.example/debian", directory=tmp_path)
    assert "debian-archive-keyring" in caught.value.hint


@pytest.mark.parametrize(
    "mirror", ["", "near.example", "http://a b/", "http://x/\ndeb http://evil.example", "[trusted=yes]"]
)
def test_a_mirror_can_not_smuggle_in_a_line(tmp_path: Path, keyring: Path, mirror: str) -> None:
    with pytest.raises(ImageError):
        sources.choose("sid", mirror=mirror, directory=tmp_path)
