"""How a machine is: asked of QEMU, and where QEMU doesn't answer, of what it still does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gavotte.errors import QemuError, StateError
from gavotte.hypervisor.interface import Checked, Health, VmState
from gavotte.qemu.pids import process_state
from gavotte.qmp.client import QmpClient

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.vm import QemuVm

__all__ = ["check_health", "process_words"]

_ANSWER = 1.0  # seconds
_SHORT = ("pause", "resume", "reset")  # changes that don't keep QEMU from answering; others may

_STATES = {"T": "is stopped by a signal", "t": "is stopped by a debugger", "Z": "has ended", "D": "waits for a disk"}


async def check_health(vm: QemuVm) -> Checked:
    """What `check` gives, within 2.5 seconds."""
    if vm.state is VmState.CREATED:
        raise StateError(f"{vm.config.name} is created", hint="start it first")
    if vm.ended.done():
        return Checked(Health.DEAD, str(await vm.explain_end()))
    if vm.state is VmState.STARTING:
        return Checked(Health.PAUSED, "it is being started")
    monitor = vm.monitor
    try:
        status: Any = await monitor.execute("query-status", deadline=_ANSWER)
    except QemuError:
        return await _look_closer(vm, monitor)
    return _from_status(str(status["status"]))


def process_words(pid: int) -> str:
    """What the kernel says of a process that doesn't answer (proc(5), the state in /proc/PID/stat)."""
    state = process_state(pid)
    return f"its process {_STATES.get(state, 'runs')} (state {state})" if state else "its process has ended"


def _from_status(status: str) -> Checked:
    match status:
        case "running":
            return Checked(Health.RUNNING)
        case "guest-panicked":
            return Checked(Health.PANICKED, "the guest's kernel reported a panic")
        case "internal-error":
            return Checked(Health.PAUSED, "the accelerator gave up (internal-error): reset it")
    return Checked(Health.PAUSED, "" if status in ("paused", "prelaunch") else f"QEMU's run state is {status}")


async def _look_closer(vm: QemuVm, monitor: QmpClient) -> Checked:
    """No answer came in time: has it ended, is it stopped, is its main loop stuck, or is it merely busy for us?"""
    if monitor.closed and await vm.wait(_ANSWER):
        return Checked(Health.DEAD, str(await vm.explain_end()))
    words = process_words(vm.process.pid)
    try:
        await monitor.execute("query-yank", oob=True, deadline=_ANSWER)
    except QemuError:
        return Checked(Health.SILENT, f"QEMU answers nothing; {words}")
    if (what := vm.lock.operation) and what not in _SHORT:
        known = Health.RUNNING if vm.state is VmState.RUNNING else Health.PAUSED
        return Checked(known, f"QEMU is busy: {what} is under way")
    return Checked(Health.SILENT, "QEMU's main loop is stuck: it answers out-of-band commands only")
