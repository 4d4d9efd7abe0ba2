"""A save that fails, at any step: the machine goes on, and no half file is left."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GavotteError, HostError, InUse, OutcomeUnknown, QemuExited, SaveFailed
from gavotte.hypervisor.devices import Raw
from gavotte.hypervisor.interface import MachineConfig, VmState
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from gavotte.qmp.client import Deadline
from tests.support.limits import fds_left
from tests.support.programs import DEADLINE
from tests.support.steps import cancel_here, disturbed
from tests.support.tiny import config_for
from tests.support.tiny_kernel import WRITES, write_kernel


@pytest.fixture
def config(tmp_path: Path) -> MachineConfig:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "out").mkdir()
    return config_for(write_kernel(tmp_path / "kernel", WRITES), slots=1)


@asynccontextmanager
async def running(config: MachineConfig) -> AsyncIterator[QemuVm]:
    vm = QemuVm(find_qemu("x86_64"), config)
    try:
        await vm.start()
        yield vm
    finally:
        await vm.cleanup()


async def is_as_before(vm: QemuVm, out: Path) -> None:
    """It runs, nothing is left of the save, and it can be saved."""
    assert vm.state is VmState.RUNNING
    assert (await vm.qmp.query_status())["running"]
    assert list(out.iterdir()) == []
    await vm.save(out / "whole")
    assert vm.state is VmState.RUNNING
    assert [path.name for path in out.iterdir()] == ["whole"]
    (out / "whole").unlink()


def once(action: Callable[[], Any]) -> Callable[[object], None]:
    """A listener to progress that acts at the first word of it, when the migration is under way."""
    done: list[Any] = []

    def listen(_: object) -> None:
        if not done:
            done.append(action())

    return listen


@contextmanager
def small_files() -> Iterator[None]:
    """No file may have more than 256 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_may_grow_no_further_is_removed_and_the_machine_goes_on(
    config: MachineConfig, tmp_path: Path
) -> None:
    async def main() -> None:
        async with running(config) as vm:
            with small_files(), pytest.raises(SaveFailed, match="File too large"):
                await vm.save(tmp_path / "out/machine")
            await is_as_before(vm, tmp_path / "out")

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_is_told_and_left_as_it_was(config: MachineConfig, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=False, timeout=DEADLINE)
    if mounted.returncode:
        pytest.skip("mounting isn't allowed here")
    try:

        async def main() -> None:
            async with running(config) as vm:
                with pytest.raises(SaveFailed, match="No space left on device") as error:
                    await vm.save(small / "machine")
                assert str(small / "machine") in str(error.value)
                assert list(small.iterdir()) == []
                await is_as_before(vm, tmp_path / "out")

        asyncio.run(main())
    finally:
        subprocess.run(["umount", small], check=True, timeout=DEADLINE)


def test_a_reader_that_goes_away_in_the_middle_fails_the_save(config: MachineConfig, tmp_path: Path) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        async with running(config) as vm:
            try:
                with pytest.raises(SaveFailed, match="Broken pipe"):
                    await vm.save(writing, progress=once(lambda: os.close(reading)))
            finally:
                os.close(writing)
            await is_as_before(vm, tmp_path / "out")

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_cancelled_save_ends_at_once_also_when_nobody_reads(kind: str, config: MachineConfig, tmp_path: Path) -> None:
    async def main() -> None:
        reading, writing = os.pipe()
        async with running(config) as vm:
            under_way = asyncio.Event()
            target = writing if kind == "pipe" else tmp_path / "out/machine"
            saving = asyncio.ensure_future(vm.save(target, progress=once(under_way.set)))
            await under_way.wait()
            saving.cancel()
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(asyncio.CancelledError):
                    await saving
            os.close(reading)
            os.close(writing)
            await is_as_before(vm, tmp_path / "out")

    asyncio.run(main())


def test_a_save_cancelled_anywhere_leaves_the_machine_as_it_was_and_a_whole_file_or_none(
    config: MachineConfig, tmp_path: Path
) -> None:
    path = tmp_path / "out/machine"

    async def main() -> None:
        async with running(config) as vm:
            for place in itertools.count(1):
                try:
                    await asyncio.create_task(save_disturbed(vm, path, place, cancel_here))
                except asyncio.CancelledError:
                    assert vm.state is VmState.RUNNING
                    assert not list(path.parent.glob("*.part"))
                else:
                    break
            assert place > 10
            assert path.exists()

    asyncio.run(main())


def test_fds_that_run_out_at_any_step_of_a_save_are_the_hosts_error_and_leave_the_machine_as_it_was(
    config: MachineConfig, tmp_path: Path
) -> None:
    async def main() -> None:
        async with running(config) as vm:
            for count in itertools.count():
                try:
                    with fds_left(count):
                        await vm.save(tmp_path / "out/machine")
                except HostError as error:
                    assert "Too many open files" in str(error)
                    assert str(tmp_path / "out/machine") in str(error)
                    assert vm.state is VmState.RUNNING
                    assert list((tmp_path / "out").iterdir()) == []
                else:
                    break
            assert count > 2

    asyncio.run(main())


