"""A sandbox: a machine of its own for commands, from `start` to `close`."""

from __future__ import annotations

import asyncio
import enum
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from gavotte.errors import CommandFailed, CommandTimeout, ForeignProcess, GuestError, StateError, UsageError
from gavotte.guest.channel import Channel
from gavotte.guest.command import AsyncProcess, OutputStream
from gavotte.guest.image import Image, find_image
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from gavotte.sandbox.accel import choose_accel
from gavotte.sandbox.boot import ROOT_SERIAL, Artifacts, machine_config, start_machine
from gavotte.sandbox.spec import Spec, check_argv, check_env, make_spec
from gavotte.sandbox.store import RunDirectory, sweep

__all__ = ["AsyncSandbox", "Result", "State"]

MAX_OUTPUT = 256 << 20  # bytes that `run` keeps of each stream unless told otherwise
_SYNC_DEADLINE = 3.0


class State(enum.Enum):
    """Where a sandbox is in its life. It goes through these in order and never back."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    CLOSED = "closed"


@dataclass(frozen=True)
class Result:
    """A finished command. `returncode` as in `subprocess`: -n when signal n ended it."""

    argv: list[str]
    returncode: int
    stdout: bytes
    stderr: bytes
    oom_kills: int = 0
    forks_denied: int = 0

    def check(self) -> Result:
        """Itself when the command succeeded. Raises CommandFailed otherwise."""
        if self.returncode:
            ended = (
                f"ended with status {self.returncode}" if self.returncode > 0 else f"died of signal {-self.returncode}"
            )
            oom = f", {self.oom_kills} processes killed for want of memory" if self.oom_kills else ""
            tail = self.stderr.decode(errors="replace").strip()[-500:]
            raise CommandFailed(
                f"{self.argv[0]!r} {ended}{oom}{': ' + tail if tail else ''}",
                returncode=self.returncode,
                stdout=self.stdout,
                stderr=self.stderr,
            )
        return self


class AsyncSandbox:
    """A virtual machine to run commands in. Nothing of the host is in it.

        async with AsyncSandbox(memory="256M", cpus=2) as box:
            result = await box.run(["python3", "-c", "print(6*7)"], timeout=30)

    `memory` is a size (256M, 2G) or a number of bytes; `accel` is auto, kvm or tcg; `kernel`, `initrd`, `append`
    and `qemu` replace or extend what Gavotte brings. Bad values raise UsageError or HostError at once.
    """

    def __init__(self, **options: Any) -> None:
        self.spec = make_spec(**options)
        self.name = f"gavotte-{secrets.token_hex(4)}"
        self.state = State.NEW
        self.accel = ""  # what it runs on, and why; known when it has started
        self.accel_reason = ""
        self.root_size = 0  # bytes that can be written to its root
        self.phases: list[tuple[str, float]] = []  # what its start spent time on, in seconds
        self._maker = os.getpid()
        self._stack = AsyncExitStack()
        self._vm: QemuVm | None = None
        self._channel: Channel | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        pid = f" pid={self._vm.process.pid}" if self._vm and self.state is State.RUNNING else ""
        return f"<{type(self).__name__} {self.name} {self.state.name}{pid}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # life

    async def start(self) -> None:
        """Boot the guest; returns when it can run commands. Builds the guest image first if there is none, and says so
        in the log.

        Raises HostError (QEMU, image, memory), GuestSilent, GuestDied, QemuExited; nothing is left then.
        """
        self.check_owner()
        if self.state is not State.NEW:
            raise StateError(f"{self.name} is {self.state.value}; a sandbox is started once: make another")
        self.state = State.STARTING
        self._starting = asyncio.get_running_loop().create_task(self._start())
        try:
            await self._starting
        except BaseException as error:
            closed = self._closing is not None
            await self.close()
            if closed and isinstance(error, asyncio.CancelledError):
                raise StateError(f"{self.name} was closed while it started; make another") from None
            raise
        self.state = State.RUNNING

    async def _start(self) -> None:
        with self._phase("sweep"):
            sweep()
        with self._phase("image"):
            binary = find_qemu(self.spec.arch, self.spec.qemu)
            files = await self._files()
        with self._phase("accelerator"):
            choice = await choose_accel(binary, self.spec, files)
            self.accel, self.accel_reason = choice.accel, choice.why
        self._stack.enter_context(RunDirectory(self.name))
        with self._phase("boot"):
            config = machine_config(self.name, self.spec, self.accel, files)
            self._vm, self._channel = await start_machine(binary, config, self.spec.boot_timeout)
            self._stack.push_async_callback(self._stop)
        with self._phase("setup"):
            root = {"serial": ROOT_SERIAL, "fstype": "squashfs"}
            reply = await self._channel.request("setup", root=root, hostname=self.name, time=time.time())
            self.root_size = int(reply["root_size"])

    async def _files(self) -> Artifacts:
        """What the guest is made of: the current image of its architecture, built if there is none."""
        return artifacts(find_image(self.spec.arch) or await _build(self.spec))

    async def close(self) -> None:
        """End the guest with all that runs in it, and free everything. Idempotent; concurrent calls share the work."""
        self.check_owner()
        if self._closing is None:
            self.state = State.CLOSED
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self._stack.aclose()

    async def _stop(self) -> None:
        vm, channel = self._vm, self._channel
        if vm is None or channel is None:
            return

        async def sync() -> None:
            await channel.request("sync", deadline=_SYNC_DEADLINE)
            await vm.quit()

        polite = [("agent", sync, _SYNC_DEADLINE)] if channel.ended is None else []
        try:
            await vm.stop(polite)
        finally:
            await channel.close()

    @property
    def console(self) -> str:
        """The last of what the guest wrote to its console."""
        return self._vm.console if self._vm else ""

    def _phase(self, name: str) -> _Phase:
        return _Phase(self.phases, name)

    # commands

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        tty: tuple[int, int] | None = None,
    ) -> AsyncProcess:
        """Start a command; gives it as soon as it runs. Its output must be read, or it waits when a window is full.

        `env` is added to what a login would set; `cwd` defaults to the user's home; `user` is NAME, UID, NAME:GROUP
        or UID:GID and defaults to root; `tty` gives it a terminal of (rows, columns) instead of three pipes.
        Raises CommandNotStarted, UsageError, StateError, GuestError.
        """
        channel = self._running()
        return await channel.spawn(
            check_argv(argv),
            env=check_env(env),
            cwd=cwd or "",
            user=str(user if user not in (None, "") else 0),
            stdin=stdin or tty is not None,
            tty=tty,
        )

    async def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
    ) -> Result:
        """Run a command to its end and give its output. Options as for `spawn`.

        Raises CommandTimeout after `timeout` seconds, when the command and all it started have been ended;
        GuestError when it writes more than `max_output` bytes to one stream.
        """
        if timeout is not None and not timeout > 0:
            raise UsageError(f"{timeout!r} is not a number of seconds above 0", path="timeout")
        out, err = bytearray(), bytearray()
        try:
            async with asyncio.timeout(timeout):
                process = await self.spawn(argv, stdin=input is not None, env=env, cwd=cwd, user=user)
                async with process:  # leaving it ends the command, also at the deadline
                    async with asyncio.TaskGroup() as group:
                        group.create_task(_collect(process.stdout, out, max_output))
                        group.create_task(_collect(process.stderr, err, max_output))
                        if input is not None:
                            group.create_task(feed(process, input))
                    await process.wait()
        except TimeoutError:
            raise CommandTimeout(
                f"{argv[0]!r} was ended after {timeout:g} s",
                stdout=bytes(out),
                stderr=bytes(err),
                hint="give it more time (timeout)",
            ) from None
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        exit = process.exit
        if exit is None:
            raise GuestError("the command's end was not seen")
        return Result(process.argv, exit.returncode, bytes(out), bytes(err), exit.oom_kills, exit.forks_denied)

    # guards

    def is_ours(self) -> bool:
        """Whether this process made it."""
        return os.getpid() == self._maker

    def check_owner(self) -> None:
        """Raises ForeignProcess in a process that didn't make this sandbox, such as a forked child."""
        if not self.is_ours():
            raise ForeignProcess(
                f"{self.name} belongs to process {self._maker}; this is {os.getpid()}, forked from it",
                hint="make a sandbox in each process that uses one",
            )

    def _running(self) -> Channel:
        self.check_owner()
        if self.state is not State.RUNNING or self._channel is None:
            way = {State.NEW: "start it first", State.STARTING: "wait for start() to return"}
            raise StateError(f"{self.name} is {self.state.value}; {way.get(self.state, 'make another')}")
        return self._channel


