"""Machines for plugging into, without a guest of any size; what QEMU has; and a hand between its commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec
from unittest.mock import patch

from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import QemuBinary, find_qemu
from gavotte.qmp.client import QmpClient
from tests.support.programs import DEADLINE
from tests.support.tiny_kernel import OBEYS, write_kernel

__all__ = ["between_commands", "create", "inventory", "on_a_loop", "running"]

P = ParamSpec("P")

# What a plug says beside the steps: questions, which change nothing.
_QUESTIONS = ("qom-list", "query-named-block-nodes", "query-chardev", "query-fdsets")


def on_a_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """A test that is a coroutine."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def within_deadline() -> None:
            async with asyncio.timeout(6 * DEADLINE):
                await test(*args, **kwargs)

        asyncio.run(within_deadline())

    return run


def create(folder: Path, *, guest: str = OBEYS, binary: QemuBinary | None = None, **changes: Any) -> QemuVm:
    """A small q35 with four slots, not started. Its guest lets devices go, or does what else is given."""
    values: dict[str, Any] = {
        "name": "box",
        "arch": "x86_64",
        "machine": "q35",
        "accel": "tcg",
        "vcpus": 1,
        "memory": 64 << 20,
        "kernel": write_kernel(folder, guest) if guest else folder / "kernel",
        "initrd": None,
        "append": "",
        "slots": 4,
    }
    return QemuVm(binary or find_qemu("x86_64"), MachineConfig(**{**values, **changes}))


@asynccontextmanager
async def running(folder: Path, **changes: Any) -> AsyncIterator[QemuVm]:
    """A machine of `create` that runs."""
    vm = create(folder, **changes)
    try:
        await vm.start()
        yield vm
    finally:
        await vm.cleanup()


async def inventory(client: QmpClient) -> dict[str, set[str]]:
    """All that QEMU has of each kind, by name."""

    async def listed(command: str, key: str, **arguments: Any) -> set[str]:
        listing: Any = await client.execute(command, arguments)
        return {str(entry[key]) for entry in listing}

    networks: Any = await client.execute("human-monitor-command", {"command-line": "info network"})
    return {
        "device": await listed("qom-list", "name", path="/machine/peripheral"),
        "object": await listed("qom-list", "name", path="/objects"),
        "unnamed": await listed("qom-list", "name", path="/machine/peripheral-anon"),
        "chardev": await listed("query-chardev", "label"),
        "blockdev": await listed("query-named-block-nodes", "node-name", flat=True),
        "fdset": await listed("query-fdsets", "fdset-id"),
        "network": set(networks.splitlines()),
    }


@contextmanager
def between_commands(act: Callable[[int, str, bool], Awaitable[None] | None]) -> Iterator[list[str]]:
    """Calls `act(number, command, answered)` before each command that QEMU is sent, and after its answer.

    Gives the commands so far. Questions aren't counted."""
    real = QmpClient.execute
    sent: list[str] = []

    async def execute(client: QmpClient, command: str, *args: Any, **options: Any) -> Any:
        if command in _QUESTIONS:
            return await real(client, command, *args, **options)
        number = len(sent)
        sent.append(command)
        if waiting := act(number, command, False):
            await waiting
        answer = await real(client, command, *args, **options)
        if waiting := act(number, command, True):
            await waiting
        return answer

    with patch.object(QmpClient, "execute", execute):
        yield sent
