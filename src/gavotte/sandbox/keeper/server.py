"""The keeper: owns one detached sandbox, its command's log and its entry in the register, and answers clients."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import io
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from gavotte.compat import override
from gavotte.errors import Bug, GavotteError, GuestError, UsageError
from gavotte.guest.agent import STDERR, STDOUT
from gavotte.guest.command import AsyncProcess, OutputStream

# Imported late elsewhere; here before Gavotte is upgraded while the keeper runs, and what is on disk fits it no more.
from gavotte.hypervisor.qemu import dump  # noqa: F401
from gavotte.hypervisor.qemu.migration import file  # noqa: F401
from gavotte.hypervisor.qemu.operations import inspect, reset, resize  # noqa: F401
from gavotte.hypervisor.qemu.takeover import attach  # noqa: F401
from gavotte.qemu.pids import ProcessId
from gavotte.sandbox import register
from gavotte.sandbox.keeper.client import directory_fd
from gavotte.sandbox.keeper.connection import Connection
from gavotte.sandbox.keeper.log import BoundedLog, CommandLog
from gavotte.sandbox.keeper.operations import OPERATIONS
from gavotte.sandbox.keeper.session import hang_up
from gavotte.sandbox.keeper.watch import EntryWatch
from gavotte.sandbox.keeper.wire import Malformed
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.register import Entry
from gavotte.sandbox.store import REGISTER, UNFINISHED, RunDirectory, run_root

__all__ = ["Keeper", "keep"]

_COMMAND_LOG = 8 << 20  # bytes of each of its two files
_KEEPER_LOG = 256 << 10
_FAREWELL = 5.0  # seconds that clients may take to read what became of it


def keep(name: str, fd: int) -> None:
    """Keep sandbox `name` to its end. The client behind `fd` says how it is to begin, and hears how that went."""
    asyncio.run(_keep(name, socket.socket(fileno=fd)))


async def _keep(name: str, sock: socket.socket) -> None:
    connection = await Connection.over(sock)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(connection.close)
        try:
            request = await connection.request()
            keeper = Keeper(run_root() / name)
            begin = {"start": keeper.start, "attach": keeper.attach}.get(request["op"])
            if begin is None:
                raise UsageError(f"a new keeper can't {request['op']!r}")
            with _notes_to(connection):
                await connection.answer(begin(request))
        except GavotteError as error:
            await connection.refuse(error)
            return
        except (EOFError, Malformed, TimeoutError, KeyError):
            return
        except Exception as error:
            await connection.refuse(Bug(f"the keeper of {name} failed: {error!r}"))
            raise
    await keeper.run()


class Keeper:
    """One detached sandbox, from its start to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stopping = asyncio.Event()
        self.force = asyncio.Event()
        self.over = asyncio.Event()
        self._gone = asyncio.Event()  # its entry in the register is
        self._grace = 0.0  # seconds that its commands have, once it is told to stop
        self._stack = AsyncExitStack()
        self._directory: RunDirectory | None = None
        self._box: AsyncSandbox | None = None
        self._entry: Entry | None = None
        self._command: AsyncProcess | None = None
        self._ended = False  # the command, while there was no keeper
        self._log = CommandLog(path / register.COMMAND_LOG, _COMMAND_LOG)
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def box(self) -> AsyncSandbox:
        if self._box is None:
            raise Bug("this keeper has no sandbox yet")
        return self._box

    @property
    def entry(self) -> Entry:
        if self._entry is None:
            raise Bug("this keeper has no entry yet")
        return self._entry

    # --- the beginning ------------------------------------------------------------------------------------------------

    async def start(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start the sandbox and its command. Nothing is left when that fails."""
        async with AsyncExitStack() as undo:
            self._directory = register.claim(self.path)
            undo.callback(self._directory.close)
            (self.path / UNFINISHED).touch()
            self._entry = Entry.new(
                self.path,
                request["argv"],
                request["summary"],
                remove=request["remove"],
                stop_signal=request.get("stop_signal", signal.SIGTERM),
            )
            self.entry.write()
            undo.callback((self.path / REGISTER).unlink)  # else the directory would stay, for its sake
            _complain_to(self.path / register.KEEPER_LOG)
            box = self._box = AsyncSandbox(**request["options"], name=self.path.name, keep=True)
            await box.start(directory=self._directory, sealed=False)
            undo.push_async_callback(box.close)
            self.entry.qemu = ProcessId.of(box.vm.process.pid)
            if request["argv"]:
                self._log.begin()
                self._command = await box.spawn(request["argv"], **request["command"], retain=True)
                self.entry.channel = self._command.number
            await self._listen()
            self.entry.state = register.RUNNING
            self.entry.write()
            (self.path / UNFINISHED).unlink()
            undo.pop_all()
        facts = {"accel": box.accel, "reason": box.accel_reason, "phases": box.phases, "root_size": box.root_size}
        return {"name": box.name, **facts, "template": box.template, "cold_reason": box.cold_reason}

    async def attach(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Take over from a keeper that died. The machine is left as it is when that fails."""
        self._entry = Entry.read(self.path)
        async with AsyncExitStack() as undo:
            self._directory = RunDirectory.attach(self.path)
            undo.callback(self._directory.leave)
            _complain_to(self.path / register.KEEPER_LOG)
            stored = {}
            if self.entry.channel is not None and self._log.recover():
                stored[self.entry.channel] = (self._log.stored[STDOUT], self._log.stored[STDERR])
            box = self._box = await AsyncSandbox.attach(self.path.name, directory=self._directory, stored=stored)
            undo.push_async_callback(box.detach)
            self._find_command(box)
            await self._listen()
            self.entry.keeper = ProcessId.of(os.getpid())
            self.entry.write()
            undo.pop_all()
        return {}

    def _find_command(self, box: AsyncSandbox) -> None:
        """The sandbox's own command, or how it ended; the clients of all others went with the old keeper."""
        for number, process in box.adopted.items():
            if number == self.entry.channel:
                self._command = process
                self._log.go_on({STDOUT: process.stdout.offset, STDERR: process.stderr.offset})
            else:
                task = asyncio.ensure_future(hang_up(process))
                self._clients.add(task)
                task.add_done_callback(self._clients.discard)
        for ended in box.exits:
            if ended.number == self.entry.channel:
                self.entry.status = None if ended.exit is None else ended.exit.status
                self._ended = True

    async def _listen(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        with directory_fd(self.path) as fd:
            path = f"/proc/self/fd/{fd}/{register.SOCKET}"
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108  # a path that lives as long as `fd`
            sock.bind(path)
        server = await asyncio.start_unix_server(self._on_client, sock=sock)
        self._stack.callback(server.close)

    def note_state(self, state: str) -> None:
        """Have the register say so."""
        self.entry.state = state
        self.entry.write()

    def note_size(self, cpus: int, memory: int) -> None:
        """Have the register say so."""
        self.entry.spec |= {"cpus": cpus, "memory": memory}
        self.entry.write()

    def stop(self, *, force: bool, grace: float) -> None:
        """Have it end; `over` is set when it has. Its commands have `grace` seconds for that, unless it is by force."""
        if force:
            self.force.set()
        elif not self.stopping.is_set():
            self._grace = grace
        self.stopping.set()

    # --- its life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until the command or the machine ends, until it is told to, or until its entry has gone."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self.stop(force=False, grace=register.GRACE))
        self._stack.callback(EntryWatch(self.path, self._gone.set).close)
        _give_back_memory()
        command = loop.create_task(self._watch_command())
        stop = loop.create_task(self.stopping.wait())
        gone = loop.create_task(self._gone.wait())
        ends: list[asyncio.Future[Any]] = [command, stop, gone, self.box.vm.ended]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        state, why = register.STOPPED, ""
        if self.box.vm.ended.done() and not self.stopping.is_set():
            state, why = register.DEAD, _reason(await self.box.vm.explain_end())
        elif self.entry.status is not None:
            state = register.EXITED
        for task in (stop, gone):
            task.cancel()
        await self._close(command)
        command.cancel()
        await asyncio.gather(command, stop, gone, return_exceptions=True)
        await self._end(state, why)

    async def _watch_command(self) -> None:
        """The command's output goes to its log, and its status into the register. Without a command: for ever."""
        command = self._command
        if self._ended:
            return
        if command is None:
            await asyncio.get_running_loop().create_future()
            return
        command.unwatch()
        await asyncio.gather(self._copy(STDOUT, command.stdout), self._copy(STDERR, command.stderr))
        await command.wait()
        if command.exit is not None:
            self.entry.status = command.exit.status

    async def _copy(self, kind: int, stream: OutputStream) -> None:
        async for data in stream:
            self._log.write(kind, data)  # before more is asked for: from then on the guest need not have it any more

    async def _close(self, command: asyncio.Future[None]) -> None:
        """End the machine. When the `command` has come to its end, what else runs there has no time of its own."""
        closing = asyncio.ensure_future(self.box.close(grace=self._grace, stop_signal=self.entry.stop_signal))
        force = asyncio.ensure_future(self.force.wait())
        first: list[asyncio.Future[Any]] = [closing, force, command]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        hastened = asyncio.ensure_future(self.box.close())
        rest: list[asyncio.Future[Any]] = [hastened, force]
        await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
        if not hastened.done():
            await self.box.vm.stop(force=True)
        force.cancel()
        await asyncio.gather(closing, hastened)

    async def _end(self, state: str, why: str) -> None:
        self._log.close()
        try:
            if not self._gone.is_set():
                self.entry.end(state, why)
        finally:
            if self.entry.remove and not self._gone.is_set():
                register.remove(self.entry)
            if self._directory is not None:
                self._directory.close()
            self.over.set()
        if self._clients:
            await asyncio.wait(self._clients, timeout=_FAREWELL)
        await self._stack.aclose()

    # --- clients ------------------------------------------------------------------------------------------------------

    async def _on_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        connection = Connection(reader, writer)
        try:
            if connection.uid == os.getuid():
                await self._serve(connection)
        except (EOFError, Malformed, TimeoutError):
            pass  # a client that has gone, or that isn't one
        finally:
            await connection.close()

    async def _serve(self, connection: Connection) -> None:
        try:
            request = await connection.request()
            operation = OPERATIONS.get(request.get("op", ""))
            if operation is None:
                raise UsageError(f"a keeper knows no {request.get('op')!r}")
            await operation(self, connection, request)
        except GavotteError as error:
            await connection.refuse(error)
        except (LookupError, TypeError, ValueError):
            wrong = "the request lacks something, or has it in a form that this keeper doesn't know"
            await connection.refuse(UsageError(wrong, hint="use the Gavotte that started the sandbox"))


def _reason(end: Exception) -> str:
    """Without the end of the console, which is in a log."""
    return end.reason if isinstance(end, GuestError) else str(end)


@contextmanager
def _notes_to(connection: Connection) -> Iterator[None]:
    """What the floors below have to say meanwhile is told to the client, who is there to read it."""

    class Notes(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            connection.post(note=record.getMessage())

    notes = Notes(logging.WARNING)
    log = logging.getLogger("gavotte")
    log.addHandler(notes)
    try:
        yield
    finally:
        log.removeHandler(notes)


def _complain_to(path: Path) -> None:
    """From now on, what Python has to say goes to a log of bounded size."""
    log = BoundedLog(path, _KEEPER_LOG)

    class Stderr(io.TextIOBase):
        @override
        def write(self, text: str) -> int:
            log.write(text.encode(errors="replace"))
            return len(text)

    sys.stderr = Stderr()


def _give_back_memory() -> None:
    """What the start needed, to the host: from here on there is little to do."""
    gc.collect()
    with suppress(OSError, AttributeError):  # a libc without it
        ctypes.CDLL(None).malloc_trim(0)
