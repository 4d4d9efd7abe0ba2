"""The templates on a machine, without a guest: kept, listed, told to be stale, removed, never half made."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import Bug, HostError, UsageError
from gavotte.guest.image import Image, find_image
from gavotte.qemu.binary import QemuBinary
from gavotte.sandbox.template import build, stale, store
from gavotte.sandbox.template.layout import Layout
from gavotte.sandbox.template.plan import host_of
from gavotte.sandbox.template.store import (
    Template,
    discard,
    draft,
    find_template,
    list_damaged,
    list_templates,
    lock,
    publish,
    remove_all,
    remove_template,
    templates_directory,
)
from tests.support.blank_templates import MIB, TEMPLATE, drafts, made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory without images and templates."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "gavotte"


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def with_deadline() -> None:
        async with asyncio.timeout(30):
            await story()

    asyncio.run(with_deadline())


def keys() -> list[str]:
    return [template.key for template in list_templates()]


# kept


def test_what_was_published_is_found_whole() -> None:
    template = made("aa11", replace(TEMPLATE, macs={"latent-nic0": 7}))
    assert find_template("aa11") == template
    assert template.layout == Layout(memory=4 * MIB, max_memory=64 * MIB, cpus=2)
    assert drafts() == []
    assert find_template("bb22") is None


@pytest.mark.parametrize(("umask", "folder", "file"), [(0o077, 0o700, 0o400), (0o022, 0o755, 0o444), (0, 0o755, 0o444)])
def test_others_may_read_a_template_if_the_umask_lets_them_and_never_write_it(
    umask: int, folder: int, file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "masked"))
    before = os.umask(umask)
    try:
        template = made("aa11")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in template.path.iterdir()}
    assert modes == {"memory": file, "state": file, "template.json": file}
    assert template.path.stat().st_mode & 0o777 == folder


def test_a_template_takes_what_lies_on_the_disk_and_not_what_its_memory_could_hold() -> None:
    template = made("aa11")
    assert template.size < MIB
    discard(template.path)
    assert (template.size, template.used) == (0, template.created)


def test_one_of_the_same_key_takes_the_place_of_the_other() -> None:
    made("aa11", age=60)
    assert made("aa11").age < 50
    assert keys() == ["aa11"]
    assert drafts() == []


def test_the_last_used_are_kept_and_the_others_go() -> None:
    for number in range(8):
        made(f"{number}0", age=100 - number)
    template = find_template("00")
    assert template
    template.touch()
    (templates_directory() / "70" / "template.json").unlink()  # of no use, and counted all the same
    made("80")
    assert keys() == ["80", "00", "60", "50", "40", "30", "20"]
    made("90")
    assert "20" not in keys()


def test_a_draft_that_fails_leaves_nothing() -> None:
    templates_directory().mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), draft("aa11") as path:
        (path / "memory").write_bytes(b"half")
        raise ZeroDivisionError
    assert (drafts(), keys()) == ([], [])


def test_a_disk_without_room_is_told_before_a_guest_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs("/")
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((full.f_bsize, full.f_frsize, *[0] * 8)))
    templates_directory().mkdir(parents=True)
    with draft("aa11") as path, pytest.raises(HostError, match="a template needs 68M .* and 0M are free") as told:
        build._make_memory(path / "memory", TEMPLATE.layout)
    assert "XDG_CACHE_HOME" in told.value.hint


# damaged


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("{}", "makes no sense"),
        ('{"format": 1}', "of format 1"),
        ('{"format": 2}', "makes no sense"),
        ('{"format": 2, "layout": {"memory": 1}}', "makes no sense"),
        (None, "it has no template.json"),
    ],
)
def test_a_damaged_one_is_told_apart_and_is_no_template(text: str | None, why: str) -> None:
    made("aa11")
    about = made("bb22").path / "template.json"
    about.unlink()
    if text is not None:
        about.write_text(text)
    assert keys() == ["aa11"]
    assert list_damaged().keys() == {"bb22"}
    assert why in list_damaged()["bb22"]
    assert remove_template("bb") == "bb22"


def test_memory_that_was_cut_off_and_a_state_that_was_changed_are_noticed() -> None:
    template = made("aa11")
    os.close(template.open_memory())
    assert template.read_state() == b""
    (template.path / "memory").chmod(0o600)
    os.truncate(template.path / "memory", MIB)
    (template.path / "state").chmod(0o600)
    (template.path / "state").write_bytes(b"other")
    with pytest.raises(ValueError, match="1048576 bytes of 4194304"):
        template.open_memory()
    with pytest.raises(ValueError, match="checksum"):
        template.read_state()


# removed


@pytest.mark.parametrize(("prefix", "what"), [("cc", "no template has"), ("aa", "2 templates have"), ("", "have")])
def test_a_prefix_has_to_name_one(prefix: str, what: str) -> None:
    made("aa11")
    made("aa22")
    with pytest.raises(UsageError, match=what) as told:
        remove_template(prefix)
    assert "gavotte template list" in told.value.hint
    assert remove_template("aa2") == "aa22"
    assert keys() == ["aa11"]


def test_a_name_that_leads_elsewhere_removes_nothing(cache: Path) -> None:
    made("aa11")
    (cache / "precious").mkdir()
    for name in ("..", "../precious", "/", ".lock-aa11"):
        with pytest.raises(UsageError):
            remove_template(name)
    assert (cache / "precious").is_dir()


def test_one_that_cannot_be_removed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made("aa11")
    monkeypatch.setattr(store, "discard", lambda _path: None)
    with pytest.raises(HostError, match="can't remove the template"):
        remove_template("aa11")


def test_all_go_with_what_dead_builders_left_and_a_live_ones_draft_stays() -> None:
    async def story() -> None:
        made("aa11")
        (made("bb22").path / "template.json").unlink()
        dead, without_lock = (templates_directory() / name for name in (".tmp-cc33-0102", ".tmp-dd44-removed-0304"))
        dead.mkdir()
        without_lock.mkdir()
        (templates_directory() / ".lock-cc33").touch()
        async with lock("ee55"):
            with draft("ee55") as path:
                assert set(remove_all()) == {"aa11", "bb22"}
                assert drafts() == [path]
        assert (keys(), list_damaged(), drafts()) == ([], {}, [])

    run(story)


def test_the_next_build_clears_away_what_one_that_was_killed_left() -> None:
    left = templates_directory() / ".tmp-aa11-0102"
    left.mkdir(parents=True)
    other = templates_directory() / ".tmp-bb22-0102"
    other.mkdir()
    made("aa11")
    assert drafts() == [other]


def test_without_a_directory_there_is_nothing_to_list_or_to_remove() -> None:
    assert (list_templates(), list_damaged(), remove_all()) == ([], {}, [])


# locked


def test_one_builds_and_others_wait_for_it() -> None:
    async def story() -> None:
        turns = []
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def build(name: str) -> None:
            async with lock("aa11"):
                turns.append(name)
                begun.set()
                await go_on.wait()
                turns.append(f"{name} has ended")

        both = [asyncio.create_task(build(name)) for name in ("one", "other")]
        await begun.wait()
        async with lock("bb22"):  # another template is another matter
            pass
        go_on.set()
        await asyncio.gather(*both)
        assert turns == [turns[0], f"{turns[0]} has ended", turns[2], f"{turns[2]} has ended"]

    run(story)


def test_who_gives_up_waiting_leaves_no_process_and_no_lock() -> None:
    held, release = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with lock("aa11"):
            held.set()
            await release.wait()

    async def story() -> None:
        holder = asyncio.create_task(hold())
        await held.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), lock("aa11"):
                raise AssertionError("two have it")
        release.set()
        await holder
        async with lock("aa11"):
            pass

    run(story)


def test_the_making_of_a_template_that_needs_that_very_template_is_a_bug_and_no_wait() -> None:
    async def story() -> None:
        async with lock("aa11"):
            with pytest.raises(Bug, match="asked for it again"):
                async with lock("aa11"):
                    raise AssertionError("two have it")

    run(story)


def test_a_directory_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")

    async def story() -> None:
        with pytest.raises(HostError, match="can't be used for templates") as told:
            async with lock("aa11"):
                pass
        assert "XDG_CACHE_HOME" in told.value.hint

    run(story)


# stale


@pytest.fixture
def current(image: Image, cache: Path) -> Image:
    """An image that is the current one here: links to the real one's files."""
    there = cache / "images" / image.id
    there.mkdir(parents=True)
    for file in image.path.iterdir():
        (there / file.name).symlink_to(file)
    found = find_image()
    assert found is not None
    assert found.id == image.id
    return found


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """What stands for QEMU's binary."""
    path = tmp_path / "qemu"
    path.write_text("one")
    return path


