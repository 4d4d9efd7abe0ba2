"""A machine that outlives its manager: let go, taken over, refused, ended."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GuestDied, HostError, InUse, QemuError, StateError, StateTooNew, UsageError
from gavotte.hypervisor.devices import Disk, Port, Share
from gavotte.hypervisor.events import VmShutdown
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.devices.sockets import reopen, socket_path
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.record import STATE, VERSION, read_record
from gavotte.hypervisor.qemu.takeover import attach
from gavotte.hypervisor.qemu.takeover.attach import Hold
from gavotte.hypervisor.qemu.takeover.reconcile import settle_devices
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.adopt import adopt
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.pids import ProcessId
from gavotte.qemu.plug import remove_device
from gavotte.qemu.process import UNKNOWN_STATUS
from gavotte.qmp.client import QmpClient
from tests.support.kept import Managers, config, create, managers, own_directory
from tests.support.limits import fds_left
from tests.support.processes import expect_none_of, processes_of
from tests.support.programs import DEADLINE, wait_for_end


@pytest.fixture(scope="module")
def manager() -> Iterator[Managers]:
    with managers() as manager:
        yield manager


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for one machine, whose QEMU ends with the test."""
    directory = own_directory(tmp_path, f"kept-{tmp_path.name}"[:60])
    yield directory
    for pid in processes_of(directory.name):
        ProcessId.of(pid).kill()
    expect_none_of(directory.name)


@pytest.fixture
def orphan(manager: Managers, directory: Path) -> Path:
    """The directory of a machine whose manager has gone."""
    manager.play("start", directory)
    return directory


def edit(directory: Path, **members: object) -> None:
    value = json.loads((directory / STATE).read_text())
    (directory / STATE).write_text(json.dumps({**value, **members}))


def qemu_of(directory: Path) -> ProcessId:
    qemu = read_record(directory).qemu
    assert qemu is not None
    return qemu.process


def taken_over(directory: Path, use: Callable[[QemuVm], Awaitable[None]]) -> None:
    """Take over the machine, use it, end it."""

    async def main() -> None:
        vm = await QemuVm.attach(directory)
        try:
            await use(vm)
        finally:
            await vm.stop()

    asyncio.run(main())


async def typed(vm: QemuVm, words: bytes) -> None:
    """Type into its console, and wait for the echo."""
    with vm.attach_console() as console:
        console.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(console, words)


# taking over


def test_a_machine_goes_on_without_its_manager_and_another_takes_it_over(orphan: Path) -> None:
    qemu = qemu_of(orphan)
    assert qemu.lives

    async def use(vm: QemuVm) -> None:
        assert vm.process.pid == qemu.pid
        assert vm.state is VmState.RUNNING
        assert "-name" in vm.process.argv
        await vm.pause()
        await vm.resume()
        await typed(vm, b"x")
        async with asyncio.timeout(DEADLINE):
            while "x" not in vm.console:
                await vm.wait_for_console(DEADLINE)

    taken_over(orphan, use)
    assert not qemu.lives
    assert {path.name for path in orphan.iterdir()} <= {"console.log"}


def test_what_was_plugged_and_what_was_paused_is_known_again(directory: Path) -> None:
    image = directory.parent / "disk.img"
    image.write_bytes(bytes(1 << 20))
    disk = Disk("disk", image, read_only=True)

    async def main() -> None:
        vm = create(directory)
        await vm.plug(Port("cold", "org.cold"))
        await vm.start()
        await vm.plug(disk)
        await vm.pause()
        await vm.detach()
        again = await QemuVm.attach(directory)
        try:
            assert again.table == vm.table
            assert again.plugged == {"cold": Port("cold", "org.cold"), "disk": disk}
            assert again.state is VmState.PAUSED
            os.close(again.take_port("cold"))
            await again.resume()
            await again.unplug("disk")
            await again.unplug("cold")
            with pytest.raises(StateError, match="no way to 'cold'"):
                again.take_port("cold")
        finally:
            await again.stop()

    asyncio.run(main())


def test_a_device_that_went_while_nobody_managed_is_not_in_the_table_any_more(manager: Managers, orphan: Path) -> None:
    manager.play("plug", orphan)

    async def main() -> None:
        async with adopt(str(socket_path("monitor", orphan))) as client:
            await remove_device(client, "disk", deadline=DEADLINE)
        vm = await QemuVm.attach(orphan)
        try:
            assert set(vm.plugged) == {"port"}
            nodes: Any = await vm.monitor.execute("query-named-block-nodes", {"flat": True})
            assert not any(node["node-name"] == "disk" for node in nodes)
            await vm.plug(Disk("disk", orphan.parent / "disk.img"))
        finally:
            await vm.stop()

    asyncio.run(main())


