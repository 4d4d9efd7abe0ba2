"""Images for any architecture: what a foreign one needs to have run is run in a guest of its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from gavotte.errors import GavotteError, ImageError
from gavotte.guest import image
from gavotte.guest.command import AsyncProcess
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.machines import host_arch
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.lifecycle import AsyncSandbox

__all__ = ["build_image", "in_guest"]

_MEMORY = "1G"  # half of it is the writable root, which the system is installed to
_BOOT_TIMEOUT = 300.0
_TIMEOUT = 3600.0  # for all of a configuration: emulated processors differ much in speed
_TAIL_LINES = 15


def build_image(
    arch: str | None = None,
    *,
    suite: str | None = None,
    mirror: str | None = None,
    update: bool = False,
    qemu: str | None = None,
    progress: Callable[[str, float | None], None],
) -> image.Image:
    """The current image for `arch`, this host's unless given, made if there is none.

    Raises what `gavotte.guest.image.build_image` does, UsageError for an architecture that isn't known, and
    QemuNotFound before anything is done, if a guest is needed and there is no emulator.
    """
    arch = machine_row(arch or host_arch()).arch
    guest = None
    if arch != host_arch() and (update or image.find_image(arch, suite=suite) is None):
        find_qemu(arch, qemu)
        guest = functools.partial(in_guest, arch, qemu)
    return image.build_image(arch, suite=suite, mirror=mirror, update=update, guest=guest, progress=progress)


@contextlib.contextmanager
def in_guest(
    arch: str,
    qemu: str | None,
    kernel: Path,
    initrd: Path,
    rootfs: Path,
    argv: Sequence[str],
    on_line: Callable[[str], None],
) -> Iterator[IO[bytes]]:
    """Runs `argv` in a guest made of these files; see `gavotte.guest.image.unconfigured.Guest`.

    The guest lives in a thread of its own, as QEMU ends with the thread that started it. An early end of the block
    ends the guest.
    """
    reader, writer = os.pipe()
    workshop = _Workshop(Artifacts(kernel, initrd, rootfs), arch=arch, qemu=qemu)
    loop = asyncio.new_event_loop()
    done: Future[None] = Future()

    def work() -> None:
        try:
            with os.fdopen(writer, "wb", buffering=0) as sink, asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(workshop.work(argv, sink, on_line))
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    context = contextvars.copy_context()  # that of a build, which a thread doesn't have by itself
    thread = threading.Thread(target=context.run, args=[work], name="gavotte-configure")
    thread.start()
    try:
        with os.fdopen(reader, "rb") as source:
            yield source
    except BaseException:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(workshop.give_up)
        thread.join()
        _raise_cause(done)
        raise
    thread.join()
    done.result()


def _raise_cause(done: Future[None]) -> None:
    """A stream that breaks off is an effect; what the guest says of itself is the cause."""
    error = done.exception()
    if isinstance(error, GavotteError):
        raise error


class _Workshop:
    """A guest made of files that are no image yet, and the command that it is for."""

    def __init__(self, files: Artifacts, *, arch: str, qemu: str | None) -> None:
        self._files = files
        # Cold: of these files no other guest will be made, so that a template of them would be of no use.
        self._box = AsyncSandbox(arch=arch, qemu=qemu, memory=_MEMORY, boot_timeout=_BOOT_TIMEOUT, cold=True)
        self._work: asyncio.Task[None] | None = None
        self._given_up = False

    async def work(self, argv: Sequence[str], sink: IO[bytes], on_line: Callable[[str], None]) -> None:
        """Run `argv`, its stdout going into `sink`."""
        self._work = asyncio.current_task()
        if self._given_up:
            return
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        async with asyncio.timeout(_TIMEOUT):
            await self._box.start(files=self._files)
            async with self._box:
                status = await self._run(argv, sink, tail, on_line)
        if status:
            said = "".join(f"\n  {line}" for line in tail)
            raise ImageError(f"{argv[0]!r} failed with status {status} in the guest{said}")

    async def _run(self, argv: Sequence[str], sink: IO[bytes], tail: deque[str], on_line: Callable[[str], None]) -> int:
        process = await self._box.spawn(argv)
        async with process, asyncio.TaskGroup() as group:
            group.create_task(_follow(process, tail, on_line))
            async for chunk in process.stdout:
                _write(sink, chunk)  # blocks this loop, which has nothing else to do
        return await process.wait()

    def give_up(self) -> None:
        """End the work, and with it the guest; called on its loop, perhaps before the work begins."""
        self._given_up = True
        if self._work is not None:
            self._work.cancel()


def _write(sink: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:  # an unbuffered write may take a part
        view = view[sink.write(view) :]


async def _follow(process: AsyncProcess, tail: deque[str], on_line: Callable[[str], None]) -> None:
    while line := await process.stderr.readline():
        tail.append(line.decode(errors="replace").rstrip())
        on_line(tail[-1])
