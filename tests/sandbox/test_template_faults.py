"""What becomes of a start when the template is damaged, can't be made, or a copy fails: it boots, and says why."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GavotteError, HostError
from gavotte.guest.image import Image
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qmp.client import QmpClient
from gavotte.sandbox import start
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.store import run_root, sweep
from gavotte.sandbox.template import build, clone, store
from gavotte.sandbox.template.layout import Layout
from gavotte.sandbox.template.store import Template, draft, find_template, list_templates, lock, remove_template
from tests.support.orphans import children_of
from tests.support.processes import expect_none_of, processes_of
from tests.support.programs import SOURCES
from tests.support.templates import own_cache, put_template, template_of, templates_in

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

DEADLINE = 100.0
OPTIONS: dict[str, Any] = {"accel": "tcg", "memory": "256M", "slots": 1}


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def with_deadline() -> None:
        async with asyncio.timeout(DEADLINE):
            await story()

    asyncio.run(with_deadline())


@pytest.fixture(scope="module")
def whole(image: Image, run_directory: None) -> Template:
    """A template in this user's cache, which is to stay as it is."""

    async def main() -> str:
        async with AsyncSandbox(**OPTIONS) as box:
            assert not box.cold_reason
            return box.template

    return template_of(asyncio.run(main()))


@pytest.fixture
def templates(whole: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of this test's own templates. The images are this user's, so the keys are the same."""
    monkeypatch.setattr(store, "cache_directory", lambda: tmp_path)
    return tmp_path / "templates"


@pytest.fixture
def own(whole: Template, templates: Path) -> Template:
    """A template of this test's own, to be broken."""
    return put_template(whole, templates)


@pytest.fixture
def notes(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was told in the log."""
    caplog.set_level(logging.WARNING, "gavotte")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "gavotte"]


class Booted(GavotteError):
    """A boot was tried."""


@pytest.fixture
def no_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A boot, which takes many seconds, raises Booted instead."""

    async def refuse(*_: object) -> None:
        raise Booted("it would boot now")

    monkeypatch.setattr(start, "start_machine", refuse)


async def falls_back() -> None:
    """A start comes to the boot, and leaves nothing of what it tried before. It looks at the file itself."""
    before = set(children_of(os.getpid()))
    box = AsyncSandbox(**OPTIONS)
    try:
        with pytest.raises(Booted):
            await box.start(sealed=False)
    finally:
        await box.close()
    assert set(children_of(os.getpid())) <= before
    assert processes_of(box.name) == []


def cut(path: Path, size: int) -> None:
    path.chmod(0o600)
    os.truncate(path, size)


def change(path: Path, at: int) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


# --- a damaged template -----------------------------------------------------------------------------------------------

DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "memory cut off": (lambda path: cut(path / "memory", 100 << 20), "its memory has 104857600 bytes"),
    "no memory": (lambda path: (path / "memory").unlink(), "No such file"),
    "state cut off": (lambda path: cut(path / "state", 100_000), "its state doesn't fit its checksum"),
    "a bit of the state": (lambda path: change(path / "state", 50_000), "its state doesn't fit its checksum"),
    "no state": (lambda path: (path / "state").unlink(), "No such file"),
}


@pytest.mark.usefixtures("no_boot")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_template_whose_files_are_damaged_is_removed_and_told_of(
    damage: str, own: Template, templates: Path, notes: Callable[[], list[str]]
) -> None:
    spoil, reason = DAMAGES[damage]
    spoil(own.path)
    run(falls_back)
    (note,) = notes()
    assert note.startswith(f"the template {own.key} can't be used, booting instead: ")
    assert reason in note
    assert templates_in(templates) == []


def other_format(path: Path) -> None:
    value = json.loads((path / "template.json").read_text())
    (path / "template.json").chmod(0o600)
    (path / "template.json").write_text(json.dumps({**value, "format": 99}))


def other_text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        (path / "template.json").chmod(0o600)
        (path / "template.json").write_text(text)

    return write


DESCRIPTIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "another format": (other_format, "it is of format 99"),
    "no JSON": (other_text("{"), "Expecting property name"),
    "another shape": (other_text("[1]"), "makes no sense"),
    "a key too few": (other_text(f'{{"format": {store._FORMAT}}}'), "makes no sense"),
    "empty": (other_text(""), "Expecting value"),
}