def test_a_9p_share_that_went_while_nobody_managed_is_no_obstacle(directory: Path) -> None:
    async def main() -> None:
        vm = create(directory)
        await vm.plug(Share("share", directory.parent))
        await vm.start()
        await vm.detach()
        async with adopt(str(socket_path("monitor", directory))) as client:
            await remove_device(client, "share", deadline=DEADLINE)
        again = await QemuVm.attach(directory)
        try:
            assert not again.plugged
        finally:
            await again.stop()

    asyncio.run(main())


def test_a_pause_after_a_save_that_was_cut_off_is_not_taken_for_that_saves(orphan: Path) -> None:
    edit(orphan, saving=True)

    async def use(_vm: QemuVm) -> None:
        assert not read_record(orphan).saving

    taken_over(orphan, use)


def test_the_memory_of_a_dimm_that_never_came_is_freed(orphan: Path) -> None:
    async def main() -> None:
        memory: dict[str, Any] = {"qom-type": "memory-backend-ram", "id": "dimm0-ram", "size": 128 << 20}
        async with adopt(str(socket_path("monitor", orphan))) as client:
            await client.execute("object-add", memory)
        vm = await QemuVm.attach(orphan)
        try:
            await vm.monitor.execute("object-add", memory)  # which is refused while there is one
        finally:
            await vm.stop()

    asyncio.run(main())


def test_the_end_of_a_machine_that_another_started_is_explained_by_its_events(orphan: Path) -> None:
    async def use(vm: QemuVm) -> None:
        with vm.events(VmShutdown) as events:
            await typed(vm, b"o")
            assert (await anext(events)).by_guest  # type: ignore[attr-defined]  # events are of the kinds asked for
        assert await vm.wait(DEADLINE)
        assert vm.process.returncode == UNKNOWN_STATUS
        error = await vm.explain_end()
        assert isinstance(error, GuestDied)
        assert "guest-shutdown" in str(error)

    taken_over(orphan, use)


def test_the_kill_of_a_machine_that_another_started_is_noticed(orphan: Path) -> None:
    async def use(vm: QemuVm) -> None:
        os.kill(vm.process.pid, signal.SIGKILL)
        assert await vm.wait(DEADLINE)
        error = await vm.explain_end()
        assert "only the process that started it was told how" in str(error)

    taken_over(orphan, use)


def test_a_path_that_is_too_long_for_a_socket_does_not_matter(tmp_path: Path) -> None:
    directory = own_directory(tmp_path, "kept/" + "d" * 150 + "/box")

    async def main() -> None:
        vm = create(directory)
        await vm.start()
        await vm.detach()
        await (await QemuVm.attach(directory)).stop()

    asyncio.run(main())


# letting go


def test_one_that_was_let_go_says_where_it_is(directory: Path) -> None:
    async def main() -> None:
        vm = create(directory)
        await vm.start()
        await vm.detach()
        for use in (vm.pause, lambda: vm.plug(Port("port", "org.test")), vm.detach):
            with pytest.raises(StateError) as caught:
                await use()
            assert "runs on" in str(caught.value)
        await vm.stop()  # which is nothing to it now
        assert qemu_of(directory).lives
        await (await QemuVm.attach(directory)).stop()

    asyncio.run(main())


def test_a_machine_that_is_not_kept_cannot_be_let_go(directory: Path) -> None:
    async def main() -> None:
        async with QemuVm(find_qemu("x86_64"), config(directory), directory=directory) as vm:
            with pytest.raises(StateError, match="isn't kept") as caught:
                await vm.detach()
            assert "keep=True" in caught.value.hint
            assert vm.state is VmState.RUNNING
        with pytest.raises(StateError, match="no kept machine"):
            await QemuVm.attach(directory)

    asyncio.run(main())


def test_a_machine_without_a_directory_cannot_be_kept(directory: Path) -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="needs a directory"):
            QemuVm(find_qemu("x86_64"), config(directory), keep=True)

    asyncio.run(main())


def test_a_start_that_fails_leaves_nothing_but_its_log(directory: Path) -> None:
    async def main() -> None:
        with pytest.raises(QemuError):
            await create(directory, kernel=directory / "missing").start()

    asyncio.run(main())
    assert {path.name for path in directory.iterdir()} <= {"console.log"}


# refused


def test_the_second_manager_is_refused_with_the_pid_of_the_first(orphan: Path) -> None:
    async def use(vm: QemuVm) -> None:
        with pytest.raises(InUse, match=f"managed by process {os.getpid()}$"):
            await QemuVm.attach(orphan)
        await vm.pause()

    taken_over(orphan, use)


def test_a_forked_child_of_a_dead_manager_does_not_hold_its_machine(directory: Path) -> None:
    hold = Hold(directory)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            ours.close()
            theirs.send(b"!")
            theirs.recv(1)  # until the parent closes its end
            os._exit(0)
        theirs.close()
        ours.recv(1)
        with pytest.raises(InUse):
            Hold(directory)
        hold.release()
        Hold(directory).release()
    os.waitpid(pid, 0)


