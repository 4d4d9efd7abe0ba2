"""A coroutine, disturbed at one of the places where it waits."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TypeVar

from tests.support.programs import DEADLINE

__all__ = ["cancel_here", "children", "disturbed", "run"]

T = TypeVar("T")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it, with a deadline, and see that no task is left."""

    async def main() -> None:
        async with asyncio.timeout(6 * DEADLINE):
            await test()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    asyncio.run(main())


@types.coroutine
def disturbed(work: Coroutine[Any, Any, T], place: int, disturb: Callable[[], object]) -> Generator[Any, Any, T]:
    """Awaits `work`, and calls `disturb` when it waits for the `place`-th time, counted from 1."""
    step = work.__await__()
    waits = 0
    try:
        awaited = next(step)
        while True:
            waits += 1
            if waits == place:
                disturb()
            try:
                value = yield awaited
            except BaseException as error:
                awaited = step.throw(error)
            else:
                awaited = step.send(value)
    except StopIteration as done:
        result: T = done.value
        return result


def cancel_here() -> None:
    """Cancel the task that runs."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def children() -> set[int]:
    """The processes that this one has started and not reaped."""
    lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return {int(pid) for text in lists for pid in text.split()}
