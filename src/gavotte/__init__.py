"""Gavotte runs commands, programs and containers each in a virtual machine of their own, on QEMU.

    import gavotte

    with gavotte.Sandbox(memory="256M", cpus=2) as box:
        result = box.run(["python3", "-c", "print(6*7)"], timeout=30)

`gavotte` is the only name that promises anything; the packages below it move with their consumers here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gavotte import errors
from gavotte.errors import *  # noqa: F403  # the tree of errors is public, whole

if TYPE_CHECKING:
    from gavotte.faces.api import Sandbox
    from gavotte.faces.executor import Executor
    from gavotte.faces.mapping import map
    from gavotte.faces.pool import Pool
    from gavotte.faces.process import Process, Reader, Writer
    from gavotte.guest.command import AsyncProcess, InputStream, OutputStream
    from gavotte.hypervisor.devices import (
        Balloon,
        Console,
        Disk,
        Nic,
        Passt,
        Port,
        PvPanic,
        Raw,
        Rng,
        Share,
        Stream,
        Tap,
        Throttle,
        User,
        VmGenId,
        Vsock,
        Watchdog,
    )
    from gavotte.qemu.props import Step
    from gavotte.sandbox.growth import Size
    from gavotte.sandbox.lifecycle import AsyncSandbox, State
    from gavotte.sandbox.options import CallOptions, CommandOptions, MachineOptions, SandboxOptions
    from gavotte.sandbox.pool import AsyncPool
    from gavotte.sandbox.result import Result

__version__ = "0.1.0"

# Imported when first used: asyncio and all that needs it cost a short command 40 ms
_HOMES = {
    "AsyncPool": "gavotte.sandbox.pool",
    "AsyncProcess": "gavotte.guest.command",
    "AsyncSandbox": "gavotte.sandbox.lifecycle",
    "Balloon": "gavotte.hypervisor.devices",
    "CallOptions": "gavotte.sandbox.options",
    "CommandOptions": "gavotte.sandbox.options",
    "Console": "gavotte.hypervisor.devices",
    "Disk": "gavotte.hypervisor.devices",
    "Executor": "gavotte.faces.executor",
    "InputStream": "gavotte.guest.command",
    "MachineOptions": "gavotte.sandbox.options",
    "Nic": "gavotte.hypervisor.devices",
    "OutputStream": "gavotte.guest.command",
    "Passt": "gavotte.hypervisor.devices",
    "Pool": "gavotte.faces.pool",
    "Port": "gavotte.hypervisor.devices",
    "Process": "gavotte.faces.process",
    "PvPanic": "gavotte.hypervisor.devices",
    "Raw": "gavotte.hypervisor.devices",
    "Reader": "gavotte.faces.process",
    "Result": "gavotte.sandbox.result",
    "Rng": "gavotte.hypervisor.devices",
    "Sandbox": "gavotte.faces.api",
    "SandboxOptions": "gavotte.sandbox.options",
    "Share": "gavotte.hypervisor.devices",
    "Size": "gavotte.sandbox.growth",
    "State": "gavotte.sandbox.lifecycle",
    "Step": "gavotte.qemu.props",
    "Stream": "gavotte.hypervisor.devices",
    "Tap": "gavotte.hypervisor.devices",
    "Throttle": "gavotte.hypervisor.devices",
    "User": "gavotte.hypervisor.devices",
    "VmGenId": "gavotte.hypervisor.devices",
    "Vsock": "gavotte.hypervisor.devices",
    "Watchdog": "gavotte.hypervisor.devices",
    "Writer": "gavotte.faces.process",
    "map": "gavotte.faces.mapping",
}

__all__ = [
    "AsyncPool",
    "AsyncProcess",
    "AsyncSandbox",
    "Balloon",
    "CallOptions",
    "CommandOptions",
    "Console",
    "Disk",
    "Executor",
    "InputStream",
    "MachineOptions",
    "Nic",
    "OutputStream",
    "Passt",
    "Pool",
    "Port",
    "Process",
    "PvPanic",
    "Raw",
    "Reader",
    "Result",
    "Rng",
    "Sandbox",
    "SandboxOptions",
    "Share",
    "Size",
    "State",
    "Step",
    "Stream",
    "Tap",
    "Throttle",
    "User",
    "VmGenId",
    "Vsock",
    "Watchdog",
    "Writer",
    "map",
]
__all__ += errors.__all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
