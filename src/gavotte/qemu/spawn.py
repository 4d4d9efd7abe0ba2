"""A child process is begun: with the fds that it was given and no others. Knows no event loop: its life is `process`'s.

So who has to be quick begins a QEMU before it imports one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from gavotte.errors import HostError, UsageError
from gavotte.qemu.programs import tool

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KILL_DEADLINE", "Begun", "begin_process", "mark_of", "open_fifo"]

KILL_DEADLINE = 5.0  # SIGKILL is slow only where the kernel is stuck

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Begun(NamedTuple):
    """A child that runs, a pidfd of it, and our end of where it writes its own words: all of them the caller's."""

    child: subprocess.Popen[bytes]
    pidfd: int
    output: int

    def end(self) -> None:
        """Kill it, and free all three."""
        self.child.kill()
        self.child.wait(KILL_DEADLINE)
        os.close(self.pidfd)
        os.close(self.output)


def begin_process(
    argv: Sequence[str],
    numbers: Sequence[int],
    *,
    env: Mapping[str, str] | None = None,
    keep: Path | None = None,
    directory: Path | str = "/",
) -> Begun:
    """Start a child that inherits the fds of these `numbers`; see `process.start_process`.

    Raises HostError when it can't be started, UsageError when `argv` can't be a command line.
    """
    with ExitStack() as undo:
        try:
            output, theirs = os.pipe2(os.O_CLOEXEC) if keep is None else _make_fifo(keep)
            undo.callback(os.close, output)
            try:
                environment = {**_ENVIRONMENT, **(env or {})}
                child = _spawn(argv, numbers, theirs, environment, directory, kept=keep is not None)
            finally:
                os.close(theirs)
            undo.callback(child.wait, KILL_DEADLINE)
            undo.callback(child.kill)
            pidfd = os.pidfd_open(child.pid)
        except OSError as e:
            raise HostError(f"can't start {argv[0]}: {e.strerror}") from e
        undo.pop_all()
    return Begun(child, pidfd, output)


def mark_of(directory: Path | str | None) -> dict[str, str]:
    """What tells whose QEMU it is, when its manager died before it wrote that down: names are used again elsewhere."""
    return {} if directory is None else {"GAVOTTE_DIRECTORY": os.fspath(directory)}


def open_fifo(path: Path) -> int:
    """Our end of the FIFO that a kept child writes to."""
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)


def _make_fifo(path: Path) -> tuple[int, int]:
    """Both ends of a FIFO that is made anew. The child's end reads too, so that it never finds nobody reading, and
    doesn't block when it is full."""
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    theirs = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return open_fifo(path), theirs
    except BaseException:
        os.close(theirs)
        raise


def _spawn(
    argv: Sequence[str],
    numbers: Sequence[int],
    output: int,
    env: Mapping[str, str],
    directory: Path | str,
    *,
    kept: bool,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*([] if kept else _tied_to_us()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            close_fds=True,
            pass_fds=numbers,
            start_new_session=True,
            cwd=directory,
            env=env,
        )
    except ValueError as e:
        raise UsageError(f"not a command line: {e}", path="argv") from e


def _tied_to_us() -> list[str]:
    # A manager that dies before setpriv has asked for the signal leaves a QEMU that only the sweep finds.
    return [tool("setpriv"), "--pdeathsig", "KILL", "--"]
