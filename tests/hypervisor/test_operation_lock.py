"""One change at a time, and what becomes of one that is interrupted, in every way it may take that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gavotte.hypervisor.operation_lock import OperationInterrupted, OperationLock, run_shielded
from tests.support.steps import run


async def interrupted(lock: OperationLock, block: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.Task[object]:
    """A task whose operation is `block`, interrupted while that waits."""
    begun = asyncio.Event()

    async def take() -> object:
        async with lock.hold("work"):
            begun.set()
            return await block()

    task = asyncio.create_task(take())
    await begun.wait()
    lock.interrupt()
    return task


def test_an_interrupted_turn_says_so_and_the_next_is_not() -> None:
    async def test() -> None:
        lock = OperationLock()
        task = await interrupted(lock, asyncio.Event().wait)
        with pytest.raises(OperationInterrupted):
            await task
        assert task.cancelling() == 0
        async with lock.hold("more"):
            assert lock.operation == "more"
        assert lock.operation == ""

    run(test)


def test_a_turn_that_ends_all_the_same_is_done() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        return ""

    async def test() -> None:
        task = await interrupted(OperationLock(), stubborn)
        assert await task == "done"
        assert task.cancelling() == 0

    run(test)


def test_an_undo_that_fails_hides_nothing() -> None:
    async def undoing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the undo failed")

    async def test() -> None:
        task = await interrupted(OperationLock(), undoing)
        with pytest.raises(OperationInterrupted) as found:
            await task
        assert isinstance(found.value.__cause__, OSError)

    run(test)


def test_a_cancellation_beside_the_interruption_goes_through() -> None:
    async def test() -> None:
        task = await interrupted(OperationLock(), asyncio.Event().wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test)


def test_an_interruption_without_a_turn_is_nothing() -> None:
    async def test() -> None:
        lock = OperationLock()
        lock.interrupt()
        async with lock.hold("work"):
            lock.interrupt()  # one's own operation goes on
            await asyncio.wait([asyncio.create_task(run_shielded(nothing()))])

    async def nothing() -> None: ...

    run(test)


def test_work_that_must_be_finished_is_and_then_the_cancellation_comes() -> None:
    async def test() -> None:
        go, done = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            await go.wait()
            done.set()

        begun = asyncio.Event()

        async def caller() -> None:
            begun.set()
            await run_shielded(work())

        task = asyncio.create_task(caller())
        await begun.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.wait([task], timeout=0.01)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done.is_set()

    run(test)
