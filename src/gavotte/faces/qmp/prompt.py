"""The prompt: lines edited by readline, with completion and history, and events shown while one is typed."""

from __future__ import annotations

import ctypes
import os
import readline
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gavotte.faces.qmp.grammar import Grammar

__all__ = ["ConnectionEnded", "Prompt", "history_file"]

_PROMPT = "qmp> "
_HISTORY = 1000  # lines

# Ignored unless somebody listens, so it does no harm when it comes late (signal(7)).
_NEWS = signal.SIGURG


class ConnectionEnded(Exception):
    """There is nobody left to type for."""


class Prompt:
    """Reads lines from the terminal. `take_news` gives the lines to show above the one that is typed.

    `tell` may be called from any thread: it sends a signal to the thread that reads, since readline looks at signals
    between two keys, where it is safe to draw.
    """

    def __init__(self, grammar: Grammar, take_news: Callable[[], list[str]], ended: Callable[[], bool]) -> None:
        self._grammar = grammar
        self._take_news = take_news
        self._ended = ended
        self._thread = threading.get_ident()
        self._reading = False  # readline has drawn the prompt and waits for keys
        self._drawing = False  # another signal then has nothing to add
        self._offers: list[str] = []

    @contextmanager
    def opened(self) -> Iterator[Prompt]:
        """Readline is set up, and the history read; in the end it is written, as far as this user can."""
        before = signal.signal(_NEWS, self._on_news)
        readline.set_completer(self._complete)
        readline.set_completer_delims(" \t")
        readline.parse_and_bind("tab: complete")
        readline.set_pre_input_hook(self._on_prompt)
        count = _read_history()
        try:
            yield self
        finally:
            readline.set_pre_input_hook()
            readline.set_completer()
            signal.signal(_NEWS, before)
            _write_history(readline.get_current_history_length() - count)

    def read_line(self) -> str:
        """The next line. Raises EOFError at Ctrl-D, KeyboardInterrupt at Ctrl-C, ConnectionEnded."""
        try:
            return input(_PROMPT)
        finally:
            self._reading = False

    def tell(self) -> None:
        """There are news, or the connection has ended."""
        if self._reading:
            signal.pthread_kill(self._thread, _NEWS)

    def _on_prompt(self) -> None:
        self._reading = True
        self._show()
        if self._ended():
            self.tell()  # an exception would be lost in this hook, but not in the signal's handler

    def _on_news(self, _number: int, _frame: object) -> None:
        if self._reading and not self._drawing:
            self._show()
            if self._ended():
                self._reading = False
                raise ConnectionEnded

    def _show(self) -> None:
        """The line that is being typed gives way to the news, and is drawn again below them."""
        self._drawing = True
        while news := self._take_news():
            _write("\r\x1b[K" + "".join(f"{line}\n" for line in news))
            _draw_again()
        self._drawing = False

    def _complete(self, word: str, state: int) -> str | None:
        if state == 0:
            before = readline.get_line_buffer()[: readline.get_begidx()]
            self._offers = self._grammar.complete(before, word)
        return self._offers[state] if state < len(self._offers) else None


def _draw_again() -> None:
    """Readline's prompt and line, with the cursor where it was; Python's module has no name for this."""
    try:
        redraw: Any = ctypes.CDLL(getattr(readline, "__file__", None)).rl_forced_update_display
    except (OSError, AttributeError):  # libedit
        _write(_PROMPT + readline.get_line_buffer())
    else:
        redraw()


def _write(text: str) -> None:
    """Past sys.stdout, since a signal may come while something is written to it."""
    os.write(sys.stdout.fileno(), text.encode())


def history_file() -> Path:
    """Where lines are kept for the next time (XDG base directory specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local/state") / "gavotte" / "qmp-history"


def _read_history() -> int:
    """Gives the number of lines that are known from earlier."""
    readline.set_history_length(_HISTORY)
    try:
        readline.read_history_file(history_file())
    except (OSError, RuntimeError):  # none yet, or no home: a prompt is of use without
        readline.clear_history()
    return readline.get_current_history_length()


def _write_history(new: int) -> None:
    """Adds the last `new` lines, so that what another prompt wrote meanwhile stays. Nobody else may read them."""
    try:
        path = history_file()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        readline.append_history_file(new, path)
    except (OSError, RuntimeError) as e:
        print(f"the history can't be kept: {e}", file=sys.stderr)