def test_a_file_that_another_save_has_finished_just_now_is_left_alone(
    config: MachineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, part = tmp_path / "out/machine", tmp_path / "out/machine.part"
    part.write_bytes(b"the other's")
    really_open = os.open

    def open_late(name: Path, flags: int, mode: int = 0o777) -> int:
        fd = really_open(name, flags, mode)
        if name == part:
            part.rename(path)
        return fd

    async def main() -> None:
        async with running(config) as vm:
            with monkeypatch.context() as patch, pytest.raises(InUse):
                patch.setattr(os, "open", open_late)
                await vm.save(path)
            assert path.read_bytes() == b"the other's"
            assert vm.state is VmState.RUNNING

    asyncio.run(main())


def test_qemu_killed_while_it_saves_is_an_end_and_no_file(config: MachineConfig, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(config) as vm:
            with pytest.raises(QemuExited, match="killed by SIGKILL"):
                await vm.save(tmp_path / "out/machine", progress=once(lambda: os.kill(vm.process.pid, signal.SIGKILL)))
            assert vm.state is VmState.STOPPED
        assert list((tmp_path / "out").iterdir()) == []

    asyncio.run(main())


async def save_disturbed(vm: QemuVm, path: Path, place: int, disturb: Callable[[], object]) -> None:
    """Save it, with a call to `disturb` when that waits for the `place`-th time."""
    await disturbed(vm.save(path), place, disturb)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_qemu_killed_or_stopped_at_any_step_of_a_save_leaves_no_file_and_can_be_ended(
    number: signal.Signals, config: MachineConfig, tmp_path: Path
) -> None:
    path = tmp_path / "out/machine"

    async def struck_at(place: int) -> bool:
        struck = asyncio.Event()
        async with running(config) as vm:

            def strike() -> None:
                os.kill(vm.process.pid, number)
                struck.set()

            saving = asyncio.create_task(save_disturbed(vm, path, place, strike))
            waiting = asyncio.create_task(struck.wait())
            await asyncio.wait([saving, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            async with asyncio.timeout(DEADLINE):
                await vm.stop(force=True)
                (error,) = await asyncio.gather(saving, return_exceptions=True)
        assert error is None or isinstance(error, GavotteError)
        if path.exists():  # then it is whole
            other = QemuVm(find_qemu("x86_64"), config)
            await other.load(path)
            await other.stop()
            path.unlink()
        assert list(path.parent.iterdir()) == []
        return struck.is_set()

    async def main() -> None:
        for place in itertools.count(1, 2):
            if not await struck_at(place):
                break
        assert place > 10

    asyncio.run(main())


def test_qemu_stopped_while_it_saves_is_told_and_it_goes_on_when_it_is_let(
    config: MachineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        def stop() -> None:
            patch.setattr(Deadline, "QUICK", 0.5)  # no answer can come from here on
            os.kill(vm.process.pid, signal.SIGSTOP)

        reading, writing = os.pipe()  # nobody reads, so that it is surely in the middle
        async with running(config) as vm:
            with monkeypatch.context() as patch, pytest.raises(OutcomeUnknown, match="no answer"):
                await vm.save(writing, progress=once(stop))
            os.close(reading)
            os.close(writing)
            os.kill(vm.process.pid, signal.SIGCONT)
            async with asyncio.timeout(DEADLINE):  # if it stood still for the rest, QEMU lets it go on by itself
                while not (await vm.qmp.query_status())["running"]:
                    pass
                while (await vm.qmp.query_migrate()).get("status") in ("setup", "active", "cancelling"):
                    pass
            await is_as_before(vm, tmp_path / "out")

    asyncio.run(main())


def test_stopping_a_machine_ends_its_save(config: MachineConfig, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(config) as vm:
            under_way = asyncio.Event()
            saving = asyncio.ensure_future(vm.save(tmp_path / "out/machine", progress=once(under_way.set)))
            await under_way.wait()
            await vm.stop(force=True)
            with pytest.raises(GavotteError):
                await saving
        assert list((tmp_path / "out").iterdir()) == []

    asyncio.run(main())


def test_a_device_that_cannot_be_saved_is_named_with_what_to_do(config: MachineConfig, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(config) as vm:
            await vm.plug(Raw("n", {"driver": "nvme", "serial": "1"}))
            with pytest.raises(SaveFailed, match="nvme") as error:
                await vm.save(tmp_path / "out/machine")
            assert "unplug it" in error.value.hint
            assert vm.state is VmState.RUNNING
            assert list((tmp_path / "out").iterdir()) == []

    asyncio.run(main())


def test_where_nothing_can_be_written_nothing_happens(config: MachineConfig, tmp_path: Path) -> None:
    (tmp_path / "other.part").symlink_to("elsewhere")

    async def main() -> None:
        async with running(config) as vm:
            for target in (tmp_path / "no/machine", tmp_path / "out", tmp_path / "other", 999):
                with pytest.raises(HostError):
                    await vm.save(target)
            with (tmp_path / "taken.part").open("w") as other:
                fcntl.flock(other, fcntl.LOCK_EX)
                with pytest.raises(InUse):
                    await vm.save(tmp_path / "taken")
            await is_as_before(vm, tmp_path / "out")

    asyncio.run(main())


def test_the_file_that_was_there_stays_until_the_new_one_is_whole(config: MachineConfig, tmp_path: Path) -> None:
    path = tmp_path / "out/machine"

    async def main() -> None:
        async with running(config) as vm:
            path.write_bytes(b"old")
            with small_files(), pytest.raises(SaveFailed):
                await vm.save(path)
            assert path.read_bytes() == b"old"
            await vm.save(path)
            assert path.stat().st_size > 256 << 10

    asyncio.run(main())


def test_qemu_killed_while_it_loads_leaves_nothing(config: MachineConfig, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(config) as vm:
            await vm.save(tmp_path / "machine")
        other = QemuVm(find_qemu("x86_64"), config)
        with pytest.raises(GavotteError, match="SIGKILL"):
            await other.load(tmp_path / "machine", progress=once(lambda: os.kill(other.process.pid, signal.SIGKILL)))
        assert other.state is VmState.STOPPED
        await other.cleanup()

    asyncio.run(main())
