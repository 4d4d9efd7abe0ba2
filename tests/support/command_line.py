"""`gavotte` as its users start it: a process with streams, signals and an exit status."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from tests.support.orphans import children_of, no_orphans

__all__ = ["GAVOTTE", "PATIENCE", "gavotte", "in_guest", "read_until", "started", "wait_for_qemu"]

GAVOTTE = [sys.executable, "-m", "gavotte.faces.cli"]
PATIENCE = 90.0  # seconds for a boot and a command, on a machine that is busy with other things

Word = str | bytes


def gavotte(
    *words: Word,
    input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
    **options: Any,
) -> Ended:
    """Run it to its end. Without `input`, stdin is empty."""
    if "stdin" not in options:
        options["input"] = input or b""
    environment = {**os.environ, **(env or {})}
    return subprocess.run(
        [*GAVOTTE, *words], capture_output=True, timeout=timeout, env=environment, check=False, **options
    )


def in_guest(*words: Word, options: Sequence[str] = (), **more: Any) -> Ended:
    """`gavotte run` of a command, to its end; nothing of it may be left then."""
    with no_orphans():
        return gavotte("run", "--accel", "tcg", *options, "--", *words, **more)


@contextmanager
def started(*words: Word, before: Sequence[str] = (), **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`gavotte …` that runs while the block does, behind pipes. `before` is a program that execs it."""
    streams: dict[str, Any] = {**dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE), **options}
    with no_orphans(), subprocess.Popen([*before, *GAVOTTE, *words], **streams) as process:
        try:
            yield process
        finally:
            process.kill()  # nothing happens to one that has ended


def read_until(stream: IO[bytes] | int | None, wanted: bytes, seconds: float = PATIENCE) -> bytes:
    """What comes until `wanted` has come. Fails at the end of the stream and after `seconds`."""
    assert stream is not None
    fd = stream if isinstance(stream, int) else stream.fileno()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    got = b""
    until = time.monotonic() + seconds
    while wanted not in got:
        assert poll.poll(max(0.0, until - time.monotonic()) * 1000), f"{wanted!r} didn't come: {got!r}"
        data = os.read(fd, 1 << 16)
        assert data, f"the stream ended without {wanted!r}: {got!r}"
        got += data
    return got


def wait_for_qemu(process: subprocess.Popen[Any], seconds: float = 20) -> int:
    """The pid of the QEMU that `process` started, as soon as it is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        for pid, words in children_of(process.pid).items():
            if words.startswith("/usr/bin/qemu") or "/qemu-system-" in words.split(" ")[0]:
                return pid
        time.sleep(0.02)  # there is no event for another process's exec
    raise AssertionError(f"no QEMU appeared; status {process.poll()}")


Ended = subprocess.CompletedProcess[bytes]
