"""What `check` says of a machine that is well, stopped, stuck, panicked or gone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gavotte.errors import QemuError, StateError
from gavotte.hypervisor.devices import Raw
from gavotte.hypervisor.events import Paused
from gavotte.hypervisor.interface import Checked, Health
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from tests.support.programs import DEADLINE
from tests.support.tiny import PANIC, config_for, does


@pytest.fixture(autouse=True)
def patience() -> None:
    """None here: who doesn't answer is to be found out soon."""


def with_machine(folder: Path, ask: Callable[[QemuVm], Awaitable[None]]) -> None:
    """Gives a running machine to `ask`, and ends it."""

    async def main() -> None:
        vm = QemuVm(find_qemu(), config_for(does(folder)))
        await vm.start()
        try:
            async with asyncio.timeout(2 * DEADLINE):
                await ask(vm)
        finally:
            await vm.stop(force=True)

    asyncio.run(main())


def test_a_machine_that_is_not_started_is_nothing_to_look_at(tmp_path: Path) -> None:
    async def main() -> None:
        vm = QemuVm(find_qemu(), config_for(does(tmp_path)))
        with pytest.raises(StateError) as refused:
            await vm.check()
        assert refused.value.hint == "start it first"
        await vm.stop()

    asyncio.run(main())


def test_running_and_paused_are_told_apart(tmp_path: Path) -> None:
    async def ask(vm: QemuVm) -> None:
        assert await vm.check() == Checked(Health.RUNNING)
        await vm.pause()
        assert await vm.check() == Checked(Health.PAUSED)

    with_machine(tmp_path, ask)


def test_a_stopped_process_is_silent_and_the_reason_names_it(tmp_path: Path) -> None:
    async def ask(vm: QemuVm) -> None:
        os.kill(vm.process.pid, signal.SIGSTOP)
        checked = await vm.check()
        assert checked.health is Health.SILENT
        assert "stopped by a signal (state T)" in checked.why
        os.kill(vm.process.pid, signal.SIGCONT)
        assert (await vm.check()).health is Health.RUNNING

    with_machine(tmp_path, ask)


def test_a_stuck_main_loop_is_silent_and_known_by_what_still_answers(tmp_path: Path) -> None:
    async def ask(vm: QemuVm) -> None:
        async with stuck(vm):
            checked = await vm.check()
        assert checked.health is Health.SILENT
        assert "main loop is stuck" in checked.why

    with_machine(tmp_path, ask)


def test_a_machine_that_is_busy_for_us_is_not_called_silent(tmp_path: Path) -> None:
    async def ask(vm: QemuVm) -> None:
        async with vm.changing("save"), stuck(vm):
            assert await vm.check() == Checked(Health.PAUSED, "QEMU is busy: save is under way")

    with_machine(tmp_path, ask)


@asynccontextmanager
async def stuck(vm: QemuVm) -> AsyncIterator[None]:
    """QEMU writes a dump into a pipe that nobody reads, which holds its main loop up."""
    ours, theirs = os.pipe()
    try:
        await vm.monitor.execute("getfd", {"fdname": "pipe"}, fds=[theirs])
    finally:
        os.close(theirs)
    dump = asyncio.create_task(vm.monitor.execute("dump-guest-memory", {"paging": False, "protocol": "fd:pipe"}))
    try:
        await asyncio.to_thread(os.read, ours, 1)  # it has begun
        yield
    finally:
        os.close(ours)  # the dump fails, and QEMU goes on
        with suppress(QemuError):
            await dump


def test_a_panicked_guest_that_is_kept_for_inspection_is_panicked(tmp_path: Path) -> None:
    async def main() -> None:
        vm = QemuVm(find_qemu(), config_for(does(tmp_path, PANIC), devices=(Raw("panic", {"driver": "pvpanic"}),)))
        async with asyncio.timeout(DEADLINE):
            with vm.events(Paused) as events:
                async with vm.beginning("start"):
                    await vm.launch()
                    await vm.qmp.set_action(panic="pause")
                    await vm.qmp.cont()
                await anext(events)
            assert (await vm.check()).health is Health.PANICKED
            await vm.stop()

    asyncio.run(main())


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGABRT], ids=lambda by: by.name)
def test_a_killed_machine_is_dead_by_that_signal(tmp_path: Path, by: signal.Signals) -> None:
    async def ask(vm: QemuVm) -> None:
        os.kill(vm.process.pid, by)
        checked = await vm.check()
        assert checked.health is Health.DEAD
        assert f"killed by {by.name}" in checked.why

    with_machine(tmp_path, ask)
