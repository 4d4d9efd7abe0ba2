"""Whose turn it is to change a machine, and how its end ends whatever is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["Interrupted", "Turns", "finished"]


class Interrupted(Exception):
    """The turn was ended by `interrupt`."""


class Turns:
    """One change at a time. `what` names the one under way; empty when there is none."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.what = ""
        self._task: asyncio.Task[Any] | None = None
        self._interrupted = False

    @asynccontextmanager
    async def turn(self, what: str) -> AsyncIterator[None]:
        """Wait for a turn, which the block is. Raises Interrupted in place of a block that was interrupted."""
        async with self.lock:
            task = asyncio.current_task()
            cancelling = task.cancelling() if task else 0
            self._task, self._interrupted, self.what = task, False, what
            try:
                yield
            except BaseException as error:
                # as with asyncio.timeout: a cancellation that is ours alone goes no further
                if self._take_back(task) <= cancelling:
                    raise Interrupted from error
                raise
            else:
                self._take_back(task)  # it came to its end all the same
            finally:
                self._task, self.what = None, ""

    def interrupt(self) -> None:
        """Cancel the block under way, if there is one and it isn't the caller's own."""
        task = self._task
        if task is not None and not self._interrupted and task is not asyncio.current_task():
            self._interrupted = True
            task.cancel()

    def _take_back(self, task: asyncio.Task[Any] | None) -> float:
        """How many cancellations are left without ours; infinitely many if there was none of ours."""
        return task.uncancel() if task is not None and self._interrupted else float("inf")


async def finished(work: Coroutine[Any, Any, None]) -> None:
    """Do all of `work`, whoever cancels; the cancellation is raised after it."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
