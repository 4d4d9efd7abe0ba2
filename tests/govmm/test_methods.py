"""The command of each of govmm's QMP methods, answered by real QEMUs, or checked where the hardware lacks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine, QmpRefused
from gavotte.qemu.check import check_document, check_step
from gavotte.qemu.commands import execute
from gavotte.qemu.props import Step
from gavotte.qmp.client import QmpClient
from tests.support.binaries import BINARIES
from tests.support.govmm import binary_for, placed, running, vm_files
from tests.support.schemas import schema_for
from tools.govmm_table import Method, read_table

TABLE = read_table()


def methods(*, hot: bool) -> list[Any]:
    chosen = [method for method in TABLE.methods if bool(method.hot) == hot and method.command]
    return [pytest.param(method, id=f"{method.govmm}-{method.command}") for method in chosen]


async def say(client: QmpClient, method: Method, folder: Path) -> Any:
    """The answer, or the refusal."""
    fds = [os.open(placed(method.fd, folder), os.O_RDWR)] if method.fd else []
    try:
        quits = method.command == "quit"
        return await execute(client, method.command, placed(method.props, folder), fds=fds, final=quits)
    except QmpRefused as refusal:
        return refusal
    finally:
        for fd in fds:
            os.close(fd)


@cache
def answers(on: str, qemu: Path | None) -> dict[Method, Any]:
    """What one QEMU says to all methods of a machine, in order."""
    said = [method for method in TABLE.methods if method.on == on and method.command and not method.hot]
    binary = binary_for("x86_64", qemu)

    async def main(folder: Path, methods: Sequence[Method]) -> dict[Method, Any]:
        start = "methods" if on == "running" else on
        extra = ["-incoming", "defer"] if on == "incoming" else []
        document = check_document(TABLE.starts[start], schema_for(binary))
        async with running(binary, document, extra) as client:
            return {method: await say(client, method, folder) for method in methods}

    with vm_files() as folder:
        schema_for(binary)
        return asyncio.run(main(folder, said))


@pytest.mark.parametrize("qemu", BINARIES)
@pytest.mark.parametrize("method", methods(hot=False))
def test_a_method_s_command_is_answered(method: Method, qemu: Path | None) -> None:
    answer = answers(method.on, qemu)[method]
    if method.refused:
        assert isinstance(answer, QmpRefused)
        assert method.refused in answer.desc
    else:
        assert not isinstance(answer, QmpRefused), answer


@pytest.mark.parametrize("qemu", BINARIES)
@pytest.mark.parametrize("method", methods(hot=True))
def test_a_method_s_step_is_checked(method: Method, qemu: Path | None) -> None:
    if method.arch != "x86_64" and qemu is not None:
        pytest.skip(f"the newer QEMU is one for x86_64, not {method.arch}")
    schema = schema_for(binary_for(method.arch, qemu))
    kind: Any = method.hot
    check_step(Step(kind, method.props), schema, hot=True)
    with pytest.raises(InvalidMachine, match="no-such"):
        check_step(Step(kind, {**method.props, "no-such": 1}), schema, hot=True)


def test_the_connection_ends_when_it_is_closed_and_qemu_goes_on() -> None:
    """Shutdown, which sends nothing."""

    async def main() -> None:
        async with running(binary_for("x86_64", None), {"machine": {"type": "none"}}) as client:
            await client.close()
            assert client.closed

    asyncio.run(main())
