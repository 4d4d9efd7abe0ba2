from __future__ import annotations

import gzip
import io
import os
import socket
import stat
import tarfile
from contextvars import Context
from pathlib import Path

import pytest

from gavotte.errors import ImageError
from gavotte.flock import FileLock
from gavotte.guest.image import cache, export_image, find_image, import_image, list_images, remove_image
from tests.guest.image.making import an_image, quiet


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An image in a file, and no longer in the cache."""
    image = an_image()
    export_image(image, tmp_path / "image.tar.gz")
    remove_image(image.id)
    return tmp_path / "image.tar.gz"


def rewritten(path: Path, *, change: dict[str, bytes] | None = None, order: list[str] | None = None) -> Path:
    """The archive at `path` with other contents or another order."""
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as new:
        for name in order or old.getnames():
            file = old.extractfile(name)
            assert file
            data = (change or {}).get(name, file.read())
            info = tarfile.TarInfo(name)
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    path.write_bytes(gzip.compress(out.getvalue()))
    return path


def single(path: Path, info: tarfile.TarInfo) -> Path:
    """An archive that begins with the header `info`, whatever it says."""
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
    return path


def refuse(path: Path, why: str) -> None:
    with pytest.raises(ImageError, match=why) as caught:
        import_image(path, progress=quiet)
    assert caught.value.hint
    assert list_images() == []
    assert not cache.images_directory().exists() or list(cache.images_directory().iterdir()) == []


def test_an_exported_image_is_the_same_after_import_and_marked(exported: Path) -> None:
    image = import_image(exported, progress=quiet)
    assert image == find_image()
    assert image.is_foreign
    assert image.kernel.read_bytes() == b"kernel" * 100
    assert import_image(exported, progress=quiet) == image


def test_equal_images_are_equal_files(tmp_path: Path) -> None:
    image = an_image()
    export_image(image, tmp_path / "one")
    export_image(image, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_any_tar_reads_an_exported_image(exported: Path) -> None:
    with tarfile.open(exported) as archive:
        assert archive.getnames() == ["manifest.json", "vmlinux", "initramfs", "rootfs.squashfs"]


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    image = an_image()
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "image"
    target.write_bytes(b"old")
    image.rootfs.unlink()
    with pytest.raises(ImageError, match="can't be exported"):
        export_image(image, target)
    assert [path.name for path in target.parent.iterdir()] == ["image"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device", "link to a fifo"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, kind: str) -> None:
    image, target = an_image(), tmp_path / "out"
    if kind == "directory":
        target.mkdir()
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(target))
    elif kind == "device":
        if os.getuid():
            pytest.skip("only root can make a device")
        os.mknod(target, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null
    else:
        os.mkfifo(tmp_path / "fifo")
        target.symlink_to("fifo")
    before = os.lstat(target)
    with pytest.raises(ImageError, match="not a regular file") as caught:
        export_image(image, target)
    assert caught.value.hint
    assert os.lstat(target) == before


def test_an_anonymous_pipe_is_no_place_for_an_image() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(ImageError, match="not a regular file"):
            export_image(an_image(), Path(f"/proc/self/fd/{writing}"))
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_file_is_written(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "elsewhere" / "image", tmp_path / "link"
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    link.symlink_to("elsewhere/image")
    export_image(an_image(), link)
    assert link.is_symlink()
    assert tarfile.is_tarfile(target)
    assert [path.name for path in target.parent.iterdir()] == ["image"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "image.tar.gz"
    with pytest.raises(ImageError, match="No such file or directory") as caught:
        export_image(an_image(), target)
    assert ".image" not in caught.value.message
    assert f"make the directory {target.parent}" in caught.value.hint


def test_a_directory_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    """Nor can root make a file in /proc/self/fd."""
    with pytest.raises(ImageError) as caught:
        export_image(an_image(), Path("/proc/self/fd/image.tar.gz"))
    assert ".image" not in caught.value.message
    assert "space" not in caught.value.hint


def test_a_changed_file_is_refused(exported: Path) -> None:
    refuse(rewritten(exported, change={"rootfs.squashfs": b"evil!!" * 100}), "hash of rootfs.squashfs")


def test_a_file_of_another_size_is_refused(exported: Path) -> None:
    refuse(rewritten(exported, change={"vmlinux": b"short"}), "should have 600 bytes")


def test_a_file_larger_than_promised_is_refused(exported: Path) -> None:
    refuse(rewritten(exported, change={"vmlinux": bytes(601)}), "larger than it may be")


def test_another_order_is_refused(exported: Path) -> None:
    refuse(rewritten(exported, order=["vmlinux", "manifest.json"]), "should come here")


@pytest.mark.parametrize("cut", [0, 10, 200, -100])
def test_a_cut_off_file_is_refused(exported: Path, cut: int) -> None:
    exported.write_bytes(exported.read_bytes()[:cut])
    refuse(exported, "can't be imported")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE])
def test_an_entry_that_is_no_regular_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("manifest.json")
    info.type = kind
    info.size = 100
    info.linkname = "/etc/passwd"
    refuse(single(tmp_path / "evil", info), "regular file")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "images/x", "manifest.json/"])
def test_a_path_is_refused(tmp_path: Path, name: str) -> None:
    refuse(single(tmp_path / "evil", tarfile.TarInfo(name)), "should come here")


@pytest.mark.parametrize("size", [0, 1 << 40, -5])
def test_a_size_without_measure_is_refused(tmp_path: Path, size: int) -> None:
    info = tarfile.TarInfo("manifest.json")
    info.size = size
    refuse(single(tmp_path / "evil", info), "larger than it may be|no tar header")


def test_what_is_no_archive_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    refuse(tmp_path / "text", "can't be imported")
    refuse(tmp_path / "missing", "can't be imported")


def test_an_import_that_has_to_wait_says_for_whom(exported: Path, own_cache: Path) -> None:
    other = FileLock(own_cache / "build.lock")
    assert Context().run(other.take)  # as another thread of this process takes it
    said = []

    def progress(phase: str, _fraction: float | None) -> None:
        said.append(phase)
        other.release()

    assert import_image(exported, progress=progress) == find_image()
    assert said == ["waiting for this process, which builds an image"]
