"""What a machine that runs tells of itself: whether its processors run, what happened, and why it ended."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gavotte.errors import QemuError
from gavotte.hypervisor.events import (
    Ended,
    GuestPanicked,
    InternalError,
    Paused,
    Resumed,
    Streams,
    VmEvent,
    VmShutdown,
    WatchdogFired,
)
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.events import translate
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.wire import Event
from gavotte.text import harmless

__all__ = ["Life"]

Dump = Callable[[QmpClient], Awaitable[Path]]

_KEPT = 64  # events
_ENDING = ("reset", "shutdown", "poweroff")  # what a watchdog does that ends a machine, which ends at a reset too
_PANIC = re.compile(r"Kernel panic - not syncing: ([^\r\n]*)")


class Life:
    """Follows QEMU's events as they come, so `state` is right before the answer to any later command is.

    `recent` are the last events, `panic` and `shutdown` the ones that may explain an end: these are remembered also
    where nobody listened. `dump` writes the memory of a guest that panicked to a file: then the panic is reported when
    that is done, and the machine ends, as it does at a panic without one.
    """

    def __init__(self, dump: Dump | None = None) -> None:
        self.state = VmState.CREATED
        self.turned = 0.0  # when it last stood still or went on, by the host's clock
        self.streams = Streams()
        self.recent: deque[VmEvent] = deque(maxlen=_KEPT)
        self.panic: GuestPanicked | None = None
        self.shutdown: VmShutdown | None = None
        self._dump = dump
        self._client: QmpClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, client: QmpClient) -> None:
        """Take in what this connection reports, from now on."""
        self._client = client
        client.listen(self)

    def offer(self, event: Event) -> None:
        """Take an event of QEMU's in."""
        told = translate(event)
        match told:
            case None:
                return
            case Paused():
                self.state, self.turned = VmState.PAUSED, event.seconds
                self.begin(self._ask_why())
            case Resumed():
                self.state, self.turned = VmState.RUNNING, event.seconds
            case VmShutdown():
                self.shutdown = told
            case GuestPanicked():
                self.panic = told
                if self._dump is not None:
                    self.begin(self._dump_and_end(told, self._dump))
                    return
        self.report(told)

    def end(self) -> None:
        """The connection has ended."""

    def report(self, event: VmEvent) -> None:
        """Tell all who listen."""
        self.recent.append(event)
        self.streams.offer(event)

    @property
    def idle(self) -> bool:
        """Whether nothing is to follow from the events that came."""
        return not self._tasks

    async def settle(self) -> None:
        """Wait for what follows from events that came, such as a dump. For when the connection has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def close(self, why: str) -> None:
        """Report the end, once, and nothing after it."""
        self.state = VmState.STOPPED
        for task in self._tasks:
            task.cancel()
        self.report(Ended(why))

    def words(self, console: str) -> str:
        """How a machine ended that wasn't told to: from its events, and from what its console says."""
        found = _PANIC.search(console)
        said = f" ({harmless(found[1])})" if found else ""
        reason = self.shutdown.reason if self.shutdown else "no reason given"
        if self.panic or found:
            dump = self.panic.dump if self.panic else None
            problem = self.panic.dump_problem if self.panic else ""
            memory = f", its memory is in {dump}" if dump else f", there is no dump: {problem}" if problem else ""
            return f"the guest's kernel panicked{said}{memory}" + ("" if memory else f", {reason}")
        if any(isinstance(event, WatchdogFired) and event.action in _ENDING for event in self.recent):
            return f"the guest didn't wind its watchdog up, {reason}"
        return f"the guest ended by itself, {reason}"

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work beside, which ends with the machine at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_why(self) -> None:
        """QEMU has no event for an internal error: it stops, and its run state says so."""
        try:
            status: Any = await self._connected().execute("query-status", deadline=Deadline.QUICK)
        except QemuError:
            return  # it ended, or doesn't answer: others find that
        if status["status"] == "internal-error":
            self.report(InternalError())

    async def _dump_and_end(self, panic: GuestPanicked, dump: Dump) -> None:
        try:
            self.panic = replace(panic, dump=await dump(self._connected()))
        except (QemuError, OSError) as error:
            self.panic = replace(panic, dump_problem=str(error))
        self.report(self.panic)
        with suppress(QemuError):
            await self._connected().execute("quit", final=True)

    def _connected(self) -> QmpClient:
        if self._client is None:
            raise QemuError("there is no connection")
        return self._client
