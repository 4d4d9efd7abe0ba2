"""A manager that is killed in the middle of its work, at each step of it: another takes the machine over, or sweeps."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import StateError
from gavotte.hypervisor.devices import Disk, Port
from gavotte.hypervisor.events import HelperEnded
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.pids import ProcessId
from gavotte.sandbox.store import RunDirectory, run_root, sweep
from tests.support.kept import Managers, managers
from tests.support.processes import expect_none_of, processes_of
from tests.support.programs import DEADLINE, wait_for_end

OURS = {"entropy", "ports", "vcpu1"}  # devices that may stay: the machine's own, the controller of ports, a vCPU

NAME = f"kept-machine-{os.getpid()}"

# All steps are tried where time doesn't matter (1); each eleventh one and the last, where it does.
STRIDE = int(os.environ.get("GAVOTTE_KILL_STRIDE", "11"))


@pytest.fixture(scope="module")
def manager() -> Iterator[Managers]:
    with managers() as manager:
        yield manager


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run directory of a sandbox whose owner has gone."""
    monkeypatch.setenv("GAVOTTE_RUN_DIR", str(tmp_path / "run"))
    return nobodys_directory()


def nobodys_directory() -> Path:
    directory = RunDirectory(NAME)
    directory.leave()
    return directory.path


def steps(manager: Managers, story: str, directory: Path) -> list[int]:
    """The steps of a story at which to kill, the last one among them, found by playing it to its end."""
    count = manager.play(story, directory)
    return sorted({*range(1, count + 1, STRIDE), count})


async def names(vm: QemuVm, command: str, arguments: dict[str, Any], key: str) -> set[str]:
    listing: Any = await vm.monitor.execute(command, arguments)
    return {entry[key] for entry in listing if entry.get(key)}


async def expect_agreement(vm: QemuVm) -> None:
    """QEMU has what the table says, and nothing else."""
    plugged = set(vm.table.placed)
    devices = await names(vm, "qom-list", {"path": "/machine/peripheral"}, "name")
    fixed = {str(step.props["id"]) for step in vm.table.fixed()}
    own = {id for id in devices - fixed if id not in {"type"}}
    assert plugged <= own <= plugged | OURS
    assert set(vm.table.controllers) == own & {"ports"}
    assert await names(vm, "query-chardev", {}, "label") - {"console", "monitor"} == plugged & {"port", "new"}
    nodes = await names(vm, "query-named-block-nodes", {"flat": True}, "node-name")
    assert {node for node in nodes if not node.startswith("#")} == plugged & {"disk"}
    assert await vm.monitor.execute("query-fdsets") == []
    assert {path.name for path in Path(str(vm.directory)).glob("vm.*.sock")} == {
        "vm.console.sock",
        "vm.monitor.sock",
        *(f"vm.{id}.sock" for id in plugged & {"port", "new"}),
    }


async def use(directory: Path, *, then: tuple[str, ...] = ()) -> None:
    """Take the machine over, see that all is well and that it can be worked with, and leave it with `then` plugged."""
    vm = await QemuVm.attach(directory)
    try:
        if vm.state is VmState.PAUSED:  # by the one that was killed
            await vm.resume()
        assert vm.state is VmState.RUNNING
        await expect_agreement(vm)
        await vm.plug(Port("new", "org.new"))
        os.close(vm.take_port("new"))
        await vm.unplug("new")
        for id in set(vm.table.placed) - set(then):
            await vm.unplug(id)
        for id in set(then) - set(vm.table.placed):
            await vm.plug(Port("port", "org.test") if id == "port" else Disk("disk", directory.parent / "disk.img"))
        await expect_agreement(vm)
    finally:
        await vm.detach()


def expect_nothing_left(directory: Path) -> None:
    expect_none_of(directory.name)
    assert [path for path in run_root().iterdir() if path.is_dir()] == []


# --- the end at each step ---------------------------------------------------------------------------------------------


