"""QEMU killed or stopped at any step, fds running out, many machines at once: an error that says why, nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gavotte.errors import GavotteError, HostError, OutcomeUnknown, QemuExited, QmpNotSent, StateError
from gavotte.hypervisor.events import Ended
from gavotte.hypervisor.interface import Health, VmState
from gavotte.hypervisor.qemu import lifecycle
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import QemuBinary
from tests.support.limits import fds_left
from tests.support.programs import DEADLINE
from tests.support.steps import children, disturbed, run
from tests.support.tiny import config_for, does, machine

MANY = 100  # places to wait at: more than a start has


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """One that halts."""
    return does(tmp_path)


async def strike(vm: QemuVm, place: int, by: signal.Signals, deadline: float, struck: set[int]) -> None:
    """Start it while QEMU gets a signal when `start` waits for the `place`-th time; its pid is then in `struck`."""
    before = children()

    def hit() -> None:
        struck.update(children() - before)
        for pid in struck:
            os.kill(pid, by)

    await disturbed(vm.start(deadline=deadline), place, hit)


def test_a_qemu_killed_at_any_step_of_the_start_is_reported_as_killed(kernel: Path) -> None:
    async def test() -> None:
        await (first := machine(kernel)).schema()  # so that the only child is the machine
        await first.stop()
        reported = 0
        for place in range(1, MANY):
            vm, struck = machine(kernel), set[int]()
            try:
                await strike(vm, place, signal.SIGKILL, 10 * DEADLINE, struck)
            except QemuExited as error:
                reported += 1
                assert error.returncode == -signal.SIGKILL
                assert "killed by SIGKILL" in str(error)
                assert vm.state is VmState.STOPPED
            else:
                await vm.stop()
                if not struck:
                    break
        assert reported > 1  # the answer to the last command may have been on its way

    run(test)


def test_a_qemu_stopped_at_any_step_of_the_start_is_named_at_the_deadline(kernel: Path) -> None:
    async def test() -> None:
        await (first := machine(kernel)).schema()
        await first.stop()
        reported, place, deadline = 0, 1, 0.5
        while place < MANY:
            vm, struck = machine(kernel), set[int]()
            try:
                await strike(vm, place, signal.SIGSTOP, deadline, struck)
            except (QmpNotSent, OutcomeUnknown) as error:
                assert vm.state is VmState.STOPPED
                if not struck:
                    deadline *= 2  # QEMU is slow where much else runs: the same place again
                    continue
                assert isinstance(error, QmpNotSent)
                reported += 1
                assert "is stopped by a signal (state T)" in str(error)
            else:
                await vm.stop(force=True)
                if not struck:
                    break
            place += 1
        assert reported > 1

    run(test)


def test_a_qemu_that_refuses_a_device_is_quoted_and_waited_for_no_longer(tmp_path: Path) -> None:
    async def test() -> None:
        vm = machine(tmp_path / "no-such-kernel")
        with pytest.raises(QemuExited, match="no-such-kernel") as found:
            await vm.start(deadline=10 * DEADLINE)
        assert found.value.returncode == 1
        assert "could not" in found.value.stderr
        with pytest.raises(StateError, match="no-such-kernel"):
            await vm.pause()

    run(test)


def test_a_program_that_is_no_qemu_is_an_error_that_quotes_it(kernel: Path, tmp_path: Path) -> None:
    async def test() -> None:
        known = machine(kernel)
        wrong = tmp_path / "qemu-system-x86_64"
        wrong.write_text("#!/bin/sh\necho I am not QEMU\nexit 3\n")
        wrong.chmod(0o755)
        vm = QemuVm(QemuBinary.from_path(wrong), config_for(kernel))
        vm._schema = await known.schema()  # it looked like one a moment ago
        with pytest.raises(QemuExited, match="I am not QEMU"):
            await vm.start()
        await known.stop()

    run(test)


def test_a_running_qemu_that_is_killed_fails_what_is_under_way_and_what_comes_after(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        with vm.events(Ended) as events:
            await vm.start()
            begun = asyncio.Event()

            async def stuck() -> None:
                async with vm.changing("plug"):
                    begun.set()
                    await asyncio.Event().wait()

            plug = asyncio.create_task(stuck())
            await begun.wait()
            os.kill(vm.process.pid, signal.SIGKILL)
            with pytest.raises(QemuExited, match="killed by SIGKILL"):
                await plug
            assert (await vm.check()).health is Health.DEAD
            with pytest.raises(StateError, match="killed by SIGKILL"):
                await vm.pause()
            await vm.stop()
            seen = [event async for event in events]
        assert len(seen) == 1
        assert isinstance(seen[0], Ended)
        assert "killed by SIGKILL" in seen[0].why

    run(test)


@pytest.mark.parametrize("act", ["pause", "resume", "reset"])
def test_a_command_on_its_way_to_a_killed_qemu_ends_with_the_reason(kernel: Path, act: str) -> None:
    async def test() -> None:
        vm = machine(kernel)
        await vm.start()
        if act == "resume":
            await vm.pause()
        os.kill(vm.process.pid, signal.SIGKILL)
        with pytest.raises(GavotteError, match="killed by SIGKILL"):
            await getattr(vm, act)()
        await vm.stop()

    run(test)


@pytest.mark.parametrize("force", [False, True])
def test_a_stopped_qemu_is_ended_all_the_same(kernel: Path, force: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "_QUIT_DEADLINE", 0.3)  # it can't answer

    async def test() -> None:
        vm = machine(kernel)
        await vm.start()
        os.kill(vm.process.pid, signal.SIGSTOP)
        await vm.stop(force=force)
        assert vm.process.returncode == -signal.SIGKILL

    run(test)


def test_a_qemu_killed_in_the_midst_of_its_stop_is_just_stopped(kernel: Path) -> None:
    async def test() -> None:
        vm = machine(kernel)
        await vm.start()

        async def kill() -> None:
            os.kill(vm.process.pid, signal.SIGKILL)

        await vm.stop(polite=[("killed", kill, DEADLINE)])
        assert str(await vm.explain_end()) == "tiny was stopped"

    run(test)


def test_fds_that_run_out_at_any_step_of_the_start_are_the_hosts_error(kernel: Path) -> None:
    async def test() -> None:
        await (first := machine(kernel)).schema()
        await first.stop()
        failed = 0
        for count in range(40):
            vm = machine(kernel)
            await vm.schema()
            with fds_left(count):
                try:
                    await vm.start()
                except HostError as error:
                    failed += 1
                    assert "Too many open files" in str(error)
                    assert vm.state is VmState.STOPPED
                    continue
            await vm.stop()
            break
        assert failed > 4

    run(test)


def test_twenty_machines_live_in_one_process(kernel: Path) -> None:
    async def test() -> None:
        vms = [machine(kernel, name=f"box{number}", memory=16 << 20) for number in range(20)]
        await asyncio.gather(*(vm.start() for vm in vms))
        assert len({vm.process.pid for vm in vms}) == 20
        assert {(await vm.check()).health for vm in vms} == {Health.RUNNING}
        await asyncio.gather(*(vm.stop() for vm in vms))
        assert {vm.process.returncode for vm in vms} == {0}

    run(test)
