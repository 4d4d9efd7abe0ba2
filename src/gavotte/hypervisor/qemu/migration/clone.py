"""A machine that others are made of, and the others: the state of its devices, without its memory.

Sources: qapi/migration.json (`x-ignore-shared`) and docs/devel/migration of QEMU.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from gavotte.errors import OutcomeUnknown, QemuError, QmpRefused, SaveFailed, UsageError
from gavotte.hypervisor.interface import Ability, VmState
from gavotte.hypervisor.qemu.migration.incoming import IGNORE_SHARED, STATE, switch
from gavotte.hypervisor.qemu.migration.resume import go_on, go_on_after_migration
from gavotte.hypervisor.qemu.polling import growing_pauses, wait_for_news
from gavotte.qmp.client import Deadline, QmpClient

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.vm import QemuVm

__all__ = ["clone_machine", "freeze_machine", "include_memory"]

_MOST: Final = 64 << 20  # bytes of a state, which has some hundred thousand
_PATIENCE: Final = 30.0  # seconds


async def freeze_machine(vm: QemuVm) -> bytes:
    """See `Cloning.freeze`. For a block that has the turn."""
    _check_file(vm, private=False)
    running = vm.state is VmState.RUNNING
    fd = os.memfd_create("state", os.MFD_CLOEXEC)
    try:
        await _save(vm.monitor, fd)
        size = os.fstat(fd).st_size
        if not 0 < size <= _MOST:
            raise SaveFailed(f"the state of {vm.config.name} has {size} bytes, which makes no sense")
        return os.pread(fd, size, 0)
    except BaseException:
        with suppress(QemuError):
            await _undo_save(vm.monitor, running=running)
        raise
    finally:
        os.close(fd)


async def clone_machine(vm: QemuVm, state: bytes, memory: int) -> None:
    """See `Cloning.clone`."""
    async with vm.beginning("clone", Ability.CLONE):
        _check_file(vm, private=True)
        fd = os.memfd_create("state", os.MFD_CLOEXEC)
        try:
            os.pwrite(fd, state, 0)
            await vm.launch(state=fd, incoming="defer")
        finally:
            os.close(fd)
        await _await_load(vm)
        if memory:
            from gavotte.hypervisor.qemu.operations.resize import request_memory  # which most copies do without

            await request_memory(vm.monitor, memory)


async def _await_load(vm: QemuVm) -> None:
    """Return when the state is loaded, and the guest runs. Raises SaveFailed.

    It is asked for: the event may have come before anybody listened.
    """
    monitor = vm.monitor
    with monitor.events("MIGRATION") as events:
        try:
            async with asyncio.timeout(_PATIENCE):
                for pause in growing_pauses(0.001, 0.1):
                    info: Any = await monitor.execute("query-migrate")
                    if info.get("status") == "failed":
                        raise SaveFailed(_why_failed(info))
                    if info.get("status") == "completed":
                        break
                    await wait_for_news(events, pause)
        except TimeoutError:
            raise SaveFailed(f"QEMU didn't load the state within {_PATIENCE:g} s") from None
    if vm.state is not VmState.RUNNING:  # it was frozen while it was paused
        await go_on(monitor)


async def include_memory(vm: QemuVm) -> None:
    """Have what is saved of it hold its memory too, also when it was cloned from a state that had none."""
    if vm.config.memory_file is not None:
        await vm.monitor.execute("migrate-set-capabilities", switch(IGNORE_SHARED, on=False))


async def _save(monitor: QmpClient, fd: int) -> None:
    """Have QEMU write its state to `fd`, without the memory that is in a file. Raises SaveFailed."""
    await monitor.execute("migrate-set-capabilities", switch("events", IGNORE_SHARED))
    await monitor.execute("getfd", {"fdname": STATE}, fds=[fd])
    await _migrate(monitor)


async def _undo_save(monitor: QmpClient, *, running: bool) -> None:
    await monitor.execute("migrate_cancel", deadline=Deadline.QUICK)
    with suppress(QmpRefused):  # it took the descriptor
        await monitor.execute("closefd", {"fdname": STATE}, deadline=Deadline.QUICK)
    if running:
        await go_on_after_migration(monitor)


async def _migrate(monitor: QmpClient) -> None:
    with monitor.events("MIGRATION") as events:
        try:
            await monitor.execute("migrate", {"uri": f"fd:{STATE}"})
        except QmpRefused as error:
            raise SaveFailed(error.desc, hint="end in the guest what is named there") from error
        try:
            async with asyncio.timeout(_PATIENCE):
                async for event in events:
                    status = event.data.get("status")
                    if status == "completed":
                        return
                    if status in ("failed", "cancelled"):
                        info: Any = await monitor.execute("query-migrate", deadline=Deadline.QUICK)
                        raise SaveFailed(_why_failed(info))
        except TimeoutError:
            raise SaveFailed(f"QEMU didn't save the state within {_PATIENCE:g} s") from None
    raise OutcomeUnknown("migrate", "QEMU has gone")


def _why_failed(info: Any) -> str:
    return f"QEMU failed: {info.get('error-desc', 'it does not say why')}"


def _check_file(vm: QemuVm, *, private: bool) -> None:
    memory = vm.config.memory_file
    if memory is None or memory.fd is None or memory.private is not private:
        what = "a private memory_file, a copy of the template's" if private else "a memory_file, which isn't private"
        raise UsageError(f"{vm.config.name} needs {what}", path="memory_file")