def test_a_manager_killed_while_it_starts_leaves_a_machine_to_attach_to_or_to_sweep(
    manager: Managers, directory: Path
) -> None:
    taken = []
    for step in steps(manager, "start", directory):
        manager.play("stop", directory)
        sweep()
        directory = nobodys_directory()
        assert manager.play("start", directory, step) == 0
        try:
            asyncio.run(use(directory))
            taken.append(step)
            assert sweep() == []
            manager.play("stop", directory)
        except StateError as error:
            assert error.hint
        assert sweep() == [NAME]
        expect_nothing_left(directory)
        directory = nobodys_directory()
        manager.play("start", directory)
    manager.play("stop", directory)
    sweep()
    expect_nothing_left(directory)
    assert taken, "it never got so far that there was a machine to take over"


@pytest.mark.parametrize(
    ("story", "before"),
    [("plug", ()), ("unplug", ("disk", "port")), ("pause", ()), ("save", ()), ("detach", ("disk",))],
)
def test_a_manager_killed_at_any_step_is_succeeded_by_another(
    manager: Managers, directory: Path, story: str, before: tuple[str, ...]
) -> None:
    (directory.parent / "disk.img").write_bytes(bytes(1 << 20))
    manager.play("start", directory)
    try:
        asyncio.run(use(directory, then=before))
        for step in steps(manager, story, directory):
            asyncio.run(use(directory, then=before))
            if manager.play(story, directory, step):
                assert story in ("save", "pause"), f"{story} has no step {step}"
                break  # it asks how far it is, or finds it done, so its steps are more or fewer
            asyncio.run(use(directory, then=before))
            assert sweep() == []
    finally:
        manager.play("stop", directory)


def test_a_manager_killed_while_it_stops_leaves_a_machine_to_attach_to_or_to_sweep(
    manager: Managers, directory: Path
) -> None:
    manager.play("start", directory)
    for step in steps(manager, "stop", directory):
        manager.play("start", directory)
        assert manager.play("stop", directory, step) == 0
        if processes_of(directory.name):
            try:
                asyncio.run(use(directory))
                manager.play("stop", directory)
            except StateError as error:  # it was about to end
                assert "has ended" in str(error)
        assert sweep() == [NAME]
        expect_nothing_left(directory)
        directory = nobodys_directory()


# --- those who serve it -----------------------------------------------------------------------------------------------


def serving(directory: Path) -> dict[str, ProcessId]:
    return {id: ProcessId(*process) for id, process in json.loads((directory.parent / "pids.json").read_text()).items()}


def wait_for_ends(processes: dict[str, ProcessId]) -> None:
    for process in processes.values():
        try:
            fd = process.open()
        except ProcessLookupError:
            continue
        try:
            wait_for_end(process.pid, fd)
        finally:
            os.close(fd)


def test_helpers_outlive_a_dead_manager_with_their_machine_and_are_known_again(
    manager: Managers, directory: Path
) -> None:
    manager.play("serve", directory)
    there = serving(directory)
    assert set(there) == {"qemu", "net", "share"}

    async def main() -> None:
        vm = await QemuVm.attach(directory)
        try:
            assert await vm.pids() == {id: process.pid for id, process in there.items()}
            with vm.events(HelperEnded) as events:
                there["share"].kill()
                ended = await anext(events)
                assert isinstance(ended, HelperEnded)
                assert ended.id == "share"
            await vm.unplug("share")
            assert set(await vm.pids()) == {"qemu", "net"}
        finally:
            await vm.stop()

    asyncio.run(asyncio.wait_for(main(), 2 * DEADLINE))
    wait_for_ends(there)
    assert sweep() == [NAME]
    expect_nothing_left(directory)


def test_helpers_of_a_machine_that_ended_unseen_are_swept(manager: Managers, directory: Path) -> None:
    manager.play("serve", directory)
    there = serving(directory)
    assert sweep() == []
    there["qemu"].kill()
    wait_for_ends({"qemu": there["qemu"]})
    assert sweep() == [NAME]
    wait_for_ends(there)
    expect_nothing_left(directory)


def test_helpers_of_a_machine_that_is_not_kept_end_with_their_manager(manager: Managers, directory: Path) -> None:
    manager.play("serve_unkept", directory)
    wait_for_ends(serving(directory))
    assert sweep() == [NAME]
