"""Throw-away processes of a binary, without a machine, that end with the block or the call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import CONFINED, start_process
from gavotte.qemu.sections import Document
from gavotte.qmp.client import QmpClient

__all__ = ["asked", "refusal"]

_GREETING = 10.0  # seconds
_REFUSAL = 5.0

_NOTHING: Final[Document] = {**CONFINED, "machine": {"type": "none"}, "display": {"type": "none"}}


@asynccontextmanager
async def asked(binary: QemuBinary) -> AsyncIterator[QmpClient]:
    """Gives a connection to a fresh process.

    Raises HostError as `start_process` does, and QemuError as `QmpClient.connect` does when there is no answer.
    """
    ours, theirs = socketpair()
    with ours, FdLedger() as ledger:
        fd = ledger.give(theirs, "QMP")
        document: Document = {
            **_NOTHING,
            "chardevs": [{"backend": "socket", "id": "qmp", "fd": fd}],
            "monitors": [{"chardev": "qmp", "mode": "control"}],
        }
        async with (
            await start_process([os.fspath(binary.path), *document_to_argv(document)], ledger) as process,
            await QmpClient.connect(ours, deadline=_GREETING, last_words=process.last_words) as client,
        ):
            yield client


async def refusal(binary: QemuBinary, words: Sequence[str]) -> str:
    """Gives what a process says that is started with `words`, which it is expected to refuse; "" if it doesn't."""
    argv = [os.fspath(binary.path), *document_to_argv(_NOTHING), *words]
    async with await start_process(argv, FdLedger()) as process:
        try:
            await process.wait(_REFUSAL)
        except TimeoutError:
            return ""
        return process.stderr_tail
