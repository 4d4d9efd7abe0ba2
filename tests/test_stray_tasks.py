"""The check for stray tasks finds what it is there to find."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest

from gavotte.faces.loop import call
from tests.support import stray_tasks
from tests.support.leaks import exempt
from tests.support.stray_tasks import held_to_its_tasks


@pytest.fixture(scope="module", autouse=True)
def private_loop(run_directory: None) -> None:
    with exempt():
        call(asyncio.sleep(0))


def complaint(story: Callable[[], object]) -> str:
    said: list[str] = []
    with held_to_its_tasks(said.append):
        story()
    return "".join(said)


def on_the_private_loop(story: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    async def told() -> None:
        await story()

    return lambda: call(told())


async def _wait_for_itself() -> None:
    await asyncio.Event().wait()


async def _fail() -> None:
    raise LookupError("planted")


@on_the_private_loop
async def drop_a_task() -> None:
    task = asyncio.get_running_loop().create_task(_wait_for_itself())
    await asyncio.sleep(0)  # it waits for what only itself refers to
    del task
    gc.collect()


@on_the_private_loop
async def ignore_a_failure() -> None:
    task = asyncio.get_running_loop().create_task(_fail())
    await asyncio.wait([task])


def forget_to_await() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _fail()  # type: ignore[unused-coroutine]


def test_each_kind_is_found() -> None:
    assert "Task was destroyed but it is pending" in complaint(drop_a_task)
    assert "never retrieved: LookupError('planted')" in complaint(ignore_a_failure)
    assert "was never awaited" in complaint(forget_to_await)


def test_a_task_that_does_not_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stray_tasks, "_PATIENCE", 0.1)
    kept: list[asyncio.Task[None]] = []

    async def keep_one() -> None:
        kept.append(asyncio.get_running_loop().create_task(_wait_for_itself()))

    async def end() -> None:
        kept[0].cancel()
        await asyncio.wait(kept)

    assert "left pending" in complaint(lambda: call(keep_one()))
    call(end())


def test_loops_are_in_debug_mode_and_what_ends_is_no_complaint() -> None:
    modes: list[bool] = []

    async def story() -> None:
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        modes.append(asyncio.get_running_loop().get_debug())

    def both() -> None:
        asyncio.run(story())
        call(story())

    assert complaint(both) == ""
    assert modes == [True, True]
    call(story())
    assert modes[2:] == [False]
