"""One operation on a machine at a time, and a way to interrupt the one that is running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["OperationInterrupted", "OperationLock", "run_shielded"]


class OperationInterrupted(Exception):
    """The operation was ended by `OperationLock.interrupt`."""


class OperationLock:
    """Held by one operation at a time. `operation` names the one that holds it; empty while none does."""

    def __init__(self) -> None:
        self.operation = ""
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[Any] | None = None
        self._interrupted = False

    @asynccontextmanager
    async def hold(self, operation: str) -> AsyncIterator[None]:
        """Hold the lock for the block. Raises OperationInterrupted in place of what ends an interrupted block."""
        async with self._lock:
            task = asyncio.current_task()
            cancelling = task.cancelling() if task else 0
            self._task, self._interrupted, self.operation = task, False, operation
            try:
                yield
            except BaseException as error:
                # as in asyncio.timeout: a cancellation that comes from `interrupt` alone isn't passed on
                if self._take_back(task) <= cancelling:
                    raise OperationInterrupted from error
                raise
            else:
                self._take_back(task)  # it has completed all the same
            finally:
                self._task, self.operation = None, ""

    def interrupt(self) -> None:
        """Cancel the running operation, unless there is none or it is the caller's own."""
        task = self._task
        if task is not None and not self._interrupted and task is not asyncio.current_task():
            self._interrupted = True
            task.cancel()

    async def wait_free(self) -> None:
        """Wait until no operation holds the lock."""
        async with self._lock:
            pass

    def _take_back(self, task: asyncio.Task[Any] | None) -> float:
        """Uncancel what `interrupt` cancelled. Returns how many cancellations are left; infinity if there was none."""
        return task.uncancel() if task is not None and self._interrupted else float("inf")


async def run_shielded(work: Coroutine[Any, Any, None]) -> None:
    """Await all of `work`, also when the caller is cancelled; the cancellation is raised afterwards."""
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
