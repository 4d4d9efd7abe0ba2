"""`gavotte run`: a command in a fresh guest, with this process's streams, signals and terminal."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gavotte.errors import CommandTimeout, GuestError, HostError
from gavotte.faces.pumps import StdinReader, StdoutWriter
from gavotte.faces.terminal import closed_streams, is_broken_pipe, is_terminal, raw_mode, say, window_size
from gavotte.guest.command import AsyncProcess, OutputStream
from gavotte.sandbox.headstart import Headstart
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.words import GRACE
from gavotte.text import rough_size
from gavotte.values import dataclass

__all__ = ["RunRequest", "ensure_image", "origin", "run"]

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True)
class RunRequest:
    """What the command line asks for, apart from the sandbox's own options."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None
    user: str | None
    timeout: float | None
    interactive: bool
    tty: bool
    verbose: bool
    quiet: bool


class Interrupted(Exception):
    """A signal ended the run before the command could take it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


def run(request: RunRequest, options: Mapping[str, Any], headstart: Headstart) -> int:
    """Do it; gives the exit status."""
    ensure_image(options, quiet=request.quiet, before=headstart.drop_child)
    try:
        return asyncio.run(_run(request, options, headstart))
    except Interrupted as interrupted:
        return interrupted.exit_code


def ensure_image(options: Mapping[str, Any], *, quiet: bool = False, before: Callable[[], None] = lambda: None) -> None:
    """Build the first image here, in the main thread, where a signal ends it; in a thread of the loop it would not.
    `before` is called if there is one to be built."""
    from gavotte.guest.image import find_image
    from gavotte.sandbox.spec import make_spec

    spec = make_spec(**options)
    if find_image(spec.arch) is None:
        from gavotte.faces.progress import Progress
        from gavotte.qemu.binary import find_qemu
        from gavotte.sandbox.images import build_image

        before()
        find_qemu(spec.arch, spec.qemu)  # what can't work is told before a minute's work
        with Progress(quiet=quiet) as progress:
            build_image(spec.arch, qemu=spec.qemu, progress=progress)


async def _run(request: RunRequest, options: Mapping[str, Any], headstart: Headstart) -> int:
    box = AsyncSandbox(**options)
    with Signals() as signals:
        try:
            await signals.guard(_start(box, request, headstart))
            status: int = await signals.guard(_command(box, request, signals))
            return status
        finally:
            await box.close()
            if request.verbose:
                for line in box.console.splitlines():
                    say(f"console: {line}")


async def _start(box: AsyncSandbox, request: RunRequest, headstart: Headstart) -> None:
    await box.start(sealed=False, headstart=headstart)
    if request.verbose:
        for name, seconds in box.phases:
            say(f"{name}: {seconds * 1000:.0f} ms")
        say(f"on {box.accel}: {box.accel_reason}; {rough_size(box.root_size)} of writable root")
        say(origin(box.template, box.cold_reason))


def origin(template: str, cold_reason: str) -> str:
    """What a sandbox is made from, in words."""
    return f"a copy of the template {template}" if template else f"booted: {cold_reason}"


async def _command(box: AsyncSandbox, request: RunRequest, signals: Signals) -> int:
    # A terminal's input belongs to the shell that started us, unless it was asked for
    closed = closed_streams()
    stdin = request.tty or (0 not in closed and (request.interactive or not is_terminal(0)))
    process = await box.spawn(
        request.argv,
        env=request.env,
        cwd=request.cwd,
        user=request.user,
        stdin=stdin,
        tty=window_size() if request.tty else None,
        closed=closed,
    )
    with raw_mode(0) if request.tty else _nothing():
        async with process:
            signals.attach(process, request.tty)
            try:
                async with asyncio.timeout(request.timeout):
                    return await _stream(process, stdin)
            except TimeoutError:
                raise CommandTimeout(
                    f"{request.argv[0]!r} was ended after {request.timeout:g} s", hint="give it more time (--timeout)"
                ) from None


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


async def _stream(process: AsyncProcess, stdin: bool) -> int:
    try:
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(process)) if stdin else None
            out = group.create_task(_drain(process.stdout, 1, "stdout"))
            err = group.create_task(_drain(process.stderr, 2, "stderr"))
            await asyncio.wait((out, err))
            await process.wait()
            if feeding is not None:
                feeding.cancel()
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    exit = process.exit
    if exit is None:
        raise HostError("the command's end was not seen")
    if exit.oom_kills:
        say(f"note: the guest killed {exit.oom_kills} processes of the command for want of memory; see --memory")
    if exit.forks_denied:
        say(f"note: the guest denied the command {exit.forks_denied} new processes: it had too many")
    return exit.status


async def _feed(process: AsyncProcess) -> None:
    reader = StdinReader(0)
    if process.stdin is None:
        return
    try:
        while data := await reader.read():
            await process.stdin.write(data)
        await process.stdin.close()
    except (BrokenPipeError, GuestError):
        pass  # the command reads no more, or the guest has gone: the command's end tells why


async def _drain(stream: OutputStream, fd: int, name: str) -> None:
    writer = StdoutWriter(fd)
    try:
        async for chunk in stream:
            await writer.write(chunk)
    except OSError as error:
        if error.errno == errno.EBADF:  # it was closed from the start: a terminal's output is for nobody
            async for _ in stream:
                pass
        elif not is_broken_pipe(error):
            raise HostError(f"can't write to {name}: {error.strerror}") from error
        await stream.close()  # the command gets SIGPIPE, as it would here


class Signals:
    """SIGINT, SIGTERM, SIGHUP, SIGQUIT: before the command runs they end the run, then the first is the command's.

    A second one, of whichever kind, ends the machine: the command may not heed the first. After SIGTERM, so does GRACE.
    """

    def __init__(self) -> None:
        self._process: AsyncProcess | None = None
        self._guarded: asyncio.Future[Any] | None = None
        self._ending = 0
        self._forwarded = False
        self._patience: asyncio.TimerHandle | None = None
        self._sent: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Signals:
        loop = asyncio.get_running_loop()
        for number in _FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is respected
                loop.add_signal_handler(number, self._on_signal, number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (*_FORWARDED, signal.SIGWINCH):
            loop.remove_signal_handler(number)
        if self._patience is not None:
            self._patience.cancel()

    def attach(self, process: AsyncProcess, tty: bool) -> None:
        """From now on the signals are this command's, and with a terminal its window is ours."""
        self._process = process
        if tty:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGWINCH, lambda: self._do(process.resize(*window_size()))
            )

    async def guard(self, work: Any) -> Any:
        """Await `work`; a signal that ends the run cancels it and raises Interrupted."""
        self._guarded = asyncio.ensure_future(work)
        try:
            return await self._guarded
        except asyncio.CancelledError:
            if self._ending:
                raise Interrupted(self._ending) from None
            raise
        finally:
            if not self._guarded.done():
                self._guarded.cancel()

    def _on_signal(self, number: int) -> None:
        if self._process is None or self._forwarded:
            self._give_up(number)
            return
        self._forwarded = True
        self._do(self._process.send_signal(number))
        if number == signal.SIGTERM:
            self._patience = asyncio.get_running_loop().call_later(GRACE, self._give_up, number)

    def _give_up(self, number: int) -> None:
        self._ending = number
        if self._guarded is not None:
            self._guarded.cancel()

    def _do(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._sent.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._sent.discard(task)
        if not task.cancelled():
            task.exception()  # a signal that can't be delivered: the command's end tells why
