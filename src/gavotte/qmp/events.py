"""What QEMU reports by itself, for whoever listens."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol

from gavotte.compat import override
from gavotte.errors import StateError
from gavotte.qmp.wire import Event

__all__ = ["EventStream", "Listener", "Listeners"]


_HELD = 64  # events at most that are kept for the first listener


class Listener(Protocol):
    """What is shown each event at once, before the answer to any later command is given, and then the end."""

    def offer(self, event: Event) -> None: ...

    def end(self) -> None: ...


class EventStream:
    """The events of some names, in order, from `with` on and until the connection ends.

        with client.events("STOP", "RESUME") as events:
            async for event in events: ...

    At most `limit` events wait to be read. Of a reader that is slower, the oldest are dropped and counted in `dropped`.
    """

    def __init__(self, listeners: Listeners, names: frozenset[str], limit: int) -> None:
        self._listeners = listeners
        self._names = names
        self._queue: deque[Event] = deque(maxlen=limit)
        self._news = asyncio.Event()
        self._open: bool | None = None  # None: not yet
        self.dropped = 0

    def __enter__(self) -> EventStream:
        self._open = self._listeners.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listeners.remove(self)
        self.end()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        if self._open is None:
            raise StateError("events are kept from `with` on: write `with client.events(...) as events:` first")
        while not self._queue:
            if not self._open:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._queue.popleft()

    @override
    def __repr__(self) -> str:
        names = " ".join(sorted(self._names)) or "all"
        state = {None: "not begun", True: "open", False: "ended"}[self._open]
        return f"<EventStream {names} {state}, {len(self._queue)} waiting, {self.dropped} dropped>"

    def offer(self, event: Event) -> None:
        """Take the event if it has one of the names."""
        if self._names and event.name not in self._names:
            return
        if len(self._queue) == self._queue.maxlen:
            self.dropped += 1
        self._queue.append(event)
        self._news.set()

    def end(self) -> None:
        """No more events will come; those that wait can still be read."""
        self._open = False
        self._news.set()


class Listeners:
    """The streams that a connection feeds, until it ends. With `hold`, the first one gets what came before it, too."""

    def __init__(self, *, hold: bool = False) -> None:
        self._streams: set[Listener] = set()
        self._ended = False
        self._held: deque[Event] | None = deque(maxlen=_HELD) if hold else None

    def add(self, stream: Listener) -> bool:
        """Feed the stream from now on; False if the connection has ended."""
        held, self._held = self._held, None
        for event in held or ():
            stream.offer(event)
        if not self._ended:
            self._streams.add(stream)
        return not self._ended

    def remove(self, stream: Listener) -> None:
        """Feed the stream no more."""
        self._streams.discard(stream)

    def offer(self, event: Event) -> None:
        """Show an event to every stream."""
        if self._held is not None:
            self._held.append(event)
        for stream in self._streams:
            stream.offer(event)

    def end(self) -> None:
        """Tell every stream that the connection has ended."""
        self._ended = True
        while self._streams:
            self._streams.pop().end()
