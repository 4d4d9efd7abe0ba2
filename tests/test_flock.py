"""Locks by the name of a file: who has them is told, and nobody waits for himself."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest

from gavotte.errors import Bug
from gavotte.flock import FileLock

HOLD = """
import pathlib, sys
from gavotte.flock import FileLock
assert FileLock(pathlib.Path(sys.argv[1])).take()
print("taken", flush=True)
input()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def lock(path: Path) -> Iterator[FileLock]:
    lock = FileLock(path)
    yield lock
    lock.release()


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "taken\n"
            yield process
        finally:
            process.kill()


def elsewhere(path: Path) -> bool:
    """Whether another thread of this process gets the lock, which has no part in the work under it."""
    got: list[bool] = []

    def take() -> None:
        lock = FileLock(path)
        got.append(lock.take())
        lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return got[0]


def test_who_has_it_is_told_to_those_who_wait(lock: FileLock, other: subprocess.Popen[str]) -> None:
    assert not lock.take()
    assert not lock.is_held
    assert lock.holder == f"process {other.pid}"


def test_waiting_ends_when_the_holder_does(lock: FileLock, other: subprocess.Popen[str]) -> None:
    with subprocess.Popen(lock.waiter(60)) as waiting:
        other.kill()
        assert waiting.wait(30) == 0
    assert lock.take()
    assert lock.holder == "this process"


def test_waiting_ends_at_its_deadline(lock: FileLock, other: subprocess.Popen[str]) -> None:
    assert subprocess.run(lock.waiter(0.01), check=False).returncode == 1
    assert subprocess.run(lock.waiter(-1), check=False).returncode == 1


def test_who_waits_has_it_then_or_is_told_that_it_has_not(lock: FileLock, other: subprocess.Popen[str]) -> None:
    assert not lock.wait(0.01)
    assert not lock.is_held
    threading.Timer(0.1, other.kill).start()
    assert lock.wait(60)
    assert lock.is_held


def test_another_thread_does_not_get_it_until_it_is_released(lock: FileLock, path: Path) -> None:
    assert lock.take()
    assert not elsewhere(path)
    lock.release()
    assert elsewhere(path)
    lock.release()  # does nothing


def test_work_under_a_lock_that_asks_for_it_again_is_a_bug(lock: FileLock, path: Path) -> None:
    assert lock.take()
    with pytest.raises(Bug, match="asked for it again"):
        FileLock(path).take()
    with pytest.raises(Bug):
        copy_context().run(FileLock(path).take)  # as a thread of that work has it

    async def ask() -> bool:
        return await asyncio.to_thread(FileLock(path).take)

    with pytest.raises(Bug):
        asyncio.run(ask())


def test_another_lock_may_be_taken_under_it_and_the_same_one_after_it(lock: FileLock, path: Path) -> None:
    assert lock.take()
    second = FileLock(path.with_name("second"))
    assert second.take()
    lock.release()
    assert lock.take()
    second.release()


def test_a_forked_child_does_not_have_it(lock: FileLock, path: Path) -> None:
    assert lock.take()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            theirs.send(b"here")
            ours.close()
            theirs.recv(1)  # until the test has no more questions
            os._exit(lock.is_held)
        theirs.close()
        assert ours.recv(4) == b"here"
        lock.release()
        assert elsewhere(path)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "no" / "lock").take()
