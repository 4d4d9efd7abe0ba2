"""Pools of real sandboxes: what is handed over, what is replaced, who waits, and what is left at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

import gavotte
from gavotte import AsyncPool, AsyncSandbox
from gavotte.guest.image import Image
from gavotte.sandbox import admission
from gavotte.sandbox.admission import Admission, look_at_host
from gavotte.sandbox.store import sweep
from tests.support.command_line import PATIENCE, read_until
from tests.support.leaks import exempt
from tests.support.orphans import children_of, no_orphans
from tests.support.templates import CLOCK, time_off

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image", "no_stray_tasks")]

DEADLINE = 100.0

Story = Callable[[AsyncPool], Awaitable[None]]
Stage = Callable[[Story], None]


@pytest.fixture(scope="module")
def stage(image: Image) -> Iterator[Stage]:
    """Runs a story with a pool that all tests of this file share, full at its beginning."""
    with asyncio.Runner() as runner:
        pool = AsyncPool(2, accel="tcg", warm=[["true"]])

        async def told(story: Story) -> None:
            async with asyncio.timeout(DEADLINE):
                await story(pool)
                await pool.ready()

        with exempt():
            runner.run(pool.ready())

        def run(story: Story) -> None:
            with exempt():  # what replaces those that were handed over
                runner.run(told(story))

        yield run
        runner.run(pool.close())


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def with_deadline() -> None:
        async with asyncio.timeout(DEADLINE):
            await story()

    asyncio.run(with_deadline())


@pytest.fixture
def guests() -> Callable[[], int]:
    """Counts the QEMU processes of the test's own."""
    before = children_of(os.getpid())

    def count() -> int:
        found = children_of(os.getpid())
        return sum("qemu-system" in words for pid, words in found.items() if pid not in before)

    return count


async def words(box: AsyncSandbox, *argv: str) -> str:
    return (await box.run(argv, timeout=60)).check().stdout.decode().strip()


def kept(pool: AsyncPool) -> list[AsyncSandbox]:
    return list(pool._idle)


# what is handed over


def test_what_is_kept_stands_still_and_what_is_handed_over_runs_and_is_replaced(stage: Stage) -> None:
    async def story(pool: AsyncPool) -> None:
        assert all(box.paused for box in kept(pool))
        first = kept(pool)[0]
        async with pool.acquire() as box:
            assert box is first
            assert not box.paused
            assert await words(box, "echo", "hello") == "hello"
            await pool.ready()
            assert pool.alive == 3
            assert box not in kept(pool)
        assert box.state is gavotte.State.CLOSED

    stage(story)


def test_two_of_them_differ_in_name_machine_id_and_random_numbers(stage: Stage) -> None:
    async def story(pool: AsyncPool) -> None:
        one, two = await asyncio.gather(pool.acquire(), pool.acquire())
        async with one, two:
            for argv in (
                ["hostname"],
                ["cat", "/etc/machine-id"],
                ["head", "-c16", "/dev/urandom"],
                ["python3", "-c", "import random; print(random.random())"],
            ):
                assert (await one.run(argv)).stdout != (await two.run(argv)).stdout
            assert await words(one, "hostname") == one.name

    stage(story)


def test_the_clock_is_right_at_the_first_command(stage: Stage) -> None:
    async def story(pool: AsyncPool) -> None:
        await asyncio.sleep(2)  # in which what is kept stands still
        async with pool.acquire() as box, await box.spawn(CLOCK, stdin=True) as process:
            assert await time_off(process) < 0.05

    stage(story)


# what dies


def test_one_that_was_killed_is_replaced_and_never_handed_over(stage: Stage) -> None:
    async def story(pool: AsyncPool) -> None:
        victim, other = kept(pool)
        os.kill(victim.vm.process.pid, signal.SIGKILL)
        async with pool.acquire() as box:  # in the same moment: nobody has noticed yet
            assert box is other
            assert await words(box, "echo", "fine") == "fine"
        await pool.ready()
        assert victim not in kept(pool)
        await asyncio.wait_for(victim.close(), 20)

    stage(story)


def test_one_that_died_unnoticed_in_the_hand_over_makes_place_for_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pool: AsyncPool) -> None:
        first, second = kept(pool)
        resume = AsyncSandbox.resume

        async def resumed(self: AsyncSandbox, *, reseed: bool = False, wait: bool = True) -> None:
            if self is first:
                os.kill(self.vm.process.pid, signal.SIGKILL)
            await resume(self, reseed=reseed, wait=wait)

        monkeypatch.setattr(AsyncSandbox, "resume", resumed)
        async with pool.acquire() as box:
            assert box is second

    stage(story)


# those who wait


