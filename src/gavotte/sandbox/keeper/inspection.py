"""All that is known of a sandbox that runs, as JSON values."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from gavotte.errors import GavotteError
from gavotte.hypervisor.interface import Health
from gavotte.sandbox.lifecycle import AsyncSandbox

__all__ = ["inspect"]


async def inspect(box: AsyncSandbox) -> dict[str, Any]:
    """Request, health, processes, processors, memory, devices, statistics. What can't be told says why."""
    vm = box.vm
    spec = {name: _plain(value) for name, value in vars(box.spec).items() if name != "devices"}
    health = await vm.check()
    found = {"health": _plain(health), "pids": await _answer(vm.pids)}
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "vcpus": vm.vcpus,
        "memory_use": vm.memory,
        "statistics": vm.statistics,
    }
    for name, ask in asked.items():
        silent = health.health is Health.SILENT  # each would wait for its deadline
        found[name] = {"problem": f"it is silent: {health.why}"} if silent else await _answer(ask)
    return {
        "spec": spec,
        "accel": box.accel,
        "accel_reason": box.accel_reason,
        "root_size": box.root_size,
        "template": box.template,
        "cold_reason": box.cold_reason,
        "directory": None if vm.directory is None else os.fspath(vm.directory),
        "console_log": None if vm.directory is None else os.fspath(vm.directory / "console.log"),
        "devices": {id: _plain(device) for id, device in vm.plugged.items()},
        **found,
    }


async def _answer(ask: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return _plain(await ask())
    except GavotteError as error:
        return {"problem": str(error)}


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if hasattr(value, "__dataclass_fields__"):
        return {"kind": type(value).__name__.lower()} | _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(_plain, value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(getattr(value, "value", value))
