"""A machine as a file: what `gavotte.hypervisor.qemu.migration.format` says stands in it, and QEMU's stream between."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gavotte.errors import GavotteError, HostError, InUse, OutcomeUnknown, QemuError, QmpNotSent, SaveFailed, StateError
from gavotte.hypervisor.devices import Device, Nic, Raw, Stream, Tap
from gavotte.hypervisor.interface import Ability, MemoryFile, OnProgress, VmState
from gavotte.hypervisor.operation_lock import run_shielded
from gavotte.hypervisor.qemu.devices.table import Placed, Table
from gavotte.hypervisor.qemu.durable import put_in_place
from gavotte.hypervisor.qemu.migration.clone import include_memory
from gavotte.hypervisor.qemu.migration.format import HEAD_SIZE, TAIL_SIZE, Head, Saved, Tail, differences
from gavotte.hypervisor.qemu.migration.pump import Pump, pumping
from gavotte.hypervisor.qemu.migration.resume import go_on_after_migration
from gavotte.hypervisor.qemu.migration.stream import STALLED, migrate_in, migrate_out, unwritten
from gavotte.hypervisor.qemu.operations.resize import read_growth
from gavotte.qmp.client import Deadline

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.vm import QemuVm
    from gavotte.qemu.schema import Schema

__all__ = ["load_machine", "save_machine"]


# --- saving -----------------------------------------------------------------------------------------------------------


async def save_machine(vm: QemuVm, target: Path | int, progress: OnProgress | None = None) -> None:
    """Write a machine that runs, or is paused, to a file that appears when all of it is on disk, or to a descriptor.

    What disks hold isn't in it: the machine that is loaded opens the same files. So where a guest writes to its disks,
    pause it first, and stop it after.

    It runs on while nearly all is written. Under emulation QEMU may lose what a guest writes meanwhile, so there it
    stands still, for a third of a second for each 100 MB.

    Raises SaveFailed, StateError, HostError.
    """
    running, live = vm.state is VmState.RUNNING, vm.config.accel != "tcg"
    saved = await _describe(vm, await vm.schema())
    try:
        async with _new_file(target) if isinstance(target, Path) else _borrowed(target) as fd:
            await _put(fd, saved.to_bytes())
            await include_memory(vm)
            try:
                pump = await migrate_out(vm.monitor, fd, running=running, live=live, progress=progress)
            except OutcomeUnknown:
                if running:
                    vm.life.begin(_go_on_later(vm))
                raise
            await _put(fd, Tail(pump.count, pump.crc).to_bytes())
    except SaveFailed as error:
        problem = f"{vm.config.name} can't be saved to {_what(target)}: {error.message}"
        raise SaveFailed(problem, hint=error.hint) from error
    except OSError as error:  # there is no pipe, or no thread, to be had
        problem = f"{vm.config.name} can't be saved to {_what(target)}: {error.strerror}"
        raise HostError(problem, hint="see `ulimit -n`" if error.errno == errno.EMFILE else "") from error


async def _go_on_later(vm: QemuVm) -> None:
    """Have a machine go on whose QEMU didn't answer when its save was given up: its stream may be complete by then."""
    with suppress(GavotteError):
        while not vm.monitor.closed:
            with suppress(OutcomeUnknown, QmpNotSent):
                await vm.monitor.execute("query-status", deadline=Deadline.SLOW)
                break
        async with vm.changing("go on with"):
            await go_on_after_migration(vm.monitor)


async def _describe(vm: QemuVm, schema: Schema) -> Saved:
    status: Any = await vm.monitor.execute("query-status")
    if status.get("status") == "postmigrate":
        raise StateError(
            f"{vm.config.name} was saved as it stands there, and QEMU doesn't do that twice",
            hint="resume it and pause it again, or copy what was saved",
        )
    machine = schema.machine(vm.config.machine)
    return Saved(
        config=vm.config,
        machine=vm.config.machine if machine is None else machine.name,
        cpu=vm.row.cpus[vm.config.accel],
        qemu=schema.version,
        table=vm.table,
        growth=await read_growth(vm.monitor, vm.config),
    )