def test_a_burst_is_served_in_a_line_with_few_guests_at_once(guests: Callable[[], int]) -> None:
    async def story() -> None:
        pool = AsyncPool(2, limit=4, accel="tcg")
        most = 0

        async def one(number: int) -> str:
            nonlocal most
            async with pool.acquire() as box:
                most = max(most, guests())
                return await words(box, "echo", str(number))

        async with pool:
            door = Admission.here()
            starting = 0

            async def watch() -> None:
                nonlocal starting
                while True:
                    starting = max(starting, door.starting)
                    await asyncio.sleep(0.01)

            watcher = asyncio.create_task(watch())
            served = await asyncio.gather(*(one(number) for number in range(12)))
            watcher.cancel()
        assert served == [str(number) for number in range(12)]
        assert most <= 4 + 1  # one that has closed may be reaped a moment later
        assert 1 <= starting <= look_at_host().cores
        assert guests() == 0

    run(story)


def test_who_waits_too_long_is_told_and_holds_nothing() -> None:
    async def story() -> None:
        async with AsyncPool(0, limit=1, accel="tcg") as pool:
            async with pool.acquire() as box:
                with pytest.raises(gavotte.PoolBusy, match=r"no sandbox came within 0.1 s; 1 are alive, 0 others wait"):
                    await pool.acquire(timeout=0.1)
                late = asyncio.create_task(pool.take(None))
                await asyncio.sleep(0)
                late.cancel()
                await asyncio.wait([late])
                assert await words(box, "echo", "fine") == "fine"
            assert (pool.idle, len(pool._waiting)) == (0, 0)

    run(story)


def test_closing_in_a_burst_turns_away_who_waits_and_leaves_what_was_handed_over(guests: Callable[[], int]) -> None:
    async def story() -> None:
        pool = AsyncPool(1, accel="tcg")
        async with pool:
            box = await pool.acquire()
            waiting = [asyncio.create_task(pool.take(None)) for _ in range(20)]
            await asyncio.sleep(0)
            closing = [asyncio.create_task(pool.close()) for _ in range(2)]
            await asyncio.sleep(0)
            closing[0].cancel()
            await asyncio.wait(closing)
            ends = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(end) for end in ends} == {gavotte.StateError}
        async with box:
            assert await words(box, "echo", "fine") == "fine"
            assert guests() == 1
        with pytest.raises(gavotte.StateError, match="closed"):
            await pool.acquire()

    run(story)


# what can't be


def test_what_keeps_sandboxes_from_starting_is_told_to_who_asks() -> None:
    async def story() -> None:
        async with AsyncPool(2, accel="tcg", qemu="/bin/false") as pool:
            with pytest.raises(gavotte.GavotteError, match="false"):
                await pool.acquire(timeout=60)
            with pytest.raises(gavotte.GavotteError, match="false"):
                await pool.ready(timeout=60)
        assert pool.alive == 0

    run(story)


def test_starts_that_fail_are_tried_again_and_told_only_when_several_fail_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = 0

    async def start(self: AsyncSandbox) -> None:
        nonlocal tries
        tries += 1
        raise gavotte.GuestDied("it was killed")

    async def story() -> None:
        monkeypatch.setattr(AsyncSandbox, "start", start)
        async with AsyncPool(0) as pool:
            with pytest.raises(gavotte.GuestDied):
                await pool.acquire()
        assert tries == 3

    run(story)


def test_too_little_memory_is_told_when_nothing_of_the_pool_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(admission, "_PATIENCE", 0.0)
        pool = AsyncPool(0)
        pool._admission = Admission(lambda: replace(look_at_host(), available=0))
        async with pool:
            with pytest.raises(gavotte.HostError, match="memory"):
                await pool.acquire(timeout=20)
            assert pool.alive == 0

    run(story)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"size": -1}, "size"),
        ({"size": 4, "limit": 3}, "limit"),
        ({"name": "x"}, "name"),
        ({"keep": True, "name": "x"}, "name"),
        ({"memory": "lots"}, "memory"),
        ({"warm": ["true"]}, r"warm\[0\]"),
    ],
)
def test_bad_options_are_refused_at_once(options: dict[str, object], path: str) -> None:
    with pytest.raises(gavotte.UsageError, match=path):
        AsyncPool(**options)  # type: ignore[arg-type]


# whose it is


OWNER = """
import gavotte
with gavotte.Pool(2, accel="tcg", warm=[["true"]]) as pool:
    pool.ready()
    box = pool.acquire()
    pool.ready()  # the next one's QEMU has asked to be told of our death
    print("ready", flush=True)
    input()
"""


def test_an_owner_that_is_killed_leaves_no_process() -> None:
    with no_orphans(), subprocess.Popen([sys.executable, "-c", OWNER], stdin=-1, stdout=-1) as owner:
        try:
            read_until(owner.stdout, b"ready", PATIENCE)
            assert sum("qemu-system" in words for words in children_of(owner.pid).values()) >= 2
        finally:
            owner.kill()
    assert len(sweep()) >= 2  # only their directories


def test_a_forked_child_has_no_pool() -> None:
    pool = AsyncPool(1)
    pool._maker += 1
    with pytest.raises(gavotte.ForeignProcess, match="make a pool in each|belongs to process"):
        asyncio.run(pool.start())
