"""The synchronous API: the same names as the asynchronous one, run on a private loop."""

from __future__ import annotations

import atexit
import signal
import warnings
import weakref
from collections.abc import Sequence
from typing import Literal, Self, Unpack, overload

from gavotte.arguments import BytesLike, StrPath
from gavotte.compat import override
from gavotte.faces.loop import begin, call
from gavotte.faces.process import Process, Writer
from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.sandbox.growth import Size
from gavotte.sandbox.lifecycle import AsyncSandbox, State
from gavotte.sandbox.options import CommandOptions, SandboxOptions
from gavotte.sandbox.result import MAX_OUTPUT, Result

__all__ = ["Sandbox"]


class Sandbox:
    """A virtual machine to run commands in. Nothing of the host is in it.

        with gavotte.Sandbox(memory="256M", cpus=2) as box:
            print(box.run(["uname", "-a"]).stdout)

    Takes the options of `AsyncSandbox`, and has its methods; they may be called from any thread.
    """

    def __init__(self, **options: Unpack[SandboxOptions]) -> None:
        self._async = AsyncSandbox(**options)

    @override
    def __repr__(self) -> str:
        return repr(self._async).replace("AsyncSandbox", "Sandbox", 1)

    @property
    def name(self) -> str:
        return self._async.name

    @property
    def state(self) -> State:
        return self._async.state

    @property
    def accel(self) -> str:
        """What it runs on; known when it has started."""
        return self._async.accel

    @property
    def vm(self) -> QemuVm:
        """Its machine, whose methods are coroutines of the private loop's."""
        return self._async.vm

    @property
    def template(self) -> str:
        """The key of the template that it is a copy of; empty if it booted for real."""
        return self._async.template

    @property
    def cold_reason(self) -> str:
        """Why it booted for real; empty for a copy."""
        return self._async.cold_reason

    @property
    def root_size(self) -> int:
        """Bytes that can be written to its root."""
        return self._async.root_size

    @property
    def phases(self) -> list[tuple[str, float]]:
        """What its start spent time on, in seconds."""
        return self._async.phases

    def start(self) -> None:
        """Boot the guest; returns when it can run commands."""
        self._async.check_owner()
        if not self._async.spec.keep:
            _live.add(self)
        call(self._async.start())

    def close(self, *, grace: float = 0.0, stop_signal: int = signal.SIGTERM) -> None:
        """End the guest with all that runs in it, and free everything. Its commands end at once, unless they have
        `grace` (seconds) after `stop_signal`; see `AsyncSandbox.close`."""
        self._async.check_owner()
        call(self._async.close(grace=grace, stop_signal=stop_signal))
        _live.discard(self)

    @overload
    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Literal[True],
        tty: tuple[int, int] | None = None,
        **options: Unpack[CommandOptions],
    ) -> Process[Writer]: ...

    @overload
    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: bool = False,
        tty: tuple[int, int],
        **options: Unpack[CommandOptions],
    ) -> Process[Writer]: ...

    @overload
    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Literal[False] = False,
        tty: None = None,
        **options: Unpack[CommandOptions],
    ) -> Process[None]: ...

    @overload
    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: bool = False,
        tty: tuple[int, int] | None = None,
        **options: Unpack[CommandOptions],
    ) -> Process: ...

    def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: bool = False,
        tty: tuple[int, int] | None = None,
        **options: Unpack[CommandOptions],
    ) -> Process:
        """Start a command; see `AsyncSandbox.spawn`."""
        self._async.check_owner()
        return Process(self._async, call(self._async.spawn(argv, stdin=stdin, tty=tty, **options)))

    @overload
    def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: BytesLike | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: Literal[False] = False,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[bytes]: ...

    @overload
    def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: str | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: Literal[True],
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[str]: ...

    @overload
    def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: bool,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[bytes] | Result[str]: ...

    def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: BytesLike | str | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: bool = False,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[bytes] | Result[str]:
        """Run a command to its end and give its output; see `AsyncSandbox.run`."""
        self._async.check_owner()
        return call(
            self._async.run(
                argv,
                input=input,  # type: ignore[arg-type]  # the overloads are the same there
                timeout=timeout,
                max_output=max_output,
                text=text,
                check=check,
                **options,
            )
        )

    @classmethod
    def attach(cls, name: str) -> Self:
        """Take over a sandbox that was started with `keep`; see `AsyncSandbox.attach`."""
        box = cls.__new__(cls)
        box._async = call(AsyncSandbox.attach(name))
        return box

    @classmethod
    def of(cls, running: AsyncSandbox) -> Self:
        """One that runs on the private loop, from now on also as this; it is closed at the program's end."""
        box = cls.__new__(cls)
        box._async = running
        _live.add(box)
        return box

    @property
    def commands(self) -> dict[int, Process]:
        """The commands that run, also those of an earlier process; see `AsyncSandbox.commands`."""
        return {number: Process(self._async, process) for number, process in self._async.commands.items()}

    def detach(self) -> None:
        """Let go of a kept sandbox, which runs on with its commands; see `AsyncSandbox.detach`."""
        self._async.check_owner()
        call(self._async.detach())

    def pause(self) -> None:
        """Have it stand still, with all its commands."""
        self._async.check_owner()
        call(self._async.pause())

    def resume(self) -> None:
        """Have it go on."""
        self._async.check_owner()
        call(self._async.resume())

    def plug(self, device: Device) -> None:
        """Add a device while it runs; see `AsyncSandbox.plug`."""
        self._async.check_owner()
        call(self._async.plug(device))

    def unplug(self, id: str) -> None:
        """Remove a device; returns when it is gone; see `AsyncSandbox.unplug`."""
        self._async.check_owner()
        call(self._async.unplug(id))

    def resize(self, cpus: int | None = None, memory: str | int | None = None) -> Size:
        """Give it another size; gives what the guest has then; see `AsyncSandbox.resize`."""
        self._async.check_owner()
        return call(self._async.resize(cpus, memory))

    def __enter__(self) -> Self:
        if self.state is not State.RUNNING:  # as it is when it was attached to, or comes out of a pool
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        box: AsyncSandbox | None = getattr(self, "_async", None)  # none when the options were refused
        if box is not None and box.state is State.RUNNING and box.is_ours() and not box.spec.keep:
            warnings.warn(f"{self!r} was dropped without close()", ResourceWarning, stacklevel=2, source=self)
            begin(box.close())


_live: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def _close_all() -> None:
    """At the program's end: sandboxes that nobody closed. In a forked child they are the parent's."""
    for sandbox in list(_live):
        if sandbox._async.is_ours():
            sandbox.close()


atexit.register(_close_all)
