"""The two drivers, as the contract's stories see them: a machine to create, and a guest that does what it is told."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from gavotte.compat import override
from gavotte.faces.loop import call
from gavotte.hypervisor.fake import FakeVm, Script
from gavotte.hypervisor.interface import Hypervisor, MachineConfig, VmState
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import QemuBinary
from tests.support.programs import DEADLINE
from tests.support.tiny_kernel import HALTS, OBEYS, write_kernel

__all__ = ["DEADLINE", "Driver", "FakeDriver", "QemuDriver", "begun", "state_of", "story"]

P = ParamSpec("P")


def story(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """A test that is a coroutine, on the loop thread: QEMU belongs to the thread that started it."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def within_deadline() -> None:
            async with asyncio.timeout(3 * DEADLINE):
                await test(*args, **kwargs)

        call(within_deadline())

    return run


def state_of(vm: Hypervisor) -> VmState:
    """Its state. mypy takes two looks at `vm.state` for the same value."""
    return vm.state


async def begun(start: Awaitable[None], vm: Hypervisor) -> asyncio.Future[None]:
    """A start that is under way: the machine has left its first state."""
    starting = asyncio.ensure_future(start)
    while vm.state is VmState.CREATED:  # noqa: ASYNC110  # there is no event for it: nothing runs yet
        await asyncio.sleep(0)
    return starting


class Driver(ABC):
    """Makes machines, and plays what their guests do."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.kernels = {}
        for name, code in (("halts", HALTS), ("obeys", OBEYS)):
            (folder / name).mkdir()
            self.kernels[name] = write_kernel(folder / name, code)

    def config(self, obeys: bool = False, **changes: Any) -> MachineConfig:
        """A small machine that can grow: one vCPU of three, 64 MiB of 256, two places for devices.

        Its guest stands still; one that `obeys` lets devices go, and does what it is told."""
        values: dict[str, Any] = {
            "name": "box",
            "arch": "x86_64",
            "machine": "q35",
            "accel": "tcg",
            "vcpus": 1,
            "memory": 64 << 20,
            "kernel": self.kernels["obeys" if obeys else "halts"],
            "initrd": None,
            "append": "",
            "slots": 2,
            "max_vcpus": 3,
            "max_memory": 256 << 20,
        }
        return MachineConfig(**{**values, **changes})

    @abstractmethod
    def create(self, *, obeys: bool = False, **changes: Any) -> Hypervisor:
        """A machine of this configuration; nothing is started."""

    @asynccontextmanager
    async def running(self, *, obeys: bool = False, **changes: Any) -> AsyncIterator[Hypervisor]:
        """A machine that was started, until the end of the block."""
        vm = self.create(obeys=obeys, **changes)
        try:
            await vm.start()
            yield vm
        finally:
            await vm.cleanup()

    @abstractmethod
    async def panic(self, vm: Hypervisor) -> None:
        """The guest, which obeys and has a PvPanic, panics."""

    @abstractmethod
    async def power_off(self, vm: Hypervisor) -> None:
        """The guest, which obeys, switches its machine off."""


class FakeDriver(Driver):
    """Machines in memory."""

    name = "fake"

    @override
    def create(self, *, obeys: bool = False, **changes: Any) -> FakeVm:
        return FakeVm(self.config(obeys, **changes), Script(unplug="accept" if obeys else "ignore", memory=0))

    @override
    async def panic(self, vm: Hypervisor) -> None:
        assert isinstance(vm, FakeVm)
        vm.panics("told to")

    @override
    async def power_off(self, vm: Hypervisor) -> None:
        assert isinstance(vm, FakeVm)
        vm.powers_off()


class QemuDriver(Driver):
    """Machines on a real QEMU."""

    name = "qemu"

    def __init__(self, folder: Path, binary: QemuBinary) -> None:
        super().__init__(folder)
        self.binary = binary

    @override
    def create(self, *, obeys: bool = False, **changes: Any) -> QemuVm:
        return QemuVm(self.binary, self.config(obeys, **changes))

    @override
    async def panic(self, vm: Hypervisor) -> None:
        await self._type(vm, b"p")

    @override
    async def power_off(self, vm: Hypervisor) -> None:
        await self._type(vm, b"o")

    async def _type(self, vm: Hypervisor, what: bytes) -> None:
        """Type into the console and wait for the echo, since the kernel reads only once the firmware has run."""
        assert isinstance(vm, QemuVm)
        loop = asyncio.get_running_loop()
        with vm.attach_console() as console:
            await loop.sock_sendall(console, what)
            while what not in await loop.sock_recv(console, 4096):
                pass
