"""Small programs that stand in for QEMU, and how a test waits for a process that it didn't start."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import gavotte.errors
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import CONFINED, QemuProcess, start_process
from gavotte.qemu.props import option_to_argv
from gavotte.qmp.client import QmpClient

__all__ = ["DEADLINE", "SOURCES", "python", "start_options", "start_ready", "wait_for_end", "with_qemu"]

DEADLINE = 20.0  # seconds; generous, since no test passes by reaching it

SOURCES = os.fspath(Path(gavotte.errors.__file__).parents[1])

T = TypeVar("T")


def python(code: str, *arguments: str) -> list[str]:
    """Gives the command line that runs `code`."""
    return [sys.executable, "-Ic", code, *arguments]


async def start_ready(code: str) -> QemuProcess:
    """Starts `code` with a function `ready()` defined in front of it, and returns when it was called."""
    ours, theirs = socketpair()
    with ours, FdLedger() as ledger:
        number = ledger.give(theirs, "signal of readiness")
        before = f"import os, signal, sys, time\ndef ready(): os.write({number}, b'.')\n"
        process = await start_process(python(before + code), ledger)
        async with asyncio.timeout(DEADLINE):
            await asyncio.get_running_loop().sock_recv(ours, 1)
    return process


def wait_for_end(pid: int, pidfd: int) -> None:
    """Returns when the process behind `pidfd`, which may be anybody's child, has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(DEADLINE * 1000):
        raise TimeoutError(f"process {pid} still runs")


def with_qemu(options: Sequence[str], ask: Callable[[QmpClient], Awaitable[T]]) -> T:
    """Starts a real QEMU with these options, gives it to `ask` and stops it."""

    async def main() -> T:
        ours, theirs = socketpair()
        with ours, FdLedger() as ledger:
            chardev = option_to_argv("chardev", {"backend": "socket", "id": "qmp", "fd": ledger.give(theirs, "QMP")})
            confined = document_to_argv(CONFINED)
            base = [str(find_qemu().path), *confined, "-display", "none", "-S", *chardev, "-mon", "qmp,mode=control"]
            async with (
                await start_process([*base, *options], ledger) as process,
                await QmpClient.connect(ours, last_words=process.last_words) as client,
            ):
                return await ask(client)

    return asyncio.run(main())


def start_options(options: Sequence[str], folder: Path, *, arch: str | None = None) -> None:
    """Starts the real QEMU for `arch` with `options`, stopped; it quits over QMP. AssertionError with what it said.

    `folder` becomes its directory; there, sockets named in `options` appear.
    """
    monitor = '{"execute":"qmp_capabilities"}\n{"execute":"query-status"}\n{"execute":"quit"}\n'
    extra = ["-S", "-chardev", "stdio,id=test", "-mon", "chardev=test,mode=control"]
    if any(option.startswith("stdio,") for option in options):
        options = [option.replace("stdio,signal=off,", "null,") for option in options]
    ended = subprocess.run(
        [str(find_qemu(arch).path), *options, *extra],
        input=monitor,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=folder,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    assert '"status": "prelaunch"' in ended.stdout
