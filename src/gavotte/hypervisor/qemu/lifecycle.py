"""The life of a machine on QEMU, from its creation to its end: what its abilities, in `vm`, stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gavotte.errors import GavotteError, OutcomeUnknown, QmpNotSent, StateError, UsageError
from gavotte.hypervisor.events import EventStream, HelperEnded, VmEvent
from gavotte.hypervisor.interface import (
    Ability,
    Capabilities,
    MachineConfig,
    PoliteRung,
    VmState,
    abilities_for,
)
from gavotte.hypervisor.operation_lock import OperationInterrupted, OperationLock, run_shielded
from gavotte.hypervisor.qemu.capabilities import capabilities_of
from gavotte.hypervisor.qemu.console import Console
from gavotte.hypervisor.qemu.devices.resources import Wiring
from gavotte.hypervisor.qemu.devices.settings import tune_devices
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.failure import explain_exit
from gavotte.hypervisor.qemu.launch import launch, no_answer, schema_in_a_thread
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.hypervisor.qemu.state import Dump, Life
from gavotte.qemu.ahead import Ahead
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.commands import Commands
from gavotte.qemu.process import QemuProcess
from gavotte.qemu.props import Json, Recipe
from gavotte.qemu.schema import Schema, get_schema
from gavotte.qmp.client import Deadline, QmpClient

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.takeover.attach import Hold

__all__ = ["QemuLifecycle"]

_QUIT_DEADLINE = 3.0
_MOMENT = 1.0  # seconds between the first sign of an end and the last
_UNDER_WAY = 10.0  # seconds that a change may take to give up when its machine has ended
_ANOTHER = "make another machine: each is started once"


async def _end_of(task: asyncio.Task[None]) -> None:
    """Wait until it has ended, however; end it where it doesn't."""
    await asyncio.wait([task], timeout=2 * _UNDER_WAY)
    task.cancel()


