"""From a machine's configuration to a QEMU process that answers, its guest standing still."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from gavotte.errors import HostError, OutcomeUnknown, QmpNotSent
from gavotte.hypervisor.interface import MemoryFile
from gavotte.hypervisor.qemu.console import Console
from gavotte.hypervisor.qemu.devices.sockets import open_end, output_path
from gavotte.hypervisor.qemu.migration.incoming import STATE, words_to_load
from gavotte.hypervisor.qemu.operations.health import process_words
from gavotte.hypervisor.qemu.operations.plug import wire_plugged
from gavotte.hypervisor.qemu.plan import CONSOLE, MEMORY, MONITOR, Wire, growth_of, plan_machine
from gavotte.qemu.ahead import Ahead, Unlike
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.check import check_document
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.process import QemuProcess, start_process
from gavotte.qemu.props import Json
from gavotte.qemu.schema import Schema, load_schema, schema_of
from gavotte.qemu.sections import Document
from gavotte.qemu.spawn import mark_of
from gavotte.qmp.client import QmpClient
from gavotte.qmp.wire import Words

if TYPE_CHECKING:
    from gavotte.hypervisor.qemu.lifecycle import QemuLifecycle

__all__ = ["can_map_readable", "launch", "no_answer", "schema_in_a_thread"]


async def launch(
    vm: QemuLifecycle, schema: Schema, more: Document, deadline: float, state: int | None
) -> tuple[QemuProcess, QmpClient, Console]:
    """Start the process of `vm` and connect to it; done when QEMU has answered a command, which it does when all
    devices are made. `more` are sections of the machine file beside the planned ones. With `state`, a descriptor, QEMU
    is told to load that and to let the guest run.

    The process is the one that was begun ahead, if that is what would be started now.
    Raises InvalidMachine, HostError, QemuExited, and QmpNotSent when there is no answer within `deadline` seconds.
    """
    if vm.ahead is not None:
        with suppress(Unlike):
            return await _launch(vm, schema, more, deadline, state, vm.ahead)
    return await _launch(vm, schema, more, deadline, state, FdLedger())


async def _launch(
    vm: QemuLifecycle, schema: Schema, more: Document, deadline: float, state: int | None, ledger: FdLedger
) -> tuple[QemuProcess, QmpClient, Console]:
    loop = asyncio.get_running_loop()
    directory = vm.directory if vm.keep else None
    async with AsyncExitStack() as undo:
        undo.enter_context(ledger)
        console, console_map = open_end(CONSOLE, ledger, directory)
        undo.callback(console.close)
        monitor, monitor_map = open_end(MONITOR, ledger, directory)
        undo.callback(monitor.close)
        wires = {CONSOLE: Wire(console_map), MONITOR: Wire(monitor_map)}
        for device in vm.config.devices:
            wire = await vm.wiring.cold(device, ledger)
            if wire is not None:
                wires[device.id] = wire
        if vm.config.memory_file is not None and vm.config.memory_file.fd is not None:
            wires[MEMORY] = _wire_memory(vm.config.memory_file, ledger, schema)
        words = () if state is None else words_to_load(ledger.give(os.dup(state), STATE))
        vm.table = await wire_plugged(vm, ledger)
        plugged = (*vm.table.fixed(), *vm.table.recipe(), *vm.grown)
        planned = plan_machine(vm.config, wires, plugged, growth_of(vm.row, schema))
        document = check_document({**planned, **_waiting(vm), **more}, schema)
        argv = [str(vm.binary.path), *document_to_argv(document)]
        keep = None if directory is None else output_path(directory)
        process = await start_process(argv, ledger, env=mark_of(vm.directory), keep=keep)
        undo.push_async_callback(_end, process)
        log = None if vm.directory is None else vm.directory / "console.log"
        tail = Console(loop, console.detach(), log)
        undo.callback(tail.close)
        client = await _connect(process, monitor, deadline, words, said=isinstance(ledger, Ahead))
        undo.pop_all()
    return process, client, tail


def _wire_memory(memory: MemoryFile, ledger: FdLedger, schema: Schema) -> Wire:
    """The memory's file, opened anew by QEMU through the descriptor that it inherits; so it is that file and no other.

    A private one is opened for reading alone where the binary can do that and still lets the guest write (since 8.2).
    """
    try:
        number = ledger.give(os.dup(memory.fd or 0), MEMORY)
    except OSError as error:
        raise HostError(f"can't lend the memory's file: {error.strerror}", hint="is it still open?") from error
    readable: dict[str, Json] = {"readonly": True, "rom": "off"}
    sealed = memory.private and can_map_readable(schema)
    return Wire({"mem-path": f"/proc/self/fd/{number}", **(readable if sealed else {})})


def can_map_readable(schema: Schema) -> bool:
    """Whether a private memory file needn't be opened for writing."""
    return "rom" in (schema.object("memory-backend-file") or {})


def _waiting(vm: QemuLifecycle) -> dict[str, Json]:
    """The guest waits until its events are listened to; with a dump to make of it, it waits for that after a panic.

    That is how we start a machine, and no part of what it is: so the plan, which `explain` shows, hasn't it.
    """
    action: dict[str, Json] = {} if vm.config.dump is None else {"action": {"panic": "pause"}}
    return {"S": True, **action}


async def _connect(
    process: QemuProcess, monitor: socket.socket, deadline: float, words: Sequence[Words], *, said: bool
) -> QmpClient:
    """Raises QemuExited with QEMU's own words when it ends before it has answered."""
    try:
        return await QmpClient.connect(
            monitor, deadline=deadline, last_words=process.last_words, opening=words, said=said
        )
    except (QmpNotSent, OutcomeUnknown) as error:
        await process.last_words()  # waits a moment for an end under way
        if process.returncode is not None:
            raise process.exited_error("QEMU ended at its start", hint="its last words above say why") from error
        raise no_answer(process, error) from error


def no_answer(process: QemuProcess, error: QmpNotSent | OutcomeUnknown) -> QmpNotSent:
    """The error for a QEMU that runs, and doesn't answer at its start."""
    return QmpNotSent(
        f"QEMU (pid {process.pid}) doesn't answer at its start: {process_words(process.pid)}; {error}",
        hint="see what holds it, or allow more time",
    )


async def _end(process: QemuProcess) -> None:
    try:
        process.kill()
        await process.stop()
    finally:
        process.close()


def schema_in_a_thread(binary: QemuBinary) -> Schema:
    """The schema of `binary` from its cache; else learnt in a thread that has a loop of its own, and waited for."""
    from concurrent.futures import ThreadPoolExecutor

    known = load_schema(binary)
    if known is not None:
        return known
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(schema_of, binary).result()
