"""A machine on QEMU: its life, and what can be done with it. The work is done by the modules beside this one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gavotte.arguments import StrPath
from gavotte.compat import override
from gavotte.errors import StateError
from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.interface import (
    Ability,
    Checked,
    Memory,
    OnProgress,
    Vcpu,
    VmState,
    check_file,
)
from gavotte.hypervisor.qemu.console import Console
from gavotte.hypervisor.qemu.failure import console_words
from gavotte.hypervisor.qemu.lifecycle import QemuLifecycle
from gavotte.hypervisor.qemu.migration.clone import clone_machine, freeze_machine
from gavotte.hypervisor.qemu.operations.health import check_health
from gavotte.hypervisor.qemu.operations.plug import Departures, plug_device, unplug_device
from gavotte.qemu.process import QemuProcess
from gavotte.qmp.client import Deadline, QmpClient

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.record import Pending

__all__ = ["QemuVm"]

# What few machines have done to them is imported where it is done: all of it costs a start 30 ms.


class QemuVm(QemuLifecycle):
    """The driver `qemu`: see `gavotte.hypervisor.interface.Hypervisor` for its methods.

    With `keep`, the machine outlives its manager, and another may take over by what is in `directory`.
    """

    # --- keeping ------------------------------------------------------------------------------------------------------

    @override
    def save_state(self, pending: Pending | None = None, *, saving: bool = False) -> None:
        """Write down, of a machine that is kept, what another process needs to take it over; of another, nothing.

        `pending` is the change that is about to be made; without it, none is. `saving`: the guest runs and is about
        to be saved. Raises HostError."""
        if self.keep and self.directory is not None:
            from gavotte.hypervisor.qemu.takeover.attach import Hold, remember

            self.hold = self.hold or Hold(self.directory)
            remember(self, self.directory, self._process, pending, saving=saving)

    @classmethod
    async def attach(cls, directory: Path) -> QemuVm:
        """Take over the kept machine of `directory`. See `keeping.attach` for what it raises."""
        from gavotte.hypervisor.qemu.takeover.attach import attach

        return await attach(cls, directory)

    async def detach(self) -> None:
        """Let go of a kept machine, which runs on: any process may `attach` to it. This object is of no use then."""
        async with self.changing("let go of"):
            if self.hold is None or self._process is None:
                raise StateError(
                    f"{self.config.name} isn't kept: without its manager it ends", hint="start it with keep=True"
                )
            self.save_state()
            self._process.leave()
            self.wiring.leave()
            self._absent = "was let go, and runs on: attach to it anew"
            if self._watch is not None:
                self._watch.cancel()
            self._process = self._watch = None
            self.hold.release()
            self.hold = None
        await self.cleanup()

    # --- pausing, saving ----------------------------------------------------------------------------------------------

    async def reset(self) -> None:
        """Have the guest start anew. A paused one stays paused, at its start."""
        from gavotte.hypervisor.qemu.operations.reset import reset_machine

        async with self.changing("reset"):
            self.capabilities().require(Ability.RESET)
            await reset_machine(self)

    async def pause(self) -> None:
        async with self.changing("pause"):
            self.capabilities().require(Ability.PAUSE)
            if self.state is VmState.RUNNING:
                await self.qmp.stop()

    async def resume(self) -> None:
        async with self.changing("resume"):
            self.capabilities().require(Ability.PAUSE)
            if self.state is VmState.PAUSED:
                await self.qmp.cont()

    async def save(self, target: StrPath | int, *, progress: OnProgress | None = None) -> None:
        """Write it to a file or descriptor. See `saving.save_machine`."""
        from gavotte.hypervisor.qemu.migration.file import save_machine

        file = check_file(target, "target")
        async with self.changing("save"):
            self.capabilities().require(Ability.SAVE)
            self.save_state(saving=self.state is VmState.RUNNING)
            try:
                await save_machine(self, file, progress)
            finally:
                self.save_state()

    async def load(self, source: StrPath | int, *, progress: OnProgress | None = None) -> None:
        """Start it from what was saved. See `saving.load_machine`."""
        from gavotte.hypervisor.qemu.migration.file import load_machine

        await load_machine(self, check_file(source, "source"), progress)

    async def freeze(self) -> bytes:
        async with self.changing("freeze"):
            self.capabilities().require(Ability.CLONE)
            return await freeze_machine(self)

    async def clone(self, state: bytes, *, memory: int = 0) -> None:
        await clone_machine(self, state, memory)
        self.save_state()

    # --- devices ------------------------------------------------------------------------------------------------------

    @override
    def watch(self, process: QemuProcess, monitor: QmpClient, console: Console) -> None:
        super().watch(process, monitor, console)
        monitor.listen(Departures(self))

    @property
    def plugged(self) -> Mapping[str, Device]:
        return self.table.devices

    async def plug(self, device: Device, *, deadline: float = Deadline.NORMAL) -> None:
        async with self.changing("plug into", VmState.CREATED, VmState.RUNNING, VmState.PAUSED):
            await plug_device(self, device, deadline)

    async def unplug(self, id: str, *, deadline: float = Deadline.NORMAL) -> None:
        async with self.changing("unplug from", VmState.CREATED, VmState.RUNNING, VmState.PAUSED):
            await unplug_device(self, id, deadline)

    def take_port(self, id: str) -> int:
        return self.wiring.take_port(id)

    # --- size ---------------------------------------------------------------------------------------------------------

    async def resize_vcpus(self, count: int, *, deadline: float = Deadline.NORMAL) -> int:
        """Have `count` vCPUs; how many there are then. See `resize.resize_vcpus`."""
        from gavotte.hypervisor.qemu.operations.resize import resize_vcpus

        async with self.changing("resize", VmState.RUNNING):
            try:
                return await resize_vcpus(self, count, deadline)
            finally:
                self.save_state()

    async def resize_memory(self, size: int, *, deadline: float = Deadline.NORMAL) -> int:
        """Have `size` bytes of memory; how many there are then. See `resize.resize_memory`."""
        from gavotte.hypervisor.qemu.operations.resize import resize_memory

        async with self.changing("resize", VmState.RUNNING):
            try:
                return await resize_memory(self, size, deadline)
            finally:
                self.save_state()

    # --- introspection ------------------------------------------------------------------------------------------------

    async def check(self) -> Checked:
        """Its health, within 2.5 seconds. Raises StateError before there is anything to look at."""
        return await check_health(self)

    def _seen(self) -> tuple[QmpClient, int]:
        """The monitor and pid of a machine that can be looked at."""
        if self.state not in (VmState.RUNNING, VmState.PAUSED):
            raise self._wrong_state("look at", (VmState.RUNNING,))
        return self.monitor, self.process.pid

    async def pids(self) -> dict[str, int]:
        _monitor, pid = self._seen()
        return {**self.wiring.pids, "qemu": pid}

    async def vcpus(self) -> list[Vcpu]:
        from gavotte.hypervisor.qemu.operations.inspect import read_vcpus

        return await read_vcpus(*self._seen())

    async def pin_vcpu(self, index: int, cpus: frozenset[int]) -> None:
        from gavotte.hypervisor.qemu.operations.inspect import pin_vcpu

        await pin_vcpu(*self._seen(), index, cpus)

    async def memory(self) -> Memory:
        from gavotte.hypervisor.qemu.operations.resize import read_memory

        return await read_memory(self.monitor, self.config, self.row)

    async def statistics(self) -> dict[str, Any]:
        from gavotte.hypervisor.qemu.operations.inspect import read_statistics

        return await read_statistics(*self._seen(), [*self.config.devices, *self.plugged.values()])

    @property
    def console(self) -> str:
        """The last of what the guest wrote to its console, harmless to a terminal."""
        return self._console.last_lines() if self._console else ""

    def attach_console(self) -> socket.socket:
        """A stream of the console, the caller's to read, write and close; any number at once. See `Console.attach`."""
        if self._console is None:
            raise self._wrong_state("attach to", (VmState.RUNNING,))
        return self._console.attach()

    def console_words(self) -> str:
        """The end of the console as a clause of an error's text."""
        return console_words(self._console)

    async def wait_for_console(self, seconds: float) -> bool:
        """Whether the guest prints anything on its console within `seconds`, before the machine ends."""
        if self._console is None:
            return False
        printed = asyncio.ensure_future(self._console.wait_for_some())
        try:
            await asyncio.wait([printed, self.ended], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return printed.done()
        finally:
            printed.cancel()