class QemuLifecycle:
    """A process, its monitor and its console, and whose turn it is to change something."""

    def __init__(
        self,
        binary: QemuBinary,
        config: MachineConfig,
        *,
        directory: Path | None = None,
        keep: bool = False,
        ahead: Ahead | None = None,
    ) -> None:
        if keep and directory is None:
            raise UsageError("a machine that is kept needs a directory to be found by", path="directory")
        self.binary = binary
        self.config = config
        self.directory = directory
        self.keep = keep
        self.ahead = ahead  # the process that was begun before it was asked for
        self.row = machine_row(config.arch, config.machine)
        self.table = Table.for_machine(config, self.row)
        self.grown: Recipe = ()  # processors and DIMMs that it had more when it was saved, if it is loaded
        self.wiring = Wiring(
            directory if keep else None, shared_memory=config.shared_memory, on_helper_end=self._helper_ended
        )
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lock = OperationLock()
        self.life = Life(self._dumper())
        self._process: QemuProcess | None = None
        self._monitor: QmpClient | None = None
        self._schema: Schema | None = None
        self._capabilities: Capabilities | None = None
        self._console: Console | None = None
        self._watch: asyncio.Task[None] | None = None  # waits for the process's end
        self._ending: asyncio.Task[None] | None = None  # the stop that all callers of `stop` share
        self._absent = ""  # why it is no surprise that it isn't there
        self.hold: Hold | None = None  # the right to manage it, if it is kept

    @property
    def state(self) -> VmState:
        return self.life.state

    @property
    def turned(self) -> float:
        """When its processors last stood still or went on: seconds since 1970 by the host's clock, as QEMU tells it."""
        return self.life.turned

    @property
    def process(self) -> QemuProcess:
        """The QEMU process. Raises StateError before there is one."""
        if self._process is None:
            raise self._wrong_state("ask", (VmState.RUNNING,))
        return self._process

    @property
    def begun_ahead(self) -> bool:
        """Whether the process is the one that was begun before it was asked for."""
        return self.ahead is not None and self.ahead.taken

    @property
    def monitor(self) -> QmpClient:
        """The QMP connection. Raises StateError before there is one, and after the machine's end."""
        if self._monitor is None or self.state is VmState.STOPPED:
            raise self._wrong_state("ask", (VmState.RUNNING,))
        return self._monitor

    @property
    def qmp(self) -> Commands:
        """QMP's commands, typed."""
        return Commands(self.monitor)

    async def schema(self, hot: Collection[str] = ()) -> Schema:
        """What the binary supports, and of the device types `hot` whether they can be plugged; read once."""
        if self._schema is None or self._schema.unsure(hot):
            self._schema = await get_schema(self.binary, hot=hot)
        return self._schema

    def capabilities(self) -> Capabilities:
        """What this machine can do, started or not; found out once.

        Of a binary that was never asked, what it supports is learnt first, which takes a second and blocks the loop;
        `await schema()` before, or `start`, spares that. Raises as `schema` does.
        """
        if self._capabilities is None:
            self._schema = self._schema or schema_in_a_thread(self.binary)
            self._capabilities = capabilities_of(self.config, self.row, self._schema)
        return self._capabilities

    async def start(self, *, deadline: float = Deadline.NORMAL) -> None:
        """Start QEMU and let the guest run; done when its processors run. QEMU may take `deadline` seconds to answer.

        The machine is checked against the binary first. Raises Unsupported for a device that the machine can't have,
        InvalidMachine for what the binary wouldn't take, QemuError when it can't be asked or doesn't answer, QemuExited
        when it ended at once, HostError when there can't be a process. Nothing of it is left then."""
        async with self.beginning("start"):
            until = asyncio.get_running_loop().time() + deadline
            await self.launch(deadline)
            await self.qmp(deadline=until - asyncio.get_running_loop().time()).cont()

    async def launch(self, deadline: float = Deadline.NORMAL, *, state: int | None = None, **more: Json) -> None:
        """Start the process and connect to it; its guest stands still, or will run on from `state`, a descriptor, once
        that is loaded. `more` are sections of the machine file.

        For a block of `beginning`, which frees what a failure leaves."""
        schema = await self.schema()
        self.save_state()  # before there is a process: one that isn't in it yet is found by its mark
        self.watch(*await launch(self, schema, more, deadline, state))
        plugged = (each.device for each in self.table.placed.values())
        await tune_devices(self.monitor, (*self.config.devices, *plugged))
        self.save_state()

    def watch(self, process: QemuProcess, monitor: QmpClient, console: Console) -> None:
        """Take over a machine that runs: from now on, its events are followed, and its end is noticed."""
        self._process, self._monitor, self._console = process, monitor, console
        self.life.follow(monitor)
        self._watch = asyncio.get_running_loop().create_task(self._watch_end(process, monitor))

    @asynccontextmanager
    async def changing(self, what: str, *states: VmState) -> AsyncIterator[None]:
        """A turn to change the machine, for the block, in one of `states`; RUNNING or PAUSED if none is given.

        Raises StateError when it is in another state, or is stopped meanwhile; and why it ended when it ends by itself.
        """
        wanted = states or (VmState.RUNNING, VmState.PAUSED)
        async with self._turn(what, wanted), self._end_explained():
            yield

    @asynccontextmanager
    async def _turn(self, what: str, wanted: Sequence[VmState]) -> AsyncIterator[None]:
        try:
            async with self.lock.hold(what):
                if self._ending is not None or self.state not in wanted:
                    raise self._wrong_state(what, wanted)
                yield
        except OperationInterrupted:
            raise await self.explain_end() from None

    @asynccontextmanager
    async def beginning(self, what: str, *abilities: Ability) -> AsyncIterator[None]:
        """A turn from CREATED to RUNNING; a block that fails leaves nothing, and the machine STOPPED.

        Without the `abilities`, or those that its own devices need, it raises Unsupported and is still CREATED."""
        async with self._turn(what, (VmState.CREATED,)):
            await self.schema()
            self.capabilities().require(*abilities, *abilities_for(*self.config.devices), *self._dumping())
            self.life.state = VmState.STARTING
            try:
                async with self._end_explained():
                    yield
            except BaseException as error:
                if not self.ended.done():  # else QEMU itself tells why
                    self._absent = self._absent or f"could not be started: {str(error) or 'its start was cancelled'}"
                await run_shielded(self._free())
                raise

    def _dumper(self) -> Dump | None:
        """What makes a dump of the guest's memory when it panics, if one is to be made."""
        if self.config.dump is None:
            return None
        from gavotte.hypervisor.qemu.dump import dump_memory

        return partial(dump_memory, self.config.name, self.config.dump)

    def _dumping(self) -> tuple[Ability, ...]:
        return () if self.config.dump is None else (Ability.DUMP,)

    @asynccontextmanager
    async def _end_explained(self) -> AsyncIterator[None]:
        """A command that got lost because the machine ended, as the error that says why that was."""
        try:
            yield
        except (OutcomeUnknown, QmpNotSent) as error:
            if self._monitor is None or self._process is None:
                raise  # it never came to be, and the error says why
            if self._monitor.closed and await self.wait(_MOMENT):
                raise await self.explain_end() from error
            if self.state is VmState.STARTING:
                raise no_answer(self._process, error) from error
            raise

    async def explain_end(self) -> GavotteError:
        """Why the machine isn't there any more, as the error to raise. Waits a moment for an end under way."""
        await asyncio.wait([self.ended], timeout=_MOMENT)
        if self._watch is not None:
            await asyncio.wait([self._watch], timeout=_MOMENT)  # the reason comes before the connection's end
        return self._explain()

    async def stop(self, *, polite: Sequence[PoliteRung] = (), force: bool = False) -> None:
        """End the machine by `polite` rungs, then `quit`, SIGTERM, SIGKILL; with `force`, by SIGKILL at once.

        Whatever is under way ends too. Idempotent; callers at the same time share one end, the first one's, and
        `force` cuts that short. Cancelled, it kills. Raises HostError when the kernel doesn't end the process."""
        if self._ending is None or (self._ending.done() and self._ending.exception()):
            if not self.ended.done():
                self._absent = self._absent or "was stopped"
            self._ending = asyncio.get_running_loop().create_task(self._end(() if force else polite, force))
        elif force and self._process is not None:
            self._process.kill()
        try:
            await asyncio.shield(self._ending)
        except asyncio.CancelledError:
            if self._process is not None:
                self._process.kill()
            await run_shielded(_end_of(self._ending))
            raise

    async def quit(self) -> None:
        """Have QEMU end itself, and wait until it says so."""
        await self.monitor.execute("quit", deadline=_QUIT_DEADLINE, final=True)

    async def power_down(self) -> None:
        """Press the guest's power button: a rung for `stop` where no agent can be asked. The guest may ignore it."""
        await self.qmp.system_powerdown()

    async def wait(self, seconds: float | None = None) -> bool:
        await asyncio.wait([self.ended], timeout=seconds)
        return self.ended.done()

    def events(self, *kinds: type[VmEvent], limit: int = 256) -> EventStream:
        return EventStream(self.life.streams, kinds, limit)

    async def cleanup(self) -> None:
        """Free what the machine holds; a process that still runs is killed. Idempotent."""
        await self.stop(force=True)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _watch_end(self, process: QemuProcess, monitor: QmpClient) -> None:
        await process.wait()
        self.life.state = VmState.STOPPED
        if not self._absent:  # else who ends it ends the turn too
            self.lock.interrupt()
        if not self.ended.done():
            self.ended.set_result(None)
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):  # what it said last is still in the socket
                await monitor.wait_closed()
                await self.life.settle()
        if self._console is not None:
            self._console.drain()  # and so is what the guest's kernel said
        self._close()

    async def _end(self, polite: Sequence[PoliteRung], force: bool) -> None:
        try:
            self.lock.interrupt()  # a start ends what it has begun
            if self._process is not None and self.state is not VmState.STARTING:
                if force:
                    self._process.kill()
                rungs: list[PoliteRung] = [*polite, ("quit", self.quit, _QUIT_DEADLINE)]
                await self._process.stop(polite=() if force else rungs)
            with suppress(TimeoutError):
                async with asyncio.timeout(_UNDER_WAY):
                    await self.lock.wait_free()
        finally:
            await self._free()

    async def _free(self) -> None:
        """End the process, if it runs, and give back everything, once."""
        async with AsyncExitStack() as stack:
            stack.callback(self._close)
            if self.hold is not None and self.directory is not None:
                from gavotte.hypervisor.qemu.takeover.attach import forget

                stack.callback(self.hold.release)
                stack.callback(forget, self.directory)
            stack.callback(self.wiring.close)
            if self._console is not None:
                stack.callback(self._console.close)
            if self._monitor is not None:
                stack.push_async_callback(self._monitor.close)
            if self._watch is not None:
                stack.push_async_callback(_end_of, self._watch)
            if self._process is not None:
                stack.callback(self._process.close)
                self._process.kill()
                await self._process.stop()

    def _close(self) -> None:
        self.life.close("" if self._ending and self._absent else str(self._explain()))
        if not self.ended.done():
            self.ended.set_result(None)

    def _explain(self) -> GavotteError:
        if self._absent or self._process is None:
            return StateError(f"{self.config.name} {self._absent or 'is not started'}", hint=_ANOTHER)
        return explain_exit(self._process, self.life, self._console)

    def _wrong_state(self, what: str, wanted: Sequence[VmState]) -> StateError:
        name, state = self.config.name, self.state
        if self._ending is not None or state is VmState.STOPPED:
            why = "is being stopped" if state is not VmState.STOPPED else f"has ended: {self._explain()}"
            return StateError(f"can't {what} {name}: it {why}", hint=_ANOTHER)
        if VmState.CREATED in wanted:
            hint = "a machine is started once: make another"
        else:
            hints = {VmState.CREATED: "start it first", VmState.PAUSED: "resume it first"}
            hint = hints.get(state, "wait until it is started")
        return StateError(f"can't {what} {name}: it is {state.value}", hint=hint)

    def save_state(self) -> None:
        """Write down what there is now, if this machine is kept."""

    def _helper_ended(self, id: str, program: str, why: str) -> None:
        self.life.report(HelperEnded(id, program, why))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
