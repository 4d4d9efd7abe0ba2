"""A guest that starts anew, in a machine for which any other reset is the end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from gavotte.errors import OutcomeUnknown, QemuError
from gavotte.hypervisor.operation_lock import run_shielded
from gavotte.hypervisor.qemu.polling import wait_for_news
from gavotte.qmp.client import Deadline, QmpClient

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.vm import QemuVm

__all__ = ["reset_machine"]

# Their firmware (SeaBIOS) resets the machine once more by itself when it finds that it has run before (HaveRunPost in
# its src/resume.c); in a paused machine that is as late as the guest goes on.
_RESETS_ITSELF: Final = ("x86_64",)
_QUIET: Final = 0.5  # seconds


async def reset_machine(vm: QemuVm) -> None:
    """Reset it; done when that has happened. From then on, as before, a reset by the guest is its end.

    On x86, the guest's first reset after this one is taken for its firmware's, with those that follow at once.
    """
    monitor = vm.monitor
    try:
        with monitor.events("RESET") as resets:
            await _at_reboot(monitor, "reset")
            await monitor.execute("system_reset")
            if await wait_for_news(resets, Deadline.NORMAL) is None and not monitor.closed:
                raise OutcomeUnknown("system_reset", f"nothing was heard of it within {Deadline.NORMAL:g} s")
    except BaseException:
        await run_shielded(_at_reboot(monitor, "shutdown"))
        raise
    if vm.config.arch in _RESETS_ITSELF:
        vm.life.begin(_after_the_firmware(monitor))
    else:
        await _at_reboot(monitor, "shutdown")


async def _after_the_firmware(monitor: QmpClient) -> None:
    """It asks for a reset by one way after the other, until it is heard: these belong together."""
    with suppress(QemuError), monitor.events("RESET") as resets:
        async for event in resets:
            if event.data.get("guest") is True:
                with suppress(TimeoutError, StopAsyncIteration):
                    while True:
                        async with asyncio.timeout(_QUIET):
                            await anext(resets)
                await _at_reboot(monitor, "shutdown")
                return


async def _at_reboot(monitor: QmpClient, action: str) -> None:
    """What the option -no-reboot says is "shutdown" (set-action, QEMU's qapi/run-state.json)."""
    await monitor.execute("set-action", {"reboot": action})