class _Phase:
    """Times one phase of a start."""

    def __init__(self, phases: list[tuple[str, float]], name: str) -> None:
        self._phases, self._name = phases, name
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._phases.append((self._name, time.monotonic() - self._began))


def artifacts(image: Image) -> Artifacts:
    """An image's files as what a guest is made of."""
    return Artifacts(kernel=image.kernel, initrd=image.initrd, rootfs=image.rootfs)


async def _build(spec: Spec) -> Image:
    import logging

    from gavotte.sandbox.images import build_image  # which makes sandboxes itself

    log = logging.getLogger("gavotte")
    log.warning("building the guest image for %s: needed once, takes a minute or more", spec.arch)

    def progress(phase: str, _fraction: float | None) -> None:
        log.info("%s", phase)

    return await asyncio.to_thread(build_image, spec.arch, qemu=spec.qemu, progress=progress)


async def _collect(stream: OutputStream, into: bytearray, limit: int) -> None:
    async for chunk in stream:
        into += chunk
        if len(into) > limit:
            raise GuestError(
                f"the command wrote more than {limit} bytes", hint="raise max_output, or use spawn and read as it comes"
            )


async def feed(process: AsyncProcess, data: bytes) -> None:
    """Give a command all of its input. That it doesn't want it all is no error, as in `subprocess`."""
    if process.stdin is None:
        return
    try:
        await process.stdin.write(data)
    except BrokenPipeError:
        pass
    await process.stdin.close()
