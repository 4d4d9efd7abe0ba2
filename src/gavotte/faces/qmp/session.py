"""One connection to a QMP socket, for a program that reads commands and shows what comes back."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from gavotte.faces import loop
from gavotte.faces.qmp.grammar import Grammar, read_command
from gavotte.qemu.commands import execute
from gavotte.qemu.props import Json
from gavotte.qmp.client import QmpClient
from gavotte.qmp.dial import dial
from gavotte.qmp.events import EventStream

__all__ = ["Session"]

_GREETING_DEADLINE = 5.0
_EVENTS_KEPT = 1000


class Session:
    """A connection on the private loop, used from one other thread.

    Events wait in `news` until that thread shows them; `on_news` is called, on the loop's thread, when there are some
    and when the connection ends.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._news: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self.on_news: Callable[[], None] = lambda: None
        self.finished = False
        """`quit` was answered."""

    @property
    def closed(self) -> bool:
        """The connection has ended."""
        return self._client.closed

    def take_news(self) -> list[str]:
        """The events since the last call, a line each."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def ask_grammar(self) -> Grammar:
        """What this QEMU's commands take."""
        schema: Any = loop.call(self._client.execute("query-qmp-schema"))
        return Grammar(schema)

    def run(self, words: Sequence[str], grammar: Grammar | None) -> Json:
        """Run a command and give its answer. Raises what the command does, and UsageError for what isn't one."""
        command, arguments = read_command(words, grammar)
        quits = command == "quit"
        answer = loop.call(execute(self._client, command, arguments, deadline=self._timeout, final=quits))
        self.finished = quits
        return answer

    def __enter__(self) -> Session:
        sock = dial(self._path)
        self._client = loop.call(QmpClient.connect(sock, deadline=_GREETING_DEADLINE))
        loop.begin(self._watch(self._client.events()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        loop.call(self._client.close())

    async def _watch(self, events: EventStream) -> None:
        with events:
            async for event in events:
                self._news.append(f"# {event.name} {json.dumps(event.data)}")
                self.on_news()
        self.on_news()


def print_answer(answer: Json) -> None:
    """Laid out for a terminal, else in one line."""
    print(json.dumps(answer, indent=2 if sys.stdout.isatty() else None), flush=True)