def test_a_record_of_a_later_version_is_refused_and_the_machine_goes_on(orphan: Path) -> None:
    edit(orphan, version=VERSION + 1)
    qemu = processes_of(orphan.name)
    with pytest.raises(StateTooNew, match=rf"version {VERSION + 1}; .* up to {VERSION}"):
        asyncio.run(QemuVm.attach(orphan))
    assert processes_of(orphan.name) == qemu


def test_a_damaged_record_is_refused_and_the_hold_is_given_back(orphan: Path) -> None:
    (orphan / STATE).write_text("{")
    for _ in range(2):
        with pytest.raises(UsageError, match="damaged"):
            asyncio.run(QemuVm.attach(orphan))


@pytest.mark.parametrize("members", [{"boot": "another"}, {"qemu": None}])
def test_a_machine_that_is_not_there_is_told_from_one_that_ended(orphan: Path, members: dict[str, object]) -> None:
    edit(orphan, **members)
    with pytest.raises(StateError, match="started anew|never started") as caught:
        asyncio.run(QemuVm.attach(orphan))
    assert "gavotte rm" in caught.value.hint


def test_a_pid_that_was_used_again_is_not_taken_for_qemu(orphan: Path) -> None:
    edit(orphan, qemu={"id": "qemu", "program": "qemu", "pid": os.getpid(), "started": 1})
    with pytest.raises(StateError, match="has gone"):
        asyncio.run(QemuVm.attach(orphan))


def test_a_machine_whose_qemu_was_killed_says_so(orphan: Path) -> None:
    qemu = qemu_of(orphan)
    pidfd = qemu.open()
    qemu.kill()
    wait_for_end(qemu.pid, pidfd)
    os.close(pidfd)
    with pytest.raises(
        StateError, match=rf"nobody was there to see how: its QEMU \(pid {qemu.pid}\) has gone"
    ) as caught:
        asyncio.run(QemuVm.attach(orphan))
    assert "gavotte rm" in caught.value.hint


def test_a_qemu_that_was_stopped_is_found_out_and_goes_on_later(orphan: Path) -> None:
    qemu = qemu_of(orphan)
    os.kill(qemu.pid, signal.SIGSTOP)
    with pytest.raises(QemuError, match="stands still") as caught:
        asyncio.run(QemuVm.attach(orphan))
    assert f"kill -CONT {qemu.pid}" in caught.value.hint
    os.kill(qemu.pid, signal.SIGCONT)

    async def use(vm: QemuVm) -> None:
        await vm.pause()

    taken_over(orphan, use)


def test_somebody_else_on_the_monitor_is_in_the_way(orphan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "_GREETING", 0.5)

    async def main() -> None:
        async with adopt(str(socket_path("monitor", orphan))):
            with pytest.raises(InUse, match="serves somebody else"):
                await QemuVm.attach(orphan)
        monkeypatch.undo()
        await (await QemuVm.attach(orphan)).stop()

    asyncio.run(main())


def test_a_dead_managers_answer_is_not_taken_for_ours(orphan: Path) -> None:
    """QEMU sends the answer to a command of one connection over the next, when the first has gone meanwhile."""
    with reopen("monitor", orphan) as sock:
        sock.setblocking(True)
        sock.recv(4096)
        for id in ("1", "2"):  # the ids that a new connection uses
            sock.sendall(b'{"execute":"qmp_capabilities","id":"%s"}\n' % id.encode())
        sock.sendall(b'{"execute":"query-qmp-schema","id":"3"}\n')

    async def use(vm: QemuVm) -> None:
        await vm.pause()

    taken_over(orphan, use)


def test_without_free_fds_nobody_takes_a_machine_that_runs_for_dead(orphan: Path) -> None:
    async def main() -> None:
        for count in itertools.count():
            with fds_left(count):
                try:
                    vm = await QemuVm.attach(orphan)
                except HostError as error:
                    assert "Too many open files" in str(error)
                else:
                    break
        assert count > 3
        await vm.stop()

    asyncio.run(main())


def test_what_happens_while_a_machine_is_taken_over_is_not_missed(
    orphan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pausing(client: QmpClient, *args: Any, **more: Any) -> Table:
        table = await settle_devices(client, *args, **more)
        await client.execute("stop")  # as QEMU does by itself when a disk fails
        return table

    monkeypatch.setattr(attach, "settle_devices", pausing)

    async def use(vm: QemuVm) -> None:
        assert vm.state is VmState.PAUSED

    taken_over(orphan, use)


def test_a_cancelled_attach_gives_everything_back(orphan: Path) -> None:
    async def main() -> None:
        for turns in range(1, 600, 40):
            task = asyncio.ensure_future(QemuVm.attach(orphan))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():  # it was quicker
                await task.result().detach()
        vm = await QemuVm.attach(orphan)
        await vm.stop()

    asyncio.run(main())