@pytest.mark.parametrize("damage", DESCRIPTIONS)
def test_a_template_whose_description_is_damaged_is_made_anew(
    damage: str,
    whole: Template,
    own: Template,
    templates: Path,
    notes: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil, reason = DESCRIPTIONS[damage]
    spoil(own.path)
    built = []

    async def copy_it(key: str, *_: object) -> Template:
        built.append(key)
        return put_template(whole, templates)

    monkeypatch.setattr(build, "build_template", copy_it)

    async def story() -> None:
        async with AsyncSandbox(**OPTIONS) as box:
            assert box.template == own.key
            assert (await box.run(["echo", "fine"], timeout=60)).stdout == b"fine\n"

    run(story)
    assert built == [own.key]
    first, second = notes()
    assert first.startswith(f"the template {own.key} is damaged: ")
    assert reason in first
    assert second.startswith("building a template")


def test_a_damaged_template_costs_one_boot_and_the_next_start_makes_another(
    own: Template, templates: Path, notes: Callable[[], list[str]]
) -> None:
    """The whole way, once: all of it for real."""
    cut(own.path / "memory", 1 << 20)

    async def story() -> None:
        box = AsyncSandbox(**OPTIONS)
        await box.start(sealed=False)
        try:
            assert (box.template, "its memory has" in box.cold_reason) == ("", True)
            assert (await box.run(["echo", "booted"], timeout=60)).stdout == b"booted\n"
        finally:
            await box.close()
        async with AsyncSandbox(**OPTIONS) as box:
            assert (box.template, box.cold_reason) == (own.key, "")
            assert (await box.run(["echo", "copied"], timeout=60)).stdout == b"copied\n"

    run(story)
    assert templates_in(templates) == [own.key]
    assert len(notes()) == 2
    again = template_of(own.key)
    assert again.created > own.created
    assert again.token != own.token


# --- under a running copy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "file"])
def test_a_copy_runs_on_when_its_template_is_deleted(sealed: bool, own: Template, templates: Path) -> None:
    async def story() -> None:
        box = AsyncSandbox(**OPTIONS)
        await box.start(sealed=sealed)
        try:
            assert remove_template(own.key) == own.key
            assert templates_in(templates) == []
            result = await box.run(["python3", "-c", "import email.mime.text, sqlite3; print(6 * 7)"], timeout=60)
            assert result.check().stdout == b"42\n"
        finally:
            await box.close()

    run(story)


def test_a_file_that_is_cut_off_under_a_copy_is_an_end_with_its_cause_and_nothing_hangs(own: Template) -> None:
    async def story() -> None:
        box = AsyncSandbox(**OPTIONS)
        await box.start(sealed=False)
        try:
            cut(own.path / "memory", 0)
            with pytest.raises(GavotteError) as caught:
                await box.run(["python3", "-c", "print(1)"], timeout=60)
            assert "SIGBUS" in str(caught.value)
        finally:
            await box.close()

    run(story)


def test_a_sealed_copy_does_not_mind_that_the_file_is_cut_off(own: Template) -> None:
    async def story() -> None:
        box = AsyncSandbox(**OPTIONS)
        await box.start()
        try:
            cut(own.path / "memory", 0)
            assert (await box.run(["python3", "-c", "print(1)"], timeout=60)).stdout == b"1\n"
        finally:
            await box.close()

    run(story)


# --- a copy that fails ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_boot")
def test_a_qemu_that_is_killed_while_it_loads_is_no_obstacle(
    own: Template, notes: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_before_it_loads(signal.SIGKILL, monkeypatch)
    run(falls_back)
    (note,) = notes()
    assert "killed by SIGKILL" in note


@pytest.mark.usefixtures("no_boot")
def test_a_copy_whose_guest_never_answers_is_given_up_in_time(
    own: Template, notes: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clone_it = QemuVm.clone

    async def clone_and_stop(vm: QemuVm, *arguments: Any, **more: Any) -> None:
        await clone_it(vm, *arguments, **more)
        os.kill(vm.process.pid, signal.SIGSTOP)

    monkeypatch.setattr(clone, "_PATIENCE", 0.5)
    monkeypatch.setattr(QemuVm, "clone", clone_and_stop)
    run(falls_back)
    (note,) = notes()
    assert "didn't hand over the line within 0.5 s" in note


@pytest.mark.usefixtures("no_boot")
def test_a_qemu_that_stops_in_the_middle_of_its_load_is_given_up_in_time(
    own: Template, notes: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_before_it_loads(signal.SIGSTOP, monkeypatch)
    run(falls_back)
    (note,) = notes()
    assert "doesn't answer at its start" in note
    assert "stopped" in note


def signal_before_it_loads(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each QEMU gets this signal when it has been told to load a state, and before it can have done so."""
    connect = QmpClient.connect.__func__  # type: ignore[attr-defined]
    others = set(children_of(os.getpid()))

    async def signal_and_connect(cls: Any, *arguments: Any, **more: Any) -> QmpClient:
        for pid in set(children_of(os.getpid())) - others:
            os.kill(pid, number)
        client: QmpClient = await connect(cls, *arguments, **{**more, "deadline": 0.5})
        return client

    monkeypatch.setattr(QmpClient, "connect", classmethod(signal_and_connect))


@pytest.mark.usefixtures("no_boot")
def test_a_guest_that_cannot_become_another_is_given_up(
    own: Template, notes: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = clone.told_to_copy
    monkeypatch.setattr(start, "told_to_copy", lambda *given: {**told(*given), "latent": {"disk": 9}})
    run(falls_back)
    (note,) = notes()
    assert "the guest can't become one of its own: " in note
    assert "{" not in note
    assert "not 9" in note


@pytest.mark.usefixtures("no_boot")
def test_a_start_that_is_cancelled_while_it_copies_leaves_nothing(own: Template, templates: Path) -> None:
    async def story() -> None:
        for step in range(12):
            box = AsyncSandbox(**OPTIONS)
            task = asyncio.ensure_future(box.start())
            await asyncio.wait([task], timeout=0.02 * step)
            task.cancel()
            await asyncio.wait([task])
            await box.close()
            assert processes_of(box.name) == []
        assert templates_in(templates) == [own.key]  # a cancelled start says nothing of it

    run(story)


# --- a template that can't be made ------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size, mounted there."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    line = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
    if subprocess.run(line, check=False, capture_output=True).returncode:
        pytest.skip("this host lets nobody mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.usefixtures("no_boot")
def test_without_room_for_a_template_it_boots_and_says_how_much_is_wanted(
    templates: Path, notes: Callable[[], list[str]]
) -> None:
    templates.mkdir()
    with small_disk(templates, "100M"):
        run(falls_back)
        assert templates_in(templates) == []
    building, note = notes()
    assert building.startswith("building")
    assert "a template needs 320M" in note
    assert note.startswith("there can be no template, booting")


@pytest.mark.usefixtures("no_boot")
def test_a_disk_that_fills_up_while_a_template_is_made_is_no_end(
    templates: Path, notes: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = build._make_memory

    def make_and_fill(path: Path, layout: Layout) -> int:
        fd = make(path, layout)
        with (path.parent.parent / "others").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass
        os.truncate(path.parent.parent / "others", (path.parent.parent / "others").stat().st_size - (16 << 20))
        return fd

    monkeypatch.setattr(build, "_make_memory", make_and_fill)
    templates.mkdir()
    with small_disk(templates, "400M"):
        run(falls_back)
        (templates / "others").unlink()
        assert templates_in(templates) == []
    assert "the disk is full" in notes()[-1]


@pytest.mark.usefixtures("no_boot")
def test_a_cache_that_cannot_be_written_is_no_end(templates: Path, notes: Callable[[], list[str]]) -> None:
    templates.write_text("no directory")
    run(falls_back)
    (note,) = notes()
    assert "can't be used for templates" in note


# --- processes that die -----------------------------------------------------------------------------------------------

# Makes the template for OPTIONS, and dies at a certain moment. What comes before is as in any build; where the boot is
# of no account, a machine that was only started is taken for one that has booted.
BUILDER = """
import asyncio, os, signal, sys
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.template import build, store

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

async def die_later(*_, **__):
    die()

async def only_start(vm, *_):
    await vm.start()
    if moment == "started":
        die()
    await vm.stop(force=True)
    return b"state", 1

moment = sys.argv[1]
build._boot = only_start
if moment == "drafted":
    build._make_memory = die
elif moment == "published":
    store._sync = die

async def main():
    await AsyncSandbox(accel="tcg", memory="256M").start()

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["drafted", "started", "published"])
def test_a_builder_that_is_killed_leaves_a_draft_that_the_next_one_removes(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = own_cache(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(cache))
    templates = cache / "gavotte/templates"
    env = {**os.environ, "PYTHONPATH": SOURCES}
    ended = subprocess.run([sys.executable, "-c", BUILDER, moment], env=env, timeout=DEADLINE, check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = templates_in(templates)
    assert left.startswith(".tmp-")
    key = left.split("-")[1]
    expect_none_of(f"template-{key}")
    sweep()
    assert not [path for path in run_root().iterdir() if "template" in path.name]
    assert list_templates() == []
    assert find_template(key) is None

    async def story() -> None:
        async with lock(key):
            with draft(key) as path:
                assert templates_in(templates) == [path.name]

    run(story)
    assert templates_in(templates) == []


OWNER = """
import asyncio, os, signal, sys
from gavotte.sandbox.lifecycle import AsyncSandbox

async def main():
    boxes = [AsyncSandbox(accel="tcg", memory="256M", slots=1) for _ in range(2)]
    await asyncio.gather(*(box.start() for box in boxes))
    print(*(box.name for box in boxes), boxes[0].template, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_copies_end_with_a_process_that_is_killed(whole: Template) -> None:
    env = {**os.environ, "PYTHONPATH": SOURCES}
    line = [sys.executable, "-c", OWNER]
    ended = subprocess.run(line, env=env, timeout=DEADLINE, check=False, stdout=subprocess.PIPE, text=True)
    assert ended.returncode == -signal.SIGKILL
    *names, template = ended.stdout.split()
    assert template == whole.key
    for name in names:
        expect_none_of(name)
    assert set(names) <= set(sweep())
    assert template_of(template) == whole


# --- the store --------------------------------------------------------------------------------------------------------


def test_who_waits_for_another_build_says_so_when_that_never_ends(
    templates: Path, notes: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PATIENCE", 1)
    templates.mkdir()
    with (templates / ".lock-key").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        async def story() -> None:
            with pytest.raises(HostError, match="another process makes this template"):
                async with lock("key"):
                    pass
            assert notes() == ["waiting for another process, which makes the template for sandboxes like this one"]
            fcntl.flock(other, fcntl.LOCK_UN)
            async with lock("key"):
                pass

        run(story)


def test_a_template_that_was_made_anew_is_sealed_anew(own: Template) -> None:
    from gavotte.sandbox.template.memory import lend_memory

    with lend_memory(own, sealed=True) as first, lend_memory(own, sealed=True) as second:
        assert first != second  # so that one start may close its own
        assert os.path.sameopenfile(first, second)
    with lend_memory(replace(own, created=own.created + 1), sealed=True) as third:
        assert fcntl.fcntl(third, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
        assert os.fstat(third).st_size == own.layout.memory
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(third, b"x", 0)
