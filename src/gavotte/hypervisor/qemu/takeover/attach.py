"""A machine that outlives its manager: who manages it now, what is written down of it, and how another takes over."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from gavotte.errors import Bug, HostError, InUse, OutcomeUnknown, QemuError, QmpNotSent, QmpProtocolError, StateError
from gavotte.flock import Flock
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.console import Console
from gavotte.hypervisor.qemu.devices.sockets import forget_others, output_path, reopen, socket_path
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR
from gavotte.hypervisor.qemu.record import STATE, Pending, Record, Running, read_record, write_record
from gavotte.hypervisor.qemu.takeover.reconcile import settle_devices, settle_run
from gavotte.hypervisor.serialization import from_json, to_json
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.pids import ProcessId, boot_id, process_state
from gavotte.qemu.process import QemuProcess, adopt_process
from gavotte.qmp.client import Deadline, QmpClient

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.vm import QemuVm

__all__ = ["LOCK", "Hold", "attach", "forget", "remember"]

LOCK: Final = "manager.lock"
_GREETING = 5.0  # seconds in which a monitor that serves nobody else answers

_ATTEMPTS = 3

_WAY_OUT = "`gavotte rm` removes what it left"


class Hold:
    """The right to manage the machine of a directory: one process has it, until `release` or its end.

    Raises InUse, with the pid of the one that has it; HostError when the directory can't be written to.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise HostError(f"can't open {path}: {error.strerror}") from error
        owner = os.pread(fd, 20, 0).decode(errors="replace").strip()
        try:
            self._lock = Flock(fd)
        except BlockingIOError:
            raise InUse(
                f"{directory.name} is managed by process {owner or '?'}",
                hint="one process manages a machine at a time: wait until that one lets it go, or ends",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it. A second call does nothing."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


# --- what is written down ---------------------------------------------------------------------------------------------


def remember(
    vm: QemuVm, directory: Path, process: QemuProcess | None, pending: Pending | None, *, saving: bool
) -> None:
    """Write down all that another process has to know of a machine. Raises HostError."""
    qemu = None if process is None else ProcessId.of(process.pid)
    program = vm.binary.path.name
    record = Record(
        binary=vm.binary.path,
        identity=vm.binary.identity,
        config=vm.config,
        table=vm.table,
        qemu=None if qemu is None else Running("qemu", program, qemu.pid, qemu.started),
        helpers=from_json(vm.wiring.helpers_to_json(), tuple[Running, ...], "helpers"),
        pending=pending,
        saving=saving,
    )
    write_record(record, directory)


def forget(directory: Path) -> None:
    """Remove what a kept machine had in its directory: it has ended, and nobody is to take it over."""
    for path in (directory / STATE, directory / f"{STATE}.new", directory / LOCK, output_path(directory)):
        path.unlink(missing_ok=True)
    forget_others((), directory)


# --- taking over ------------------------------------------------------------------------------------------------------


async def attach(kind: type[QemuVm], directory: Path) -> QemuVm:
    """The kept machine of `directory`, taken over: what its manager had begun is done or undone.

    Raises InUse when another process manages it; StateError when none was kept there, or it has ended; UsageError and
    StateTooNew for what is written there; QemuError when QEMU doesn't answer. It goes on as it was then.
    """
    with contextlib.ExitStack() as undo:
        hold = undo.enter_context(Hold(directory))
        record = read_record(directory)
        process = _adopt(record, directory)
        undo.callback(process.leave)
        client = await _connect(process, record, directory)
        try:
            vm = kind(QemuBinary(record.binary, record.identity), record.config, directory=directory, keep=True)
            undo.callback(vm.wiring.leave)
            await _settle(vm, client, record, directory)
            if record.pending or record.saving:  # else a pause from now on would be taken for that save's
                with contextlib.suppress(HostError):  # a full disk isn't to keep anybody from stopping it
                    remember(vm, directory, process, None, saving=False)
            console = Console(
                asyncio.get_running_loop(), reopen(CONSOLE, directory).detach(), directory / "console.log"
            )
        except BaseException:
            await client.close()
            raise
        undo.pop_all()
    vm.hold = hold
    vm.watch(process, client, console)
    return vm


async def _settle(vm: QemuVm, client: QmpClient, record: Record, directory: Path) -> None:
    """Find out whether the guest runs, and make the table and the helpers what they are."""
    name = record.config.name
    vm.life.follow(client)  # what happens from here on is missed no more
    status = await settle_run(client, record)
    vm.life.state = VmState.RUNNING if status == "running" else VmState.PAUSED
    if status == "inmigrate":
        await client.execute("quit", final=True)
        raise StateError(f"{name} was being loaded when its manager ended; it has been ended too", hint=_WAY_OUT)
    vm.wiring.adopt([to_json(each, Running) for each in record.helpers])
    known = record.table if record.pending is None else record.pending.table
    vm.table = await settle_devices(client, record.table, record.pending, deadline=Deadline.NORMAL)
    for id in {*record.table.placed, *known.placed} - {*vm.table.placed}:
        await vm.wiring.drop(id)
    devices = (device.id for device in vm.config.devices)
    forget_others((CONSOLE, MONITOR, *devices, *vm.table.placed), directory)


def _adopt(record: Record, directory: Path) -> QemuProcess:
    name = record.config.name
    if record.qemu is None:
        raise StateError(f"{name} was never started: its manager ended before", hint=_WAY_OUT)
    if record.boot != boot_id():
        raise StateError(f"{name} has ended: this host was started anew", hint=_WAY_OUT)
    try:
        return adopt_process(record.qemu.process, output=output_path(directory))
    except ProcessLookupError:
        raise StateError(
            f"{name} has ended, and nobody was there to see how: its QEMU (pid {record.qemu.pid}) has gone",
            hint=_WAY_OUT,
        ) from None


async def _talk(process: QemuProcess, directory: Path) -> QmpClient:
    """A connection over which a command was answered.

    QEMU sends the answer to a dead manager's last command to whoever comes next, who didn't ask for it; the one after
    that is safe, since QEMU takes up one command after the other.
    """
    for left in reversed(range(_ATTEMPTS)):
        async with contextlib.AsyncExitStack() as undo:
            try:
                sock = reopen(MONITOR, directory)
                client = await QmpClient.connect(sock, deadline=_GREETING, last_words=process.last_words)
                undo.push_async_callback(client.close)
                await client.execute("query-status", deadline=_GREETING)
            except (QmpNotSent, OutcomeUnknown, QmpProtocolError) as error:
                if not left or not any(isinstance(each, QmpProtocolError) for each in (error, error.__cause__)):
                    raise
            else:
                undo.pop_all()
                return client
    raise Bug("the last attempt neither succeeded nor failed")


async def _connect(process: QemuProcess, record: Record, directory: Path) -> QmpClient:
    """Raises InUse when the monitor serves somebody else, QemuError when QEMU is stopped, or stuck."""
    name = record.config.name
    try:
        if process_state(process.pid) == "T":
            raise QmpNotSent("it is stopped")
        return await _talk(process, directory)
    except (QmpNotSent, OutcomeUnknown, QmpProtocolError, StateError) as error:
        await process.last_words()
        if process.returncode is not None:
            raise StateError(f"{name} has ended: {process.exited_error('QEMU ended')}", hint=_WAY_OUT) from error
        if process_state(process.pid) == "T":
            raise QemuError(
                f"QEMU (pid {process.pid}) of {name} stands still: it was sent SIGSTOP",
                hint=f"kill -CONT {process.pid}, then try again",
            ) from error
        raise InUse(
            f"the monitor of {name} gives no answer: it serves somebody else, or QEMU (pid {process.pid}) is stuck",
            hint=f"see who else has {socket_path(MONITOR, directory)} open",
        ) from error
