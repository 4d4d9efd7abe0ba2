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
    from gavotte.faces.api import Process, Sandbox
    from gavotte.guest.command import AsyncProcess
    from gavotte.sandbox.lifecycle import AsyncSandbox, Result, State

__version__ = "0.1.0"

# Imported when first used: asyncio and all that needs it cost a short command 40 ms
_HOMES = {
    "AsyncProcess": "gavotte.guest.command",
    "AsyncSandbox": "gavotte.sandbox.lifecycle",
    "Process": "gavotte.faces.api",
    "Result": "gavotte.sandbox.lifecycle",
    "Sandbox": "gavotte.faces.api",
    "State": "gavotte.sandbox.lifecycle",
}

__all__ = ["AsyncProcess", "AsyncSandbox", "Process", "Result", "Sandbox", "State"]
__all__ += errors.__all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
