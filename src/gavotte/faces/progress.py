"""Progress for people: a bar on a terminal, plain lines elsewhere, nothing for what is over at once."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["Progress"]


class Progress:
    """Call it with (phase, fraction from 0 to 1 or None). Writes to stderr, unless `quiet`; may be called from any
    thread."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._phase = ""

    def __call__(self, phase: str, fraction: float | None = None) -> None:
        if self._quiet:
            return
        if sys.stderr.isatty():
            self._draw(phase, fraction)
        elif phase != self._phase:
            print(f"gavotte: {phase}", file=sys.stderr, flush=True)
        self._phase = phase

    def _draw(self, phase: str, fraction: float | None) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn()
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        if phase != self._phase or self._task is None:
            if self._task is not None:
                self._bar.update(self._task, total=1, completed=1)
            self._task = self._bar.add_task(phase, total=None)
        if fraction is not None:
            self._bar.update(self._task, total=1.0, completed=fraction)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


class CountBar:
    """How many of `total` are done, where stderr is a terminal; nothing elsewhere. May be advanced from any thread."""

    def __init__(self, total: int | None, *, shown: bool = True) -> None:
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        if shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task("", total=total)
            self._bar.start()

    def advance(self, _: object = None) -> None:
        """One more is done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def stop(self) -> None:
        """Draw it for the last time. Idempotent."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
