from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gavotte.errors import ImageError, UsageError
from gavotte.guest.image import cache, list_images, remove_image
from tests.guest.image.making import an_image, quiet

HOLD_LOCK = """
from gavotte.guest.image import cache
with cache.lock(lambda *_: None), cache.draft() as draft:
    (draft / "vmlinux").write_bytes(b"half")
    print(draft, flush=True)
    input()
"""


@pytest.fixture
def builder() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_images_are_listed_newest_first_and_have_their_files() -> None:
    old, new = an_image(created=1.0), an_image(created=2.0)
    assert list_images() == [new, old]
    assert new.kernel.read_bytes().startswith(b"kernel")
    assert new.initrd.is_file()
    assert new.rootfs.is_file()
    assert new.age > 1e9
    assert not new.is_foreign


def test_an_empty_cache_is_no_error() -> None:
    assert list_images() == []


@pytest.fixture(params=["/dev/null", "/proc", "file", "images"])
def useless_cache(request: pytest.FixtureRequest, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cache directory that can't be one."""
    kind = str(request.param)
    if kind.startswith("/"):
        monkeypatch.setenv("XDG_CACHE_HOME", kind)
    else:
        in_the_way = own_cache / "images" if kind == "images" else own_cache
        in_the_way.parent.mkdir(parents=True)
        in_the_way.write_text("")
    return kind


def test_a_cache_that_cannot_be_used_is_said_so(useless_cache: str) -> None:
    for act in (cache.lock(quiet), cache.draft()):
        with pytest.raises(ImageError, match="can't be used") as caught, act:
            pass
        assert "XDG_CACHE_HOME" in caught.value.hint
    if useless_cache == "/proc":
        assert list_images() == []
        return
    with pytest.raises(ImageError, match="can't be used") as caught:
        list_images()
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_an_image_is_removed_by_the_beginning_of_its_id() -> None:
    image, other = an_image(created=1.0), an_image(created=2.0)
    assert remove_image(image.id[:8]) == image
    assert list_images() == [other]
    assert [path.name for path in cache.images_directory().iterdir()] == [other.id]


def test_removing_what_is_not_one_image_is_refused() -> None:
    an_image()
    with pytest.raises(ImageError, match="no image has"):
        remove_image("f" * 16)
    for evil in ("", "../x", "*"):
        with pytest.raises(UsageError):
            remove_image(evil)


@pytest.mark.parametrize("name", ["vmlinux", "initramfs", "rootfs.squashfs", "manifest.json"])
def test_a_damaged_image_is_not_an_image_and_can_be_made_again(name: str) -> None:
    image = an_image()
    path = image.path / name
    path.chmod(0o644)
    os.truncate(path, 5)
    assert list_images() == []
    assert an_image() == image
    assert list_images() == [image]


def test_a_block_that_fails_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), cache.lock(quiet), cache.draft() as draft:
        (draft / "vmlinux").write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(cache.images_directory().iterdir()) == []


def test_what_a_killed_builder_left_is_swept_by_the_next(builder: subprocess.Popen[str]) -> None:
    draft = Path(first_line(builder))
    builder.send_signal(signal.SIGKILL)
    builder.wait(10)
    assert draft.is_dir()
    image = an_image()
    assert [path.name for path in cache.images_directory().iterdir()] == [image.id]


def test_a_second_builder_waits_and_says_so(builder: subprocess.Popen[str]) -> None:
    draft = Path(first_line(builder))
    said = []

    def progress(phase: str, _fraction: float | None) -> None:
        said.append(phase)
        assert draft.is_dir()
        assert builder.stdin
        builder.stdin.write("\n")
        builder.stdin.flush()

    with cache.lock(progress):
        assert not draft.exists()
    assert said == [f"waiting for process {builder.pid}, which builds an image"]


@pytest.fixture
def small_disk(own_cache: Path) -> Iterator[None]:
    own_cache.mkdir(parents=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", own_cache], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small file system needs root")
    yield
    subprocess.run(["umount", own_cache], check=True)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_said_so_and_leaves_nothing() -> None:
    with pytest.raises(ImageError, match="disk is full") as caught, cache.lock(quiet), cache.draft() as draft:
        (draft / "vmlinux").write_bytes(bytes(4 << 20))
    assert "XDG_CACHE_HOME" in caught.value.hint
    assert list(cache.images_directory().iterdir()) == []


@pytest.mark.usefixtures("small_disk")
def test_a_program_that_fills_the_disk_is_said_so_too() -> None:
    from gavotte.guest.image import tools

    with pytest.raises(ImageError, match="disk is full"), cache.lock(quiet), cache.draft() as draft:
        tools.run(["dd", "if=/dev/zero", f"of={draft / 'vmlinux'}", "bs=64k"])
    assert list(cache.images_directory().iterdir()) == []


def test_too_little_space_is_said_before_the_work(own_cache: Path) -> None:
    own_cache.mkdir(parents=True)
    with pytest.raises(ImageError, match=r"needs 1048576T in .* are free"):
        cache.require_space({own_cache: 1 << 60})
