"""Processes that serve one device of a machine, from their start until they are reaped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from gavotte.errors import UsageError
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.pids import ProcessId
from gavotte.qemu.process import UNKNOWN_STATUS, QemuProcess, adopt_process, start_process
from gavotte.qemu.programs import tool

__all__ = ["Helper", "OnEnd"]

_LEAVE: Final = 1.0  # seconds in which a helper sees by itself that its QEMU has gone


class Helper:
    """One helper: of device `id`, running `program`.

    It ends with its machine: QEMU closes its connection, and the helper exits with status 0. With a directory, it
    outlives this process, and writes to the FIFO `ID.helper` there.
    """

    def __init__(self, id: str, program: str, process: QemuProcess, fifo: Path | None) -> None:
        self.id = id
        self.program = program
        self._process = process
        self._identity = ProcessId.of(process.pid)
        self._on_end: OnEnd = _nobody
        self._fifo = fifo

    @classmethod
    async def start(
        cls,
        id: str,
        argv: Sequence[str],
        ledger: FdLedger,
        *,
        wrapper: Sequence[str] = (),
        directory: Path | None = None,
    ) -> Helper:
        """Start `argv`, with the descriptors of `ledger` and no way to more privileges; `wrapper` execs it.

        Raises HostError when there can't be a process.
        """
        fifo = _fifo(id, directory)
        words = [tool("setpriv"), "--no-new-privs", "--", *wrapper, *argv]
        process = await start_process(words, ledger, keep=fifo)
        return cls(id, Path(argv[0]).name, process, fifo)

    @classmethod
    def adopt(cls, record: object, directory: Path | None = None) -> Helper | None:
        """The helper that `to_json` told of, if it still runs. Raises UsageError for what is no such record."""
        match record:
            case {"id": str(id), "program": str(program), "pid": int(pid), "started": int(started)}:
                fifo = _fifo(id, directory)
                there = fifo if fifo is not None and fifo.exists() else None
                try:
                    process = adopt_process(ProcessId(pid, started), output=there)
                except ProcessLookupError:
                    return None
                return cls(id, program, process, fifo)
        raise UsageError("not the record of a helper", path="helpers", hint="it has id, program, pid and started")

    def to_json(self) -> dict[str, Any]:
        """What `adopt` reads."""
        pid, started = self._identity
        return {"id": self.id, "program": self.program, "pid": pid, "started": started}

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> None:
        """Wait for its end."""
        await self._process.wait()

    async def explain(self) -> str:
        """What is to be said of its failure, in its own words. Waits a moment for an end under way."""
        return f"{self.program}: {await self._process.last_words()}"

    def watch(self, on_end: OnEnd) -> None:
        """Have `on_end` called with the reason, once, when it ends otherwise than because QEMU has no use for it."""
        self._on_end = on_end
        self._process.on_exit(self._on_exit)

    async def stop(self) -> None:
        """End it: it has a moment to see that its QEMU closed the connection, then come SIGTERM and SIGKILL."""
        self._on_end = _nobody
        try:
            await self._process.stop(polite=[("the end of its connection", _nothing, _LEAVE)])
        finally:
            self.close()

    def close(self) -> None:
        """Kill it if it runs, and free what is ours; blocks for a moment."""
        self._on_end = _nobody
        self._process.close()
        if self._fifo is not None:
            with contextlib.suppress(OSError):
                self._fifo.unlink()

    def leave(self) -> None:
        """Free what is ours, and let it go on."""
        self._on_end = _nobody
        self._process.leave()

    def _on_exit(self, status: int) -> None:
        if status == UNKNOWN_STATUS:  # of one that was adopted: if it was to end, whoever ends it says so soon
            asyncio.get_running_loop().call_later(_LEAVE, self._report)
        elif status != 0:
            self._report()

    def _report(self) -> None:
        self._on_end(self, str(self._process.exited_error(f"{self.program} ended")))


OnEnd: TypeAlias = Callable[[Helper, str], None]


def _nobody(_helper: Helper, _why: str) -> None:
    pass


async def _nothing() -> None:
    pass


def _fifo(id: str, directory: Path | None) -> Path | None:
    return None if directory is None else directory / f"{id}.helper"
