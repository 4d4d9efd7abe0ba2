"""Tasks that nobody ends: the loops of a test run in debug mode, and what they complain of fails it."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import gavotte.faces.loop
from gavotte.faces.loop import call

__all__ = ["held_to_its_tasks", "no_stray_tasks"]

_PATIENCE = 60.0  # seconds for what ends in the background


@contextmanager
def held_to_its_tasks(fail: Callable[[str], object]) -> Iterator[None]:
    """Calls `fail` with what a loop's exception handler or the interpreter's hook for exceptions that can't be raised
    was told during the block, and with the tasks that the block left on the private loop and that don't end there.

    A coroutine that was never awaited is one of these: its warning is an error, and can't be raised.
    """
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "call_exception_handler", lambda _, context: said.append(_words(context)))
        patch.setattr(sys, "unraisablehook", lambda what: said.append(f"{what.err_msg or ''} {what.exc_value!r}"))
        patch.setattr(asyncio.coroutines, "_is_debug_mode", lambda: True)  # new loops ask it
        private = _private_loop()
        before = call(_others()) if private else set()
        _set_debug(private, on=True)
        try:
            yield
        finally:
            gc.collect()  # a task is complained of when it is collected
            if private := _private_loop():
                said += call(_left(before))
            _set_debug(private, on=False)
    if said:
        fail("\n".join(["a loop complains:", *said]))


@pytest.fixture
def no_stray_tasks() -> Iterator[None]:
    """See `held_to_its_tasks`."""
    with held_to_its_tasks(pytest.fail):
        yield


def _words(context: dict[str, Any]) -> str:
    about = context.get("exception") or context.get("task") or context.get("future") or context.get("handle")
    return f"{context['message']}: {about!r}"


def _private_loop() -> asyncio.AbstractEventLoop | None:
    thread = gavotte.faces.loop._thread
    return thread.loop if thread is not None else None


def _set_debug(loop: asyncio.AbstractEventLoop | None, *, on: bool) -> None:
    if loop is not None:
        loop.call_soon_threadsafe(loop.set_debug, on)


async def _others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def _left(before: set[asyncio.Task[Any]]) -> list[str]:
    """Those that came meanwhile and don't end by themselves."""
    new = await _others() - before
    pending = (await asyncio.wait(new, timeout=_PATIENCE))[1] if new else set()
    return [f"left pending: {task!r}" for task in pending]
