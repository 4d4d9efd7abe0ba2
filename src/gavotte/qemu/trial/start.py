"""The binary is started with an inert machine file, in a throw-away process, and says what it refuses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gavotte.errors import GavotteError, UsageError
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import QemuProcess, start_process
from gavotte.qemu.sections import Document
from gavotte.qemu.trial.inert import Entry, make_inert
from gavotte.qmp.client import QmpClient
from gavotte.text import harmless

__all__ = ["Trial", "try_start"]

_READY: Final = 30.0  # seconds; it takes a tenth of one
_LONGEST: Final = 400  # characters of QEMU's words


class Trial(NamedTuple):
    """What came of it: the refusal, None where QEMU started; and the paths of what was not tried as it stands."""

    problem: UsageError | None
    untried: tuple[str, ...]


def try_start(document: Document, binary: QemuBinary) -> Trial:
    """Starts the binary with a checked machine file, stopped, and ends it: a tenth of a second, 30 at most.

    Nothing is written, nothing listens and no network is reached: `inert` says what that leaves out. Relative paths are
    those of this process. Raises HostError when no process can be started.
    """
    entries, untried = make_inert(document)
    return Trial(asyncio.run(_try(entries, binary)), tuple(untried))


async def _try(entries: Sequence[Entry], binary: QemuBinary) -> UsageError | None:
    ours, theirs = socketpair()
    with ours, FdLedger() as ledger:
        monitor: Document = {
            "chardevs": [{"backend": "socket", "id": "gavotte-qmp", "fd": ledger.give(theirs, "QMP")}],
            "monitors": [{"chardev": "gavotte-qmp", "mode": "control"}],
        }
        written = [(entry.path, document_to_argv(entry.document)) for entry in (Entry("", monitor), *entries)]
        argv = [os.fspath(binary.path), *(word for _, words in written for word in words)]
        async with await start_process(argv, ledger, directory=".") as process:
            try:
                async with await QmpClient.connect(ours, deadline=_READY):
                    return None
            except GavotteError as error:
                return await _refusal(process, {" ".join(words): path for path, words in written}, error)


async def _refusal(process: QemuProcess, places: Mapping[str, str], error: GavotteError) -> UsageError:
    try:
        status = await process.wait(1.0)
    except TimeoutError:
        return UsageError(f"QEMU was neither ready nor at its end after {_READY:g} s", hint=error.message)
    path, words = _last_words(process, places)
    how = f"QEMU ends by signal {-status}" if status < 0 else "QEMU refuses it"
    return UsageError(f"{how}: {words}" if words else f"{how}, and doesn't say why", path=path)


def _last_words(process: QemuProcess, places: Mapping[str, str]) -> tuple[str, str]:
    """Gives the place and the text of the last error. QEMU puts its name first, and then the option, as we wrote it
    (error_vprintf and print_loc in its util/error-report.c)."""
    name = f"{Path(process.argv[0]).name}: "
    lines = process.stderr_tail.splitlines()
    last = max((n for n, line in enumerate(lines) if line.startswith(name)), default=0)
    text = " ".join(line.removeprefix(name).strip() for line in lines[last:])
    for option, path in places.items():
        if text.startswith(f"{option}: "):
            return path, harmless(text.removeprefix(f"{option}: "))[:_LONGEST]
    return "", harmless(text)[:_LONGEST]
