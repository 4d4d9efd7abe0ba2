"""A machine whose sandbox's directory was deleted: who finds it, and who ends it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gavotte.errors import InUse
from gavotte.qemu.pids import ProcessId
from gavotte.sandbox import host
from gavotte.sandbox.keeper.watch import EntryWatch
from gavotte.sandbox.register import claim
from gavotte.sandbox.store import REGISTER, RunDirectory, run_root, sweep
from gavotte.sandbox.strays import find_strays, processes_of, strays_below
from tests.support.programs import python

LISTEN = """
import os, socket, sys
folder = os.open(sys.argv[1], os.O_PATH)
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"/proc/self/fd/{folder}/vm.monitor.sock" if sys.argv[2] else f"{sys.argv[1]}/vm.monitor.sock")
listener.listen()
os.close(folder)
print(flush=True)
input()
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run root of this test's own."""
    monkeypatch.setenv("GAVOTTE_RUN_DIR", str(tmp_path / "run"))
    return run_root()


@contextmanager
def machine(directory: Path, *, shortened: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """What is left of a QEMU that was started for the directory, for those who look from outside."""
    directory.mkdir(exist_ok=True)
    line = [*python(LISTEN), str(directory), "yes" if shortened else ""]
    mark = {**os.environ, "GAVOTTE_DIRECTORY": str(directory)}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process
        process.kill()


@pytest.mark.parametrize("shortened", [False, True])
def test_a_machine_without_directory_and_manager_is_found_and_swept(root: Path, shortened: bool) -> None:
    with machine(root / "lost", shortened=shortened) as process:
        assert strays_below(root) == []
        assert processes_of(root / "lost") == [ProcessId.of(process.pid)]
        shutil.rmtree(root / "lost")
        (stray,) = strays_below(root)
        assert (stray.process.pid, stray.directory, stray.owned) == (process.pid, root / "lost", False)
        assert strays_below(root.parent) == []
        (finding,) = [found for found in host._strays() if str(process.pid) in found.text]
        assert finding.ok is False
        assert f"kill {process.pid} ends it, as the next start does" in finding.remedy
        assert sweep() == ["lost"]
        assert process.wait(20) == -9
        assert strays_below(root) == []


def test_one_whose_manager_lives_is_not_swept_and_has_its_name_still(root: Path) -> None:
    with RunDirectory("held"), machine(root / "held") as process:
        shutil.rmtree(root / "held")
        (stray,) = [stray for stray in find_strays() if stray.process.pid == process.pid]
        assert stray.owned
        assert sweep() == []
        with pytest.raises(InUse, match="is being ended"):
            claim(root / "held")
        assert process.poll() is None


def test_a_name_is_free_when_what_had_it_can_be_ended(root: Path) -> None:
    with machine(root / "again") as process:
        shutil.rmtree(root / "again")
        claim(root / "again").close()
        assert process.wait(20) == -9


def test_a_directory_that_another_made_in_the_place_of_a_deleted_one_is_left_to_it(root: Path) -> None:
    first = RunDirectory("twice")
    shutil.rmtree(first.path)
    second = RunDirectory("twice")
    first.close()
    assert second.path.exists()
    second.close()
    assert not second.path.exists()


# the keeper's own look


async def _is_told(path: Path, act: Callable[[], object]) -> bool:
    """Whether a watch tells that the entry has gone, when that is done."""
    gone = asyncio.Event()
    watch = EntryWatch(path, gone.set)
    try:
        act()
        async with asyncio.timeout(0.2 if path.exists() and (path / REGISTER).exists() else 20):
            await gone.wait()
    except TimeoutError:
        return False
    finally:
        watch.close()
    return True


@pytest.fixture
def entry(root: Path) -> Path:
    path = root / "watched"
    path.mkdir()
    for name in (REGISTER, "other"):
        (path / name).touch()
    return path


def test_an_entry_that_is_deleted_emptied_or_moved_away_is_told_of(entry: Path, tmp_path: Path) -> None:
    assert asyncio.run(_is_told(entry, lambda: entry.rename(tmp_path / "elsewhere")))
    (tmp_path / "elsewhere").rename(entry)
    assert asyncio.run(_is_told(entry, (entry / REGISTER).unlink))
    assert asyncio.run(_is_told(entry, lambda: None))  # also what happened before
    (entry / REGISTER).touch()
    assert asyncio.run(_is_told(entry, lambda: shutil.rmtree(entry)))


def test_an_entry_that_is_written_anew_is_there_still(entry: Path) -> None:
    def write() -> None:
        (entry / "draft").touch()
        (entry / "draft").replace(entry / REGISTER)
        (entry / "other").unlink()

    assert not asyncio.run(_is_told(entry, write))
