from __future__ import annotations

from pathlib import Path

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image.deb import Files
from tests.guest.image.making import a_deb


def test_packages_are_one_usr_merged_tree_whose_links_are_followed(tmp_path: Path) -> None:
    one = a_deb(tmp_path, {"lib/libz.so.1.2": b"library", "lib/libz.so.1": "libz.so.1.2"}, name="one")
    two = a_deb(tmp_path, {"usr/bin/tool": b"tool", "usr/lib64/ld.so": "/lib/libz.so.1"}, name="two")
    with Files([one, two], tmp_path) as files:
        assert list(files.names("usr/lib/")) == ["usr/lib/libz.so.1", "usr/lib/libz.so.1.2"]
        assert files.read("usr/lib64/ld.so") == b"library"
        assert files.resolve("usr/lib/libz.so.1") == "usr/lib/libz.so.1.2"
        assert files.read("usr/bin/tool") == b"tool"
    assert not list(tmp_path.glob("*.tar"))


def test_a_file_that_no_package_has_is_named(tmp_path: Path) -> None:
    package = a_deb(tmp_path, {"usr/loop": "loop", "usr/away": "/nowhere"})
    with Files([package], tmp_path) as files:
        for name in ("usr/none", "usr/loop", "usr/away"):
            with pytest.raises(ImageError, match=f"/{name}"):
                files.read(name)


def test_a_damaged_package_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = tmp_path / "broken.deb"
    broken.write_bytes(a_deb(tmp_path, {"usr/x": bytes(5000)}).read_bytes()[:3000])
    with pytest.raises(ImageError, match="dpkg-deb failed"), Files([broken], tmp_path):
        pass
    assert not list(tmp_path.glob("*.tar"))
