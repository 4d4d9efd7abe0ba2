"""QEMU's migration stream, out of a machine and into one, through a pipe of ours.

Sources: docs/devel/migration and qapi/migration.json of QEMU.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from errno import ENOSPC
from typing import Any, BinaryIO, Final

from gavotte.errors import QemuError, QmpRefused, SaveFailed
from gavotte.hypervisor.interface import OnProgress, Progress
from gavotte.hypervisor.operation_lock import run_shielded
from gavotte.hypervisor.qemu.migration.incoming import switch
from gavotte.hypervisor.qemu.migration.pump import Pump, pumping
from gavotte.hypervisor.qemu.migration.resume import go_on
from gavotte.hypervisor.qemu.polling import growing_pauses, wait_for_news
from gavotte.qmp.client import Deadline, QmpClient

__all__ = [
    "STALLED",
    "migrate_in",
    "migrate_out",
    "unwritten",
]

STALLED: Final = 60.0  # seconds without a byte

_FD: Final = "saved"  # the pipe's end, by QEMU's name of it
_PIPE: Final = 1 << 20  # bytes; the most that a pipe may have without privileges

_BANDWIDTH: Final = 100 << 30  # bytes a second: a file isn't a network to be shared
_DOWNTIME: Final = 20  # milliseconds in which the last of a guest that runs should be written
_MOST_PASSES: Final = 2  # times the guest's memory; then it is stopped: it writes faster than we do

_GIVING_UP = 15.0  # seconds


async def migrate_out(
    monitor: QmpClient, target: int, *, running: bool, live: bool, progress: OnProgress | None
) -> Pump:
    """Write the stream to the descriptor `target`; the pump tells how much it was, and its checksum.

    A machine that runs goes on again in the end, also when this fails or is cancelled. It stands still meanwhile; where
    it is `live` only for the last of it. Raises SaveFailed, QmpNotSent and OutcomeUnknown.
    """
    start = asyncio.get_running_loop().time()
    stopped = not live
    try:
        if running and not live:
            await monitor.execute("stop")
        with _pipe() as (reading, writing):
            async with pumping(reading.fileno(), target) as (pump, ended):
                await _begin(monitor, "migrate", writing)
                async with aclosing(_looks(monitor, pump, ended)) as looks:
                    async for info in looks:
                        if progress is not None:
                            progress(_progress(info, start))
                        if not stopped and _is_losing(info):
                            stopped = True
                            await monitor.execute("stop")
                if running:
                    await go_on(monitor)
                await _end_of(pump, ended)
                return pump
    except BaseException:
        await run_shielded(_give_up(monitor, running))
        raise


async def migrate_in(
    monitor: QmpClient, source: int, *, hold: int, total: int = 0, progress: OnProgress | None = None
) -> Pump:
    """Read the stream from the descriptor `source`, but for the last `hold` bytes, into a QEMU that waits for it.

    `total` is the stream's length, 0 where it isn't known. Raises SaveFailed, QmpNotSent and OutcomeUnknown.
    """
    start = asyncio.get_running_loop().time()
    with _pipe() as (reading, writing):
        os.set_blocking(writing.fileno(), False)
        async with pumping(source, writing.fileno(), hold) as (pump, ended):
            ended.add_done_callback(lambda _: writing.close())  # else QEMU would wait for what is missing
            await _begin(monitor, "migrate-incoming", reading)
            async with aclosing(_looks(monitor, pump, ended)) as looks:
                async for _ in looks:
                    if progress is not None:
                        seconds = asyncio.get_running_loop().time() - start
                        progress(Progress(pump.count, max(total, pump.count), seconds))
            await _end_of(pump, ended)
            return pump


@contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A large pipe: the end to read from, and the one to write to."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", buffering=0) as ours, os.fdopen(writing, "wb", buffering=0) as theirs:
        with suppress(OSError):  # a user may have only so much of all pipes
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
        yield ours, theirs


async def _begin(monitor: QmpClient, command: str, end: BinaryIO) -> None:
    """Hand QEMU its end of the pipe, which is closed here, and have it begin."""
    await monitor.execute("migrate-set-capabilities", switch("events"))
    await monitor.execute("migrate-set-parameters", {"max-bandwidth": _BANDWIDTH, "downtime-limit": _DOWNTIME})
    with end:
        await monitor.execute("getfd", {"fdname": _FD}, fds=[end.fileno()])
    try:
        await monitor.execute(command, {"uri": f"fd:{_FD}"})
    except QmpRefused as error:
        with suppress(QemuError):
            await monitor.execute("closefd", {"fdname": _FD}, deadline=Deadline.QUICK)
        hint = "end in the guest what is named there, such as a mount, or unplug it, and try again"
        raise SaveFailed(error.desc, hint=hint) from error


async def _looks(monitor: QmpClient, pump: Pump, ended: asyncio.Future[None]) -> AsyncGenerator[dict[str, Any]]:
    """What `query-migrate` says, time and again and once more in the end. Raises SaveFailed when it isn't completed."""
    loop = asyncio.get_running_loop()
    count, since = -1, loop.time()
    with monitor.events("MIGRATION") as events:
        for pause in growing_pauses():
            info: Any = await monitor.execute("query-migrate", deadline=Deadline.QUICK)
            status = info.get("status")
            if ended.done():
                _check(ended)
            if status in ("failed", "cancelled"):
                await asyncio.wait([ended], timeout=Deadline.QUICK)  # the cause may be ours
                _check(ended)
                raise SaveFailed(f"QEMU says {status}: {info.get('error-desc', 'it does not say why')}")
            yield info
            if status == "completed":
                return
            if pump.count != count:
                count, since = pump.count, loop.time()
            elif loop.time() - since > STALLED:
                raise _stalled()
            await wait_for_news(events, pause)


