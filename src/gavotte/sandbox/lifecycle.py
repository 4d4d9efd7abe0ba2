"""A sandbox: a machine of its own for commands, from `start` to `close`."""

from __future__ import annotations

import asyncio
import enum
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Self, Unpack

from gavotte.arguments import (
    check_flag,
    check_number,
    check_seconds,
    check_text,
)
from gavotte.compat import override
from gavotte.errors import ForeignProcess, GavotteError, StateError
from gavotte.guest.channel import Channel
from gavotte.guest.command import LAST_SIGNAL, AsyncProcess
from gavotte.guest.replies import EndedCommand
from gavotte.hypervisor.devices import Device, Latent
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.pids import process_state
from gavotte.sandbox.accel import choose_accel, note_emulation
from gavotte.sandbox.artifacts import Artifacts, find_artifacts
from gavotte.sandbox.boot import attach_machine
from gavotte.sandbox.commands import Commands
from gavotte.sandbox.ending import end_commands
from gavotte.sandbox.growth import Size, check_growth, resize
from gavotte.sandbox.headstart import Headstart
from gavotte.sandbox.kept import Kept
from gavotte.sandbox.options import SandboxOptions
from gavotte.sandbox.phases import Phases
from gavotte.sandbox.renewal import shift_clock
from gavotte.sandbox.spec import Spec, make_spec
from gavotte.sandbox.start import Starter
from gavotte.sandbox.store import UNFINISHED, RunDirectory, run_root, sweep
from gavotte.sandbox.words import check_name

__all__ = ["AsyncSandbox", "State"]

_SYNC_DEADLINE = 3.0