@asynccontextmanager
async def _new_file(path: Path) -> AsyncIterator[int]:
    """A descriptor of PATH.part, readable for its owner only, which is renamed when all is on disk, or removed."""
    if path.is_dir():
        raise HostError(f"can't write {path}: it is a directory", hint="give the name of a file in it")
    part = path.with_name(f"{path.name}.part")
    fd = _open(part, os.O_WRONLY | os.O_CREAT)
    try:
        _lock(fd, part, path)
        try:
            os.ftruncate(fd, 0)
            yield fd
            await run_shielded(asyncio.to_thread(_settle, fd, part, path))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    finally:
        os.close(fd)


def _lock(fd: int, part: Path, path: Path) -> None:
    """Raises InUse when another save is writing the file `part`, or has just renamed it, as then it is `path`."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), part.stat()):
            return
    except (BlockingIOError, FileNotFoundError):
        pass
    raise InUse(f"another machine is being saved to {path}", hint="give each a file of its own")


def _settle(fd: int, part: Path, path: Path) -> None:
    try:
        put_in_place(fd, part, path)
    except OSError as error:
        raise unwritten(error) from error


@asynccontextmanager
async def _borrowed(number: int) -> AsyncIterator[int]:
    """A copy of somebody's descriptor."""
    try:
        fd = os.dup(number)
    except OSError as error:
        raise HostError(f"can't use descriptor {number}: {error.strerror}", hint="is it still open?") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "the directory has to be there already" if isinstance(error, FileNotFoundError) else ""
        raise HostError(f"can't open {path}: {error.strerror}", hint=hint) from error


# --- loading ----------------------------------------------------------------------------------------------------------


async def load_machine(vm: QemuVm, source: Path | int, progress: OnProgress | None = None) -> None:
    """Start a machine from what was saved: it runs on, with the processors, memory and plugged devices of that time.

    `vm` was made with the same configuration, in which names and paths of the host may be others.

    A device that was plugged with descriptors has to be plugged with new ones before.

    Raises SaveFailed for what is no saved machine, is damaged, or doesn't fit; StateTooNew; and as `start` does.
    """
    what = _what(source)
    async with (
        vm.beginning("load", Ability.SAVE),
        _old_file(source) if isinstance(source, Path) else _borrowed(source) as fd,
    ):
        saved = await _read_saved(fd, what)
        _check_fit(saved, vm, await vm.schema(), what)
        tail = _look_ahead(fd, what)
        vm.table = _with_devices(saved.table, vm.table, what)
        # the blocks of its memory go by the names that they had; a file that it was a copy of is of no use here
        memory_file = None if saved.config.memory_file is None else MemoryFile(None)
        vm.config = replace(vm.config, machine=saved.machine, memory_file=memory_file)
        vm.grown = saved.growth
        await vm.launch(incoming="defer")
        await _fill(vm, fd, tail, what, progress)
        await vm.monitor.execute("cont")


@asynccontextmanager
async def _old_file(path: Path) -> AsyncIterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"can't read {path}: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


async def _read_saved(fd: int, what: str) -> Saved:
    head = Head.from_bytes(await _take(fd, HEAD_SIZE, what), what)
    return Saved.from_bytes(await _take(fd, head.json, what), head, what)