def of(program: Path, image: str, **others: Any) -> Template:
    return replace(TEMPLATE, qemu=str(program), binary=QemuBinary.from_path(program).identity, image=image, **others)


def test_one_whose_inputs_are_what_they_were_is_of_use(program: Path, current: Image) -> None:
    template = made("aa11", of(program, current.id))
    assert stale.why_stale(template) == ""
    stale.drop_stale()
    assert keys() == ["aa11"]


def test_a_binary_that_was_replaced_or_has_gone_makes_a_template_useless(program: Path, current: Image) -> None:
    template = made("aa11", of(program, current.id))
    program.write_text("another")
    assert stale.why_stale(template) == "its QEMU was replaced"
    program.unlink()
    assert stale.why_stale(template) == "its QEMU is gone"
    stale.drop_stale()
    assert keys() == []


def test_an_image_that_has_gone_makes_a_template_useless(program: Path, current: Image, cache: Path) -> None:
    template = made("aa11", of(program, current.id))
    shutil.rmtree(cache / "images")
    assert stale.why_stale(template) == "its image is gone"


def test_an_image_that_was_succeeded_does_so_unless_somebody_uses_the_template_still(
    program: Path, current: Image, cache: Path
) -> None:
    (cache / "images" / "0123").mkdir()
    old = made("aa11", of(program, "0123"), age=current.age + 60)
    assert stale.why_stale(old) == "its image isn't the current one"
    old.touch()  # as another version of Gavotte would, whose current image that is
    assert stale.why_stale(old) == ""


def test_another_host_kernel_or_processor_matters_to_kvm_alone(program: Path, current: Image) -> None:
    assert stale.why_stale(made("aa11", of(program, current.id, accel="kvm", host="other"))).startswith("it was made")
    assert stale.why_stale(made("bb22", of(program, current.id, accel="kvm", host=host_of("kvm")))) == ""
    assert host_of("tcg") == ""


def test_a_template_says_all_that_it_was_made_of_in_a_file_that_people_can_read() -> None:
    template = made("aa11")
    about = json.loads((template.path / "template.json").read_text())
    assert about == {**template.to_json(), "layout": vars(template.layout)}


def test_publishing_without_room_leaves_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    templates_directory().mkdir(parents=True)
    monkeypatch.setattr(store, "_sync", no_room)
    with pytest.raises(OSError, match="No space"), draft("aa11") as path:
        (path / "memory").touch()
        publish(path, replace(TEMPLATE, key="aa11"), b"")
    assert (keys(), drafts()) == ([], [])
