from __future__ import annotations

import io
import shutil
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.guest.image import cpio

TREE: cpio.Tree = {
    "init": cpio.file(b"#!/bin/sh\n", executable=True),
    "bin": cpio.symlink("usr/bin"),
    "usr/lib/odd": cpio.file(b"12345"),
    "dev/console": cpio.character_device(5, 1),
    "tmp": cpio.directory(0o1777),
}


def packed(tree: cpio.Tree) -> bytes:
    out = io.BytesIO()
    assert cpio.write(out, tree) == len(out.getvalue())
    return out.getvalue()


def test_what_is_written_is_read_again_with_the_missing_parents() -> None:
    read = dict(cpio.read(io.BytesIO(packed(TREE))))
    assert {name: entry for name, entry in read.items() if name in TREE} == TREE
    assert stat.S_ISDIR(read["usr/lib"].mode)
    assert list(read).index("usr") < list(read).index("usr/lib") < list(read).index("usr/lib/odd")


def test_concatenated_archives_are_read_one_after_the_other() -> None:
    source = io.BytesIO(packed(TREE) + packed({"agent.py": cpio.file(b"x")}))
    assert "init" in dict(cpio.read(source))
    source.seek(-source.tell() % 512, io.SEEK_CUR)
    assert dict(cpio.read(source)) == {"agent.py": cpio.file(b"x")}


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is the second opinion")
def test_another_reader_agrees() -> None:
    listing = subprocess.run(
        ["busybox", "cpio", "-tv"], input=packed(TREE), capture_output=True, check=True
    ).stdout.decode()
    assert "usr/lib/odd" in listing
    assert "bin -> usr/bin" in listing
    assert [line[0] for line in listing.splitlines() if line.endswith("dev/console")] == ["c"]


def test_equal_trees_are_equal_archives() -> None:
    assert packed(TREE) == packed(dict(reversed(TREE.items())))


@pytest.mark.parametrize("name", ["/etc", "a//b", "../a", "a/./b", ""])
def test_a_name_that_leaves_the_tree_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a plain relative name"):
        packed({name: cpio.file(b"")})


@given(cut=st.integers(0, len(packed(TREE)) - 513))
def test_a_cut_archive_is_never_taken_for_whole(cut: int) -> None:
    with pytest.raises(ValueError):
        list(cpio.read(io.BytesIO(packed(TREE)[:cut])))


def test_a_length_out_of_bounds_is_refused() -> None:
    archive = bytearray(packed({"a": cpio.file(b"x")}))
    archive[54:62] = b"FFFFFFFF"
    with pytest.raises(ValueError, match="out of bounds"):
        list(cpio.read(io.BytesIO(bytes(archive))))