async def _end_of(pump: Pump, ended: asyncio.Future[None]) -> None:
    """Wait until the last byte has arrived. Raises SaveFailed when it doesn't."""
    count = -1
    while not ended.done():
        if count == pump.count:
            raise _stalled()
        count = pump.count
        await asyncio.wait([ended], timeout=STALLED)
    _check(ended)


def _check(ended: asyncio.Future[None]) -> None:
    """Raises SaveFailed with the reason for which the pump ended, if it is one."""
    error = ended.exception()
    if isinstance(error, OSError):
        raise unwritten(error) from error


def unwritten(error: OSError) -> SaveFailed:
    """The error for what couldn't be written, or read."""
    return SaveFailed(error.strerror or str(error), hint="see to room there" if error.errno == ENOSPC else "")


def _stalled() -> SaveFailed:
    return SaveFailed(f"nothing was written or read for {STALLED:g} s", hint="see what the other end does")


def _progress(info: dict[str, Any], start: float) -> Progress:
    """In bytes of the guest's memory: what is written in few bytes, since it is empty, counts as much as all else."""
    ram = info.get("ram", {})
    done = ram.get("normal-bytes", 0) + ram.get("duplicate", 0) * ram.get("page-size", 0)
    return Progress(done, done + ram.get("remaining", 0), asyncio.get_running_loop().time() - start)


def _is_losing(info: dict[str, Any]) -> bool:
    """Whether the guest writes its memory so fast that it would never all be written out."""
    ram = info.get("ram")
    return ram is not None and ram["normal-bytes"] > _MOST_PASSES * ram["total"]


async def _give_up(monitor: QmpClient, running: bool) -> None:
    """Have the migration end, and the machine go on. Of a QEMU that doesn't answer, nothing is expected."""
    with suppress(QemuError, TimeoutError), monitor.events("MIGRATION") as events:
        async with asyncio.timeout(_GIVING_UP):
            await monitor.execute("migrate_cancel", deadline=Deadline.QUICK)
            for pause in growing_pauses():
                info: Any = await monitor.execute("query-migrate", deadline=Deadline.QUICK)
                if info.get("status", "none") in ("none", "completed", "failed", "cancelled"):
                    break
                await wait_for_news(events, pause)
            if running:
                await go_on(monitor)