def _look_ahead(fd: int, what: str) -> Tail | None:
    """The tail of a regular file, whose end can be seen before anything happens; None of a stream."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return None
    rest = status.st_size - os.lseek(fd, 0, os.SEEK_CUR) - TAIL_SIZE
    tail = Tail.from_bytes(os.pread(fd, TAIL_SIZE, max(status.st_size - TAIL_SIZE, 0)), what)
    _check_length(rest, tail, what)
    return tail


def _check_length(length: int, tail: Tail, what: str) -> None:
    if length != tail.length:
        raise SaveFailed(f"{what} is damaged: it holds {length} bytes of what were {tail.length}")


def _check_fit(saved: Saved, vm: QemuVm, schema: Schema, what: str) -> None:
    """Raises SaveFailed for a machine that QEMU would take and that would then hang, or that it would end with."""
    cpu = vm.row.cpus[vm.config.accel]
    problems = differences(saved, vm.config)
    if not problems and cpu != saved.cpu:
        problems = [f"cpu: {saved.cpu} when it was saved, {cpu} here"]
    if problems:
        raise SaveFailed(
            f"{what} is another machine than {vm.config.name}:\n" + "\n".join(f"  {line}" for line in problems),
            hint="make the machine with what it was saved with",
        )
    if schema.version < saved.qemu or schema.machine(saved.machine) is None:
        theirs, ours = (".".join(map(str, version)) for version in (saved.qemu, schema.version))
        raise SaveFailed(
            f"{what} is a {saved.machine} of QEMU {theirs}, which QEMU {ours} doesn't make",
            hint=f"use QEMU {theirs} or a later one",
        )


def _with_devices(theirs: Table, ours: Table, what: str) -> Table:
    """The saved table, with those devices that were plugged into the new machine in the place of theirs."""
    strangers = ", ".join(repr(id) for id in ours.placed if id not in theirs.placed)
    if strangers:
        raise SaveFailed(f"{what} has no device {strangers}", hint="plug it when the machine is loaded")
    placed = {id: Placed((ours.placed.get(id) or each).device) for id, each in theirs.placed.items()}
    lost = ", ".join(repr(id) for id, each in placed.items() if id not in ours.placed and _needs_fds(each.device))
    if lost:
        problem = f"{lost} had descriptors of the process that saved {what}"
        raise SaveFailed(problem, hint="plug each with new ones, by the same id, and then load")
    return replace(theirs, placed=MappingProxyType(placed))


def _needs_fds(device: Device) -> bool:
    match device:
        case Nic(net=Tap() | Stream()):
            return True
        case Raw():
            return any(step.fds for step in device.backends)
    return False


async def _fill(vm: QemuVm, fd: int, tail: Tail | None, what: str, progress: OnProgress | None) -> None:
    """Have the waiting QEMU read it all. Raises SaveFailed when that isn't what was written."""
    start = 0 if tail is None else os.lseek(fd, 0, os.SEEK_CUR)
    total = 0 if tail is None else tail.length
    try:
        pump = await migrate_in(vm.monitor, fd, hold=TAIL_SIZE, total=total, progress=progress)
    except QemuError as error:
        if tail is not None:
            await _check_whole(fd, start, tail, what)
        raise SaveFailed(f"{what} can't be loaded: {error.message}", hint=error.hint) from error
    _check_sum(pump, tail or Tail.from_bytes(pump.held, what), what)


async def _check_whole(fd: int, start: int, tail: Tail, what: str) -> None:
    """Whose fault it was: read it again."""
    os.lseek(fd, start, os.SEEK_SET)
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        async with pumping(fd, nowhere, TAIL_SIZE) as (pump, ended):
            await asyncio.wait([ended])
            _check_sum(pump, tail, what)
    finally:
        os.close(nowhere)


def _check_sum(pump: Pump, tail: Tail, what: str) -> None:
    _check_length(pump.count, tail, what)
    if pump.crc != tail.crc:
        raise SaveFailed(f"{what} is damaged: its content doesn't fit its checksum")


def _what(file: Path | int) -> str:
    return str(file) if isinstance(file, Path) else f"descriptor {file}"


# --- a few bytes ------------------------------------------------------------------------------------------------------


async def _put(fd: int, data: bytes) -> None:
    """Write all, in pieces that fit into a pipe that is ready. Raises SaveFailed."""
    while data:
        try:
            await _ready(fd, asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer)
            with suppress(BlockingIOError):
                data = data[os.write(fd, data[:4096]) :]
        except OSError as error:
            raise unwritten(error) from error


async def _take(fd: int, length: int, what: str) -> bytes:
    """Read that many bytes, or what there is. Raises SaveFailed."""
    data = b""
    while len(data) < length:
        try:
            await _ready(fd, asyncio.get_running_loop().add_reader, asyncio.get_running_loop().remove_reader)
            with suppress(BlockingIOError):
                more = os.read(fd, length - len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise SaveFailed(f"{what} can't be read: {error.strerror}") from error
    return data


async def _ready(fd: int, watch: Callable[..., None], unwatch: Callable[[int], bool]) -> None:
    """Wait until `fd` is ready; files are always. Raises SaveFailed."""
    ready = asyncio.Event()
    try:
        watch(fd, ready.set)
    except PermissionError:  # epoll's word for a file
        return
    try:
        async with asyncio.timeout(STALLED):
            await ready.wait()
    except TimeoutError:
        raise SaveFailed(f"nothing moved for {STALLED:g} s", hint="see what the other end does") from None
    finally:
        unwatch(fd)
