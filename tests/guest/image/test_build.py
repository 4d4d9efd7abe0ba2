from __future__ import annotations

import importlib.util
import marshal
import stat
from pathlib import Path
from types import CodeType

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image import build, build_image, cpio, find, find_image, list_images, manifest, sources
from tests.guest.image.making import MAGIC_OF_NOBODY, an_image, quiet

PLACE = manifest.AGENT_PLACE


def agent_archive(image_initrd: Path, base_length: int) -> cpio.Tree:
    with image_initrd.open("rb") as file:
        file.seek(base_length)
        return dict(cpio.read(file))


def files_of(tree: cpio.Tree) -> set[str]:
    return {name for name, entry in tree.items() if stat.S_ISREG(entry.mode)}


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host with neither network nor a tool to build with."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_tools")
def test_the_current_image_is_given_at_once() -> None:
    image = an_image()
    assert build_image(progress=quiet) == image


@pytest.mark.usefixtures("no_tools")
def test_another_agent_takes_all_else_from_the_last_image() -> None:
    old = an_image(agent="0" * 64, magic=importlib.util.MAGIC_NUMBER.hex())
    image = build_image(progress=quiet)
    assert image == find_image() != old
    assert image.kernel.samefile(old.kernel)
    assert image.rootfs.samefile(old.rootfs)
    length = old.manifest.base_length
    assert image.manifest.base_length == length
    assert image.initrd.read_bytes()[:length] == old.initrd.read_bytes()[:length]
    added = agent_archive(image.initrd, length)
    assert {name: added[name].data for name in manifest.agent_files()} == manifest.agent_files()
    code = marshal.loads(added[f"{PLACE}/__pycache__/boot.cpython-311.pyc"].data[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == f"/{PLACE}/boot.py"


@pytest.mark.usefixtures("no_tools")
def test_an_imported_image_s_programs_never_run_here() -> None:
    old = an_image(agent="0" * 64)
    (old.path / "imported").touch()
    image = build_image(progress=quiet)
    assert image.is_foreign
    assert files_of(agent_archive(image.initrd, image.manifest.base_length)) == manifest.agent_files().keys()


@pytest.mark.usefixtures("no_tools")
@pytest.mark.skipif("amd64" not in build.KERNEL_PACKAGES, reason="no images here")
def test_an_agent_that_imports_more_needs_a_new_base() -> None:
    an_image(agent="0" * 64, left_out=("ctypes",))
    with pytest.raises(ImageError, match=r"needs .*mmdebstrap") as caught:
        build_image(progress=quiet)
    assert "apt-get install" in caught.value.hint


@pytest.mark.skipif(not sources.KEYRING.exists(), reason="only where Debian's keyring is")
def test_no_image_and_no_network_says_what_to_do() -> None:
    with pytest.raises(ImageError, match="package lists can't be fetched") as caught:
        build_image(suite="nosuch", mirror="http://127.0.0.1:9/debian", progress=quiet)
    assert "connect to the network, or import an image" in caught.value.hint
    assert list_images() == []


@pytest.mark.usefixtures("no_tools")
@pytest.mark.parametrize("magic", [importlib.util.MAGIC_NUMBER.hex(), MAGIC_OF_NOBODY])
def test_an_image_of_another_architecture_takes_a_new_agent_too(magic: str) -> None:
    suite = find.default_suite("s390x")
    old = an_image(suite=suite, arch="s390x", agent="0" * 64, magic=magic)
    image = build_image("s390x", progress=quiet)
    assert image == find_image("s390x") != old
    assert find_image("x86_64") is None
    added = agent_archive(image.initrd, image.manifest.base_length)
    compiled = magic != MAGIC_OF_NOBODY  # by a Python of ours; another one can't be had without network
    assert (f"{PLACE}/__pycache__/boot.cpython-311.pyc" in added) == compiled
    assert {name for name in files_of(added) if name.endswith(".py")} == manifest.agent_files().keys()


def test_an_archive_out_of_step_is_left_out_and_no_other() -> None:
    names = ("bookworm", "bookworm-updates", "bookworm-security")
    chosen = [sources.Source("http://archive.example/debian", name, "/keyring.gpg") for name in names]
    kept = [[source.suite for source in some] for some in build._fallbacks(chosen, "bookworm")]
    assert kept == [
        ["bookworm", "bookworm-updates", "bookworm-security"],
        ["bookworm", "bookworm-security"],
        ["bookworm", "bookworm-updates"],
        ["bookworm"],
    ]
    assert list(build._fallbacks(chosen[:1], "bookworm")) == [chosen[:1]]
