"""The check for leftovers finds what it is there to find."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gavotte.qemu.pids import process_state
from tests.support.leaks import exempt, held_to_its_start
from tests.support.programs import SOURCES, wait_for_end

SLEEP = ["sleep", "60"]


def test_a_running_child_is_a_leftover_and_is_ended() -> None:
    said: list[str] = []
    with held_to_its_start(said.append):
        child = subprocess.Popen(SLEEP)
        while process_state(child.pid) != "S":  # it may still be loading
            os.sched_yield()
    assert f"child {child.pid} (sleep, state S) sleep 60" in said[0]
    assert not Path(f"/proc/{child.pid}").exists()
    child.wait()


def test_a_zombie_is_a_leftover() -> None:
    said: list[str] = []
    with held_to_its_start(said.append):
        child = subprocess.Popen(["true"])
        pidfd = os.pidfd_open(child.pid)
        wait_for_end(child.pid, pidfd)
        os.close(pidfd)
    assert f"child {child.pid} (true, state Z)" in said[0]
    child.wait()


def test_an_open_fd_is_a_leftover() -> None:
    said: list[str] = []
    with held_to_its_start(said.append):
        fd = os.open("/dev/zero", os.O_RDONLY)
    os.close(fd)
    assert said == [f"left behind:\nfd {fd}: /dev/zero"]


def test_a_number_that_is_used_again_for_another_file_is_a_leftover() -> None:
    said: list[str] = []
    fd = os.open("/dev/zero", os.O_RDONLY)
    with held_to_its_start(said.append):
        os.close(fd)
        again = os.open("/dev/full", os.O_RDONLY)
    os.close(again)
    assert said == [f"left behind:\nfd {again}: /dev/full"]


def test_an_entry_of_the_run_directory_is_a_leftover() -> None:
    said: list[str] = []
    folder = Path(os.environ["GAVOTTE_RUN_DIR"], "sandbox-1")
    with held_to_its_start(said.append):
        folder.mkdir()
    folder.rmdir()
    assert said == [f"left behind:\nrun directory entry {folder}"]


def test_what_was_there_before_and_what_was_put_away_is_none() -> None:
    said: list[str] = []
    with subprocess.Popen(SLEEP) as old, Path("/dev/zero").open():
        with held_to_its_start(said.append):
            subprocess.run(["true"], check=True)
            Path("/dev/full").open().close()
        old.kill()
    assert said == []


def test_what_is_exempt_may_stay_and_nothing_else() -> None:
    said: list[str] = []
    with held_to_its_start(said.append):
        with exempt():
            kept = os.open("/dev/zero", os.O_RDONLY)
        lost = os.open("/dev/full", os.O_RDONLY)
    os.close(kept)
    os.close(lost)
    assert said == [f"left behind:\nfd {lost}: /dev/full"]


CASES = """
import os, pathlib, subprocess, pytest

@pytest.fixture(scope="module")
def shared():
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()

def test_shared_by_one(shared): assert shared.poll() is None
def test_shared_by_another(shared): assert shared.poll() is None
def test_leaks_an_fd(): os.open("/dev/zero", os.O_RDONLY)
def test_leaks_a_child():
    pytest.child = subprocess.Popen(["sleep", "61"])
def test_leaks_a_directory(): pathlib.Path(os.environ["GAVOTTE_RUN_DIR"], "left").mkdir()
def test_is_not_blamed_for_the_others(): pytest.child.wait()
"""


def test_every_test_is_held_to_it_and_a_module_fixture_may_live(tmp_path: Path) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    here = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-rA", "--rootdir", tmp_path, tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{here}:{SOURCES}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "6 passed, 3 errors" in run.stdout
    for name in ("fd", "child", "directory"):
        assert f"ERROR test_cases.py::test_leaks_a{'n' if name == 'fd' else ''}_{name} " in run.stdout
    assert "sleep 61" in run.stdout


def test_ended_children_are_reaped_not_only_killed() -> None:
    said: list[str] = []
    with held_to_its_start(said.append):
        child = subprocess.Popen(SLEEP)
        child.send_signal(signal.SIGSTOP)
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)
    child.wait()
