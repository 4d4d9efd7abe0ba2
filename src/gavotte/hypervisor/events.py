"""What a machine reports by itself, as types; and bounded streams of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from gavotte.values import dataclass

__all__ = [
    "BlockError",
    "Ended",
    "EventStream",
    "GuestPanicked",
    "HelperEnded",
    "InternalError",
    "MemoryChanged",
    "Paused",
    "Resumed",
    "Streams",
    "Unplugged",
    "VmEvent",
    "VmReset",
    "VmShutdown",
    "WatchdogFired",
]


@dataclass(frozen=True)
class VmEvent:
    """Base of all."""


@dataclass(frozen=True)
class GuestPanicked(VmEvent):
    """The guest's kernel reported a panic, with what it told of it. `dump` is the file that its memory went to, if any;
    `dump_problem` is why there is none."""

    action: str
    info: Mapping[str, Any] = field(default_factory=dict)
    dump: Path | None = None
    dump_problem: str = ""


@dataclass(frozen=True)
class InternalError(VmEvent):
    """The accelerator gave up (QEMU's run state `internal-error`). The machine stands still."""


@dataclass(frozen=True)
class VmShutdown(VmEvent):
    """The machine was switched off. `reason` is QEMU's word, such as guest-shutdown or host-qmp-quit."""

    reason: str
    by_guest: bool


@dataclass(frozen=True)
class VmReset(VmEvent):
    """The machine starts anew, without a new process."""

    reason: str
    by_guest: bool


@dataclass(frozen=True)
class WatchdogFired(VmEvent):
    """The guest didn't wind its watchdog up; `action` is what QEMU does about it."""

    action: str


@dataclass(frozen=True)
class BlockError(VmEvent):
    """A disk's file failed. With the action `stop` the machine is paused: resume it when the cause is gone."""

    device: str
    node: str
    operation: str
    action: str
    reason: str
    nospace: bool


@dataclass(frozen=True)
class Paused(VmEvent):
    """The guest's processors stand still."""


@dataclass(frozen=True)
class Resumed(VmEvent):
    """They go on."""


@dataclass(frozen=True)
class MemoryChanged(VmEvent):
    """Memory that can be plugged has another size now, in bytes."""

    device: str
    size: int


@dataclass(frozen=True)
class Unplugged(VmEvent):
    """A device has gone, asked for or not."""

    id: str


@dataclass(frozen=True)
class HelperEnded(VmEvent):
    """A process that serves device `id` (virtiofsd, passt) ended unasked. The device is of no use now."""

    id: str
    program: str
    why: str


@dataclass(frozen=True)
class Ended(VmEvent):
    """The machine is no more; the last event of all. `why` is what `explain_end` says, empty after a `stop`."""

    why: str


class Feeding(Protocol):
    """Who feeds streams: a set of them, or `Streams`."""

    def add(self, stream: EventStream, /) -> None: ...

    def discard(self, stream: EventStream, /) -> None: ...


class EventStream:
    """Events in order, from `with` on and until the machine's end.

        with vm.events(GuestPanicked, VmReset) as events:
            async for event in events: ...

    At most `limit` wait to be read. Of a reader that is slower, the oldest are dropped and counted in `dropped`.
    """

    def __init__(self, streams: Feeding, kinds: tuple[type[VmEvent], ...], limit: int) -> None:
        self._streams = streams
        self._kinds = kinds or (VmEvent,)
        self._queue: deque[VmEvent] = deque(maxlen=limit)
        self._news = asyncio.Event()
        self._open = True
        self.dropped = 0

    def __enter__(self) -> EventStream:
        self._streams.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._streams.discard(self)
        self.end()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> VmEvent:
        while not self._queue:
            if not self._open:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._queue.popleft()

    def offer(self, event: VmEvent) -> None:
        """Take the event if it is of one of the kinds."""
        if isinstance(event, self._kinds):
            self.dropped += len(self._queue) == self._queue.maxlen
            self._queue.append(event)
            self._news.set()

    def end(self) -> None:
        """No more will come; those that wait can still be read."""
        self._open = False
        self._news.set()


class Streams:
    """The streams that a machine feeds. One that begins after the machine's end is told of the end alone."""

    def __init__(self) -> None:
        self._streams: set[EventStream] = set()
        self._last: Ended | None = None

    def add(self, stream: EventStream, /) -> None:
        """Feed the stream from now on."""
        if self._last is None:
            self._streams.add(stream)
        else:
            stream.offer(self._last)
            stream.end()

    def discard(self, stream: EventStream, /) -> None:
        """Feed the stream no more."""
        self._streams.discard(stream)

    def offer(self, event: VmEvent) -> None:
        """Show an event to every stream; `Ended` ends them, and nothing comes after it."""
        if self._last is not None:
            return
        for stream in tuple(self._streams):
            stream.offer(event)
        if isinstance(event, Ended):
            self._last = event
            while self._streams:
                self._streams.pop().end()
