"""Admission with numbers of our own: how many guests start at once, and what keeps the next one waiting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from gavotte.errors import HostError
from gavotte.sandbox import admission
from gavotte.sandbox.admission import Admission, HostLoad, cost_of, lacks, look_at_host, starts_at_once, usable_cores

MIB = 1 << 20
QUIET = HostLoad(cores=2, load=0.5, available=8192 * MIB, total=16384 * MIB, fds=1000)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def with_deadline() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(with_deadline())


@pytest.mark.parametrize(
    ("cores", "load", "starts"), [(2, 0.0, 2), (2, 2.0, 2), (2, 3.0, 1), (2, 40.0, 1), (64, 70.0, 58), (1, 0.0, 1)]
)
def test_as_many_start_at_once_as_processors_are_free_and_one_in_any_case(cores: int, load: float, starts: int) -> None:
    assert starts_at_once(replace(QUIET, cores=cores, load=load)) == starts


def test_a_guest_waits_for_processors_for_memory_or_for_descriptors() -> None:
    cost = cost_of(512 * MIB)
    assert lacks(QUIET, 1, cost, cost) == ""
    assert lacks(QUIET, 2, 2 * cost, cost) == "processors"
    assert lacks(replace(QUIET, available=300 * MIB), 0, 0, cost).startswith("memory: the next guest may take 176M")
    assert lacks(replace(QUIET, fds=20), 0, 0, cost) == ""
    assert lacks(replace(QUIET, fds=20), 1, 0, cost).startswith("file descriptors: 20 are left")


def test_memory_that_a_starting_guest_will_take_is_spoken_for() -> None:
    cost = cost_of(512 * MIB)
    tight = replace(QUIET, available=cost * 2 + QUIET.total // 50 - 1)
    assert lacks(tight, 0, 0, cost) == ""
    assert lacks(tight, 1, cost, cost).startswith("memory")


def test_this_host_is_looked_at() -> None:
    host = look_at_host()
    assert 1 <= host.cores == usable_cores() <= (os.cpu_count() or 1)
    assert 0 < host.available <= host.total
    assert host.fds > 0 and host.load >= 0


def test_the_limits_of_a_container_count(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    files = {
        "/proc/self/cgroup": "0::/box/inner",
        "/sys/fs/cgroup/box/cpu.max": "100000 100000",
        "/sys/fs/cgroup/box/inner/cpu.max": "max 100000",
        "/sys/fs/cgroup/box/memory.max": str(200 * MIB),
        "/sys/fs/cgroup/box/memory.current": str(150 * MIB),
        "/sys/fs/cgroup/box/memory.stat": f"anon 1\ninactive_file {20 * MIB}",
    }
    monkeypatch.setattr(admission, "_read", lambda path: files.get(str(path), ""))
    host = look_at_host()
    assert (host.cores, host.available, host.total) == (1, 70 * MIB, 200 * MIB)


def test_many_wait_in_line_and_never_more_start_than_may() -> None:
    async def story() -> None:
        door = Admission(lambda: QUIET)
        order: list[int] = []
        most = 0

        async def one(number: int) -> None:
            nonlocal most
            await door.enter(MIB)
            order.append(number)
            most = max(most, door.starting)
            for _ in range(3):
                await asyncio.sleep(0)
            door.leave(MIB)

        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(one(number))
        assert most == 2
        assert order == list(range(200))
        assert door.starting == 0

    run(story)


def test_who_gives_up_in_line_holds_nobody_up() -> None:
    async def story() -> None:
        door = Admission(lambda: QUIET)
        await door.enter(MIB)
        await door.enter(MIB)
        waiting = [asyncio.create_task(door.enter(MIB)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        door.leave(MIB)
        await waiting[2]
        assert door.starting == 2

    run(story)


def test_memory_that_comes_free_lets_the_next_one_in() -> None:
    async def story() -> None:
        hosts = [replace(QUIET, available=0), QUIET]
        door = Admission(lambda: hosts.pop(0) if len(hosts) > 1 else hosts[0])
        await door.enter(MIB)
        assert door.starting == 1

    run(story)


def test_memory_that_never_comes_free_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr(admission, "_PATIENCE", 0.0)
        door = Admission(lambda: replace(QUIET, available=0))
        with pytest.raises(HostError, match="memory: the next guest may take 1M, and 0M are free"):
            await door.enter(MIB)
        assert door.starting == 0

    run(story)


def test_a_loop_has_one_line_for_all_its_pools() -> None:
    async def story() -> None:
        assert Admission.here() is Admission.here()

    run(story)
