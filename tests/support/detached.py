"""Detached sandboxes for tests: started, looked at, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gavotte.qemu.pids import ProcessId
from gavotte.sandbox.register import Entry, find_entry
from tests.support.command_line import PATIENCE, Word, gavotte
from tests.support.leaks import exempt

__all__ = ["detached", "kill", "register_says", "said"]


def said(*words: Word, status: int = 0, **more: Any) -> str:
    """What `gavotte …` prints; it must end with `status`."""
    ended = gavotte(*words, **more)
    assert ended.returncode == status, ended
    return (ended.stdout if status == 0 else ended.stdout + ended.stderr).decode()


@contextmanager
def detached(name: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[Entry]:
    """A sandbox that runs while the block does."""
    with exempt():
        assert said("run", "-d", "--accel", "tcg", "--name", name, *options, "--", *command).strip() == name
    entry = find_entry(name)
    try:
        yield entry
    finally:
        ended = gavotte("rm", "-f", name)
        assert ended.returncode == 0 or b"there is no sandbox" in ended.stderr, ended
        for process in (entry.keeper, entry.qemu):
            assert process is None or not process.lives


def kill(process: ProcessId | None, number: signal.Signals = signal.SIGKILL) -> None:
    """Send it a signal; a killed one has gone when this returns."""
    assert process is not None
    fd = process.open()
    try:
        signal.pidfd_send_signal(fd, number)
        if number is signal.SIGKILL:
            import select

            poll = select.poll()
            poll.register(fd, select.POLLIN)
            assert poll.poll(10_000)
    finally:
        os.close(fd)


def register_says(name: str, state: str, seconds: float = PATIENCE) -> dict[str, Any]:
    """What `ps` tells of it, once its state is that one."""
    until = time.monotonic() + seconds
    while True:
        [found] = [each for each in json.loads(said("ps", "--json")) if each["name"] == name]
        if found["state"] == state:
            return dict(found)
        assert time.monotonic() < until, found
        time.sleep(0.2)  # a register is a file: nothing tells when it changes