class State(enum.Enum):
    """Where a sandbox is in its life. It goes through these in order and never back."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    CLOSED = "closed"


class AsyncSandbox(Commands):
    """A virtual machine to run commands in. Nothing of the host is in it.

        async with AsyncSandbox(memory="256M", cpus=2) as box:
            result = await box.run(["python3", "-c", "print(6*7)"], timeout=30)

    `memory` is a size (256M, 2G) or a number of bytes; `accel` is auto, kvm or tcg; `kernel`, `initrd`, `append`
    and `qemu` replace or extend what Gavotte brings. `slots` devices can be plugged, beside the `devices` that are
    there at once; it can grow to `max_cpus` and `max_memory`. With `shared_memory` a Share can be virtiofs.
    It is a copy of a template, which starts in a fraction of a boot's time, unless that can't be or `cold` is set.
    With `name` and `keep` it outlives its process, unless it is closed: `attach` takes it over.
    Bad values raise UsageError or HostError at once.
    """

    def __init__(self, **options: Unpack[SandboxOptions]) -> None:
        self._begin(make_spec(**options))

    def _begin(self, spec: Spec) -> None:
        self.spec = spec
        self.name = spec.name or f"gavotte-{os.urandom(4).hex()}"
        self.state = State.NEW
        self.accel = ""  # what it runs on, and why; known when it has started
        self.accel_reason = ""
        self.root_size = 0  # bytes that can be written to its root
        self.template = ""  # the key of the template that it is a copy of
        self.cold_reason = ""  # if it booted for real, why
        self.phases = Phases()  # what its start spent time on, in seconds
        self._maker = os.getpid()
        self._stack = AsyncExitStack()
        self._directory: RunDirectory | None = None  # if it is ours
        self._vm: QemuVm | None = None
        self._channel: Channel | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._grace = 0.0  # seconds that its commands have when it is closed
        self._parting: asyncio.Task[None] | None = None  # with them

    @override
    def __repr__(self) -> str:
        pid = f" pid={self._vm.process.pid}" if self._vm and self.state is State.RUNNING else ""
        return f"<{type(self).__name__} {self.name} {self.state.name}{pid}>"

    async def __aenter__(self) -> Self:
        if self.state is not State.RUNNING:  # as it is when it was attached to, or comes out of a pool
            await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # life

    async def start(
        self,
        *,
        directory: RunDirectory | None = None,
        sealed: bool = True,
        headstart: Headstart | None = None,
        files: Artifacts | None = None,
    ) -> None:
        """Start the guest, as a copy of a template where that can be; returns when it can run commands. Guest image and
        template are built first if there are none, which is told in the log. Its files go to `directory`, which stays
        the caller's; else to one that goes with it. `sealed` is for processes that start several: see `Starter.start`;
        `headstart` for those that start one, and had no time to lose. It is made of `files` instead of the current
        image, if they are given.

        Raises HostError (QEMU, image, memory), GuestSilent, GuestDied, QemuExited; nothing is left then.
        """
        self.check_owner()
        if self.state is not State.NEW:
            raise StateError(f"{self.name} is {self.state.value}; a sandbox is started once: make another")
        self.state = State.STARTING
        self._starting = asyncio.get_running_loop().create_task(self._start(directory, sealed, headstart, files))
        try:
            await self._starting
        except BaseException as error:
            closed = self._closing is not None
            await self.close()
            if closed and isinstance(error, asyncio.CancelledError):
                raise StateError(f"{self.name} was closed while it started; make another") from None
            raise
        self.state = State.RUNNING

    async def _start(
        self, directory: RunDirectory | None, sealed: bool, headstart: Headstart | None, files: Artifacts | None
    ) -> None:
        with self.phases.phase("sweep"):
            sweep()
        with self.phases.phase("image"):
            binary = find_qemu(self.spec.arch, self.spec.qemu)
            files = files or await find_artifacts(self.spec)
        with self.phases.phase("accelerator"):
            choice = await choose_accel(binary, self.spec, files)
            self.accel, self.accel_reason = choice.accel, choice.why
            note_emulation(self.spec, choice)
        if directory is None:
            begun = headstart.claim(os.fspath(run_root())) if headstart is not None else ""
            self.name = begun or self.name
            directory = self._directory = self._stack.enter_context(RunDirectory(self.name, made=bool(begun)))
            if self.spec.keep:
                (directory.path / UNFINISHED).touch()
        where = (directory.path, self.phases, self._have_machine, headstart)
        starter = Starter(self.name, self.spec, self.accel, binary, files, *where)
        started = await starter.start(sealed=sealed)
        self._take(started.vm, started.channel)
        self.root_size = started.root_size
        self.template, self.cold_reason = started.template, started.cold
        self._stack.push_async_callback(self._stop)
        if started.token is not None:
            facts = (self.accel, self.accel_reason, self.root_size, started.token, self.template, self.cold_reason)
            Kept(self.spec, *facts).write(directory.path)
        if self._directory is not None:
            (directory.path / UNFINISHED).unlink(missing_ok=True)

    def _have_machine(self, vm: QemuVm) -> None:
        self._vm = vm

    def _take(self, vm: QemuVm, channel: Channel) -> None:
        self._vm, self._channel = vm, channel
        channel.liveness.runs = lambda: vm.state is VmState.RUNNING
        channel.liveness.console = lambda: vm.console

    @classmethod
    async def attach(
        cls,
        name: str,
        *,
        directory: RunDirectory | None = None,
        stored: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    ) -> Self:
        """Take over a sandbox that was started with `keep` and whose process has gone, or has let it go.

        `stored` says of commands that were spawned with `retain`, by number, how many bytes of their stdout and stderr
        are known already: what follows comes again. Without it, they come from `offset` of each stream on.
        Raises NoSuchSandbox, InUse when a process has it, StateTooNew, and StateError when it has ended.
        """
        kept = Kept.read(run_root() / check_name(name))
        box = cls.__new__(cls)
        box._begin(kept.spec)
        box.accel, box.accel_reason, box.root_size = kept.accel, kept.accel_reason, kept.root_size
        box.template, box.cold_reason = kept.template, kept.cold_reason
        async with AsyncExitStack() as undo:
            if directory is None:
                directory = box._directory = RunDirectory.attach(run_root() / name)
                undo.callback(directory.leave)
            box._take(*await attach_machine(directory.path, kept.token, stored))
            undo.pop_all()
        if box._directory is not None:
            box._stack.enter_context(box._directory)
        box._stack.push_async_callback(box._stop)
        box.state = State.RUNNING
        return box

    async def detach(self) -> None:
        """Let go of a kept sandbox, which runs on with its commands: any process may `attach` to it."""
        channel = self._started()
        await self.vm.detach()
        await channel.close()
        self._stack.pop_all()
        if self._directory is not None:
            self._directory.leave()
        self.state = State.CLOSED

    async def close(self, *, grace: float = 0.0, stop_signal: int = signal.SIGTERM) -> None:
        """End the guest with all that runs in it, and free everything. Idempotent; concurrent calls share the work.

        Its commands end at once, as by SIGKILL. With `grace` they get `stop_signal` before, and up to so many seconds;
        what they write meanwhile has to be read. A further call without `grace` cuts that short.
        """
        self.check_owner()
        check_seconds(grace, "grace", zero=True)
        check_number(stop_signal, 1, LAST_SIGNAL, "stop_signal")
        if self._closing is None:
            self.state = State.CLOSED
            self._grace = grace
            self._closing = asyncio.get_running_loop().create_task(self._close(stop_signal))
        elif not grace:
            self._grace = 0.0
            if self._parting is not None:
                self._parting.cancel()
        await asyncio.shield(self._closing)

    async def _close(self, stop_signal: int) -> None:
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._grace > 0:
            self._parting = asyncio.get_running_loop().create_task(self._part(self._grace, stop_signal))
            await asyncio.wait([self._parting])
        await self._stack.aclose()

    async def _part(self, grace: float, stop_signal: int) -> None:
        """Have its commands come to an end of their own, where the guest can run."""
        vm, channel = self._vm, self._channel
        if vm is None or channel is None or not channel.processes or process_state(vm.process.pid) == "T":
            return
        try:
            if self.paused:
                await vm.resume()
            await end_commands(list(channel.processes.values()), stop_signal, grace)
        except GavotteError:
            pass  # a machine that doesn't go on is ended all the same

    async def _stop(self) -> None:
        vm, channel = self._vm, self._channel
        if vm is None or channel is None:
            return

        async def sync() -> None:
            if vm.state is VmState.PAUSED:
                await vm.resume()  # what stands still can't write to its disks what it has for them
            await channel.request("sync", deadline=_SYNC_DEADLINE)
            await vm.quit()

        # Without a device, nothing outside the guest could tell whether its commands came to an end of their own
        outside = any(not isinstance(device, Latent) for device in vm.plugged.values())
        polite = [("agent", sync, _SYNC_DEADLINE)] if outside and channel.ended is None else []
        try:
            await vm.stop(polite=polite)
        finally:
            await channel.close()

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._vm is not None and self._vm.state is VmState.PAUSED

    @property
    def console(self) -> str:
        """The last of what the guest wrote to its console."""
        return self._vm.console if self._vm else ""

    # the machine

    async def pause(self) -> None:
        """Have it stand still, with all its commands."""
        self._started()
        await self.vm.pause()

    async def resume(self, *, reseed: bool = False, wait: bool = True) -> None:
        """Have it go on, with the time of day set right; with `reseed`, also with new random numbers from now on.

        Unless one is to `wait`, it is about to do that, and does it before it starts any command.
        """
        check_flag(reseed, "reseed")
        check_flag(wait, "wait")
        channel = self._started()
        paused_at = self.vm.turned if self.paused else None
        await self.vm.resume()
        stood = 0.0 if paused_at is None else self.vm.turned - paused_at
        if stood or reseed:
            await shift_clock(channel, stood, reseed=reseed, wait=wait)

    async def settle(self) -> None:
        """Wait until the guest has done what it does behind a command, so that the next one starts at once."""
        await self._running().request("settle")

    async def plug(self, device: Device) -> None:
        """Add a device while it runs; the guest has seen it when `ls /dev` shows it, moments later.

        Raises UsageError and InvalidMachine for what can't be, Unsupported, QmpRefused; nothing of it is left then.
        """
        from gavotte.sandbox.devices import check_device  # few sandboxes get any

        checked = check_device(device)
        self._running()
        await self.vm.plug(checked)

    async def unplug(self, id: str) -> None:
        """Remove a device; returns when it is gone. Raises UsageError, UnplugRefused, OutcomeUnknown."""
        check_text(id, "id")
        self._running()
        await self.vm.unplug(id)

    async def resize(self, cpus: int | None = None, memory: str | int | None = None) -> Size:
        """Give it another size; gives what the guest has then, which may be less than was asked for.

        Raises UsageError for more than `max_cpus` or `max_memory`, Unsupported.
        """
        check_growth(self.spec, cpus, memory)
        return await resize(self.vm, self._running(), self.spec, cpus, memory)

    @property
    def commands(self) -> Mapping[int, AsyncProcess]:
        """The commands that run, by the number that stays theirs when another process attaches."""
        return self._started().processes

    @property
    def adopted(self) -> Mapping[int, AsyncProcess]:
        """The commands that ran when this process attached, also those that have ended since."""
        return self._started().adopted

    @property
    def exits(self) -> Sequence[EndedCommand]:
        """The last commands that ended before this process attached, oldest first."""
        return self._started().exits

    # guards

    @property
    def vm(self) -> QemuVm:
        """Its machine. Raises StateError before there is one."""
        self.check_owner()
        if self._vm is None:
            raise StateError(f"{self.name} is {self.state.value}; start it first")
        return self._vm

    def is_ours(self) -> bool:
        """Whether this process made it."""
        return os.getpid() == self._maker

    def check_owner(self) -> None:
        """Raises ForeignProcess in a process that didn't make this sandbox, such as a forked child."""
        if not self.is_ours():
            raise ForeignProcess(
                f"{self.name} belongs to process {self._maker}; this is {os.getpid()}, forked from it",
                hint="make a sandbox in each process that uses one",
            )

    def _started(self) -> Channel:
        self.check_owner()
        if self.state is not State.RUNNING or self._channel is None:
            way = {State.NEW: "start it first", State.STARTING: "wait for start() to return"}
            raise StateError(f"{self.name} is {self.state.value}; {way.get(self.state, 'make another')}")
        return self._channel

    @override
    def _running(self) -> Channel:
        """The line to the agent, which wouldn't answer while the guest stands still."""
        channel = self._started()
        if self.paused:
            raise StateError(f"{self.name} is paused", hint="resume it first")
        return channel
