"""A machine that runs: its process, its monitor, its console, and why it ended."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self

from gavotte.errors import GavotteError, GuestDied, QemuError
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, plan_machine
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.check import check_document
from gavotte.qemu.commands import Commands
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import PoliteRung, QemuProcess, start_process
from gavotte.qemu.props import PropertyMap
from gavotte.qemu.schema import get_schema
from gavotte.qemu.tail import Tail
from gavotte.qmp.client import QmpClient
from gavotte.text import harmless

__all__ = ["QemuVm"]

_QUIT_DEADLINE = 3.0


class QemuVm:
    """One QEMU of ours. Made by `QemuVm.start`; `stop` ends it and frees everything."""

    def __init__(self, process: QemuProcess, console: Tail, ports: dict[str, int]) -> None:
        self.process = process
        self.monitor: QmpClient | None = None
        self._console = console
        self._ports = ports  # our ends that nobody has taken yet
        self._stopping = False
        self._reason = ""  # why the guest ended, in QEMU's words (event SHUTDOWN)
        self._watch: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        process.on_exit(lambda _status: None if self.ended.done() else self.ended.set_result(None))

    @classmethod
    async def start(cls, binary: QemuBinary, config: MachineConfig) -> Self:
        """Start QEMU and let the guest run. Gives the machine as soon as the process exists: what refuses its
        options shows as its end.

        The machine is checked against the binary first. Raises InvalidMachine for what that wouldn't take, QemuError
        when it can't be asked, HostError when there can't be a process."""
        ours: dict[str, int] = {}
        with FdLedger() as ledger:
            try:
                wires = _connect(config, ledger, ours)
                document = check_document(plan_machine(config, wires), await get_schema(binary))
                process = await start_process([str(binary.path), *document_to_argv(document)], ledger)
            except BaseException:
                for fd in ours.values():
                    os.close(fd)
                raise
        monitor = ours.pop(MONITOR)
        vm = cls(process, Tail(asyncio.get_running_loop(), ours.pop(CONSOLE)), ours)
        vm._watch = asyncio.get_running_loop().create_task(vm._supervise(monitor))
        return vm

    def take_port(self, id: str) -> int:
        """Our end of a port, as a socket's fd that is the caller's from now on."""
        return self._ports.pop(id)

    @property
    def console(self) -> str:
        """The last of what the guest wrote to its console, harmless to a terminal."""
        return self._console.last_lines()

    async def wait_for_console(self, seconds: float) -> bool:
        """Whether the guest prints anything on its console within `seconds`, before the machine ends."""
        printed = asyncio.ensure_future(self._console.wait_for_some())
        try:
            await asyncio.wait([printed, self.ended], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return printed.done()
        finally:
            printed.cancel()

    async def _supervise(self, monitor: int) -> None:
        """Negotiate, then listen for the guest's end until the connection's. Errors show as the process's end."""
        import socket

        client = await QmpClient.connect(socket.socket(fileno=monitor), last_words=self.process.last_words)
        with client.events("SHUTDOWN") as events:
            self.monitor = client
            async for event in events:
                self._reason = str(event.data.get("reason", ""))

    async def explain_end(self) -> GavotteError:
        """Why the machine isn't there any more, as the error to raise. Waits a moment for an end under way."""
        await asyncio.wait([self.ended], timeout=1.0)
        if self._watch is not None:
            await asyncio.wait([self._watch], timeout=1.0)  # the reason comes before the connection's end
        code = self.process.returncode
        if code == 0 and not self._stopping:
            panic = re.search(r"Kernel panic - not syncing: ([^\r\n]*)", self._console.text)
            how = f"the guest's kernel panicked ({harmless(panic[1])})" if panic else "the guest ended by itself"
            return GuestDied(
                f"{how}, {self._reason or 'no reason given'}; {self.console_words()}",
                hint="the console's last lines above say what the guest's kernel met; "
                "a panic at start often means too little memory",
            )
        if code is None:
            return QemuError("the connection to QEMU broke, and it still runs")
        return self.process.exited_error(
            "QEMU ended", hint="its last words above say why; `gavotte check` looks at QEMU"
        )

    def console_words(self) -> str:
        """The end of the console as a clause of an error's text."""
        console = self.console
        return f"the end of its console:\n{console}" if console else "its console is empty"

    @property
    def qmp(self) -> Commands:
        """QMP's commands, typed. Raises QemuError before the monitor is connected."""
        return Commands(self._connected())

    def _connected(self) -> QmpClient:
        if self.monitor is None:
            raise QemuError("the monitor isn't connected")
        return self.monitor

    async def quit(self) -> None:
        await self._connected().execute("quit", deadline=_QUIT_DEADLINE, final=True)

    async def stop(self, polite: Sequence[tuple[str, Callable[[], Awaitable[None]], float]] = ()) -> None:
        """End the machine by `polite` rungs, then `quit`, SIGTERM, SIGKILL, and free everything. Idempotent."""
        self._stopping = True
        async with AsyncExitStack() as stack:
            stack.callback(self.close)
            stack.push_async_callback(self._drop_monitor)
            rungs: list[PoliteRung] = [*polite, ("quit", self.quit, _QUIT_DEADLINE)]
            await self.process.stop(polite=rungs)

    async def _drop_monitor(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self.monitor is not None:
            await self.monitor.close()

    def close(self) -> None:
        """Free what the machine holds; a process that still runs is killed."""
        self.process.close()
        self._console.close()
        while self._ports:
            os.close(self._ports.popitem()[1])


def _connect(config: MachineConfig, ledger: FdLedger, ours: dict[str, int]) -> dict[str, PropertyMap]:
    """A socket pair for each chardev: QEMU's ends as the chardevs' maps, our ends into `ours`."""
    wires: dict[str, PropertyMap] = {}
    for id in dict.fromkeys((CONSOLE, MONITOR, *(port.id for port in config.ports))):  # one given twice is the check's
        mine, theirs = socketpair()
        ours[id] = mine.detach()
        wires[id] = {"backend": "socket", "fd": ledger.give(theirs, id)}
    return wires
