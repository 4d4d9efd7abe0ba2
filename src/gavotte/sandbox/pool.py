"""A pool: sandboxes that stand ready before anybody asks for one, and a queue for those who ask for more."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Coroutine, Generator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self, Unpack

from gavotte.arguments import StrPath, check_number, check_timeout, wrong
from gavotte.compat import override
from gavotte.errors import (
    CommandNotStarted,
    CommandTimeout,
    ForeignProcess,
    GavotteError,
    HostError,
    PoolBusy,
    StateError,
    UsageError,
)
from gavotte.sandbox.admission import Admission, cost_of
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.options import MachineOptions
from gavotte.sandbox.spec import make_spec
from gavotte.sandbox.words import check_argv

__all__ = ["WARM_UP", "Acquisition", "AsyncPool"]

_LOG = logging.getLogger("gavotte")

# An emulated guest runs each piece of code slowly once: after these, the way to a command and back has been gone, that
# of its output, of a shell, of Python. Under KVM they take milliseconds.
WARM_UP: Sequence[Sequence[str]] = (["true"], ["echo"], ["sh", "-c", "echo | cat"], ["python3", "-Bc", ""])
_WARM = 30.0  # seconds for each of them
_WAKE = 10.0  # seconds in which one that is handed over has to run
_REST = 0.05  # seconds before the next one is started: who was handed one has the processors for what it is wanted for
_TRIES = 3  # starts that fail in a row before those who wait are told
_MOST = 1000


class AsyncPool:
    """Keeps `size` sandboxes ready, and hands each over once: it is then the caller's, who closes it.

        async with AsyncPool(size=4, memory="256M") as pool:
            async with pool.acquire() as box:
                result = await box.run(["uname", "-a"])

    Those kept are started, warmed up and paused; what is handed over is replaced in the background, and so is one that
    died. Who finds none waits in a queue, for starts that are as many at once as processors and memory are free: a
    thousand requests take their time, and the host stays of use. `limit` bounds all that are there at once, those
    in use included. `warm` are commands to warm up with. The options are those of AsyncSandbox, without `name` and
    `keep`.
    """

    def __init__(
        self,
        size: int = 8,
        *,
        limit: int | None = None,
        warm: Sequence[Sequence[StrPath]] = WARM_UP,
        **options: Unpack[MachineOptions],
    ) -> None:
        self.size = check_number(size, 0, _MOST, "size")
        self.limit = None if limit is None else check_number(limit, max(1, size), _MOST, "limit")
        self._warm_up = _check_warm(warm)
        spec = make_spec(**options)
        if spec.name or spec.keep:
            raise UsageError(
                "the sandboxes of a pool have no names, and end with it", path="name" if spec.name else "keep"
            )
        self._options: MachineOptions = {**options, "devices": spec.devices}
        self._cost = cost_of(spec.memory)
        self._maker = os.getpid()
        self._admission: Admission | None = None
        self._idle: deque[AsyncSandbox] = deque()
        self._waiting: deque[asyncio.Future[AsyncSandbox]] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._alive = 0  # starting, ready or in use
        self._failures = 0
        self._problem: Exception | None = None  # why none are being made, until somebody asks for one
        self._changed = asyncio.Event()
        self._feeder: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @override
    def __repr__(self) -> str:
        state = "closed" if self._closing else f"{self.idle} of {self.size} ready, {self.alive} alive"
        return f"<{type(self).__name__} {state}, {len(self._waiting)} waiting>"

    @property
    def idle(self) -> int:
        """How many are ready."""
        return len(self._idle)

    @property
    def alive(self) -> int:
        """How many there are: starting, ready and in use."""
        return self._alive

    # life

    async def start(self) -> None:
        """Begin to fill it, in the background. `acquire` does that too. Raises StateError once it is closed."""
        self.check_owner()
        if self._closing is not None:
            raise StateError("the pool is closed", hint="make another")
        if self._feeder is None:
            self._admission = self._admission or Admission.here()
            self._feeder = _keep(_feeders, self._feed(self._admission))

    async def ready(self, timeout: float | None = None) -> None:
        """Wait until `size` are ready. Raises what keeps them from starting, and PoolBusy after `timeout` seconds."""
        seconds = check_timeout(timeout, zero=True)
        await self.start()
        try:
            async with asyncio.timeout(seconds):
                while self.idle < self.size:
                    if self._problem is not None:
                        raise self._problem
                    self._changed.clear()
                    await self._changed.wait()
                    await self.start()  # which raises when it was closed
        except TimeoutError:
            raise PoolBusy(f"{self.idle} of {self.size} sandboxes are ready after {seconds:g} s") from None

    def acquire(self, timeout: float | None = None) -> Acquisition:
        """One of the sandboxes: `await` it, and close it when you are done, or use it with `async with`.

        It runs and is warm, its clock is right, and its random numbers are its own. It takes milliseconds where one is
        ready. Else those who came first go first. Raises PoolBusy after `timeout` seconds; what keeps sandboxes from
        starting, HostError for one; StateError when the pool is closed, also while it waits.
        """
        return Acquisition(self, check_timeout(timeout, zero=True))

    async def close(self) -> None:
        """End all that nobody has acquired, and turn away who waits. Idempotent; goes on when it is cancelled."""
        self.check_owner()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def is_ours(self) -> bool:
        """Whether this process made it."""
        return os.getpid() == self._maker

    def is_open(self) -> bool:
        """Whether it was started, and isn't closed."""
        return self._feeder is not None and self._closing is None

    def check_owner(self) -> None:
        """Raises ForeignProcess in a process that didn't make this pool, such as a forked child."""
        if not self.is_ours():
            raise ForeignProcess(
                f"the pool belongs to process {self._maker}; this is {os.getpid()}, forked from it",
                hint="make a pool in each process that uses one",
            )

    async def _close(self) -> None:
        while self._waiting:
            _tell(self._waiting.popleft(), StateError("the pool was closed", hint="make another"))
        tasks = [*self._making, *([self._feeder] if self._feeder else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        while self._idle:
            self._end(self._idle.popleft())
        self._changed.set()
        while self._ends:
            await asyncio.wait(self._ends)

    # those who ask

    async def take(self, timeout: float | None) -> AsyncSandbox:
        """See `acquire`."""
        await self.start()
        self._problem = None  # it may have gone away
        try:
            async with asyncio.timeout(timeout):
                while True:
                    box = await self._next()
                    if await self._wake(box):
                        return box
        except TimeoutError:
            raise PoolBusy(
                f"no sandbox came within {timeout:g} s; {self._alive} are alive, {len(self._waiting)} others wait",
                hint="wait longer (timeout), close those that you are done with, or ask for fewer at once",
            ) from None

    async def _next(self) -> AsyncSandbox:
        if self._idle:
            box = self._idle.popleft()
            asyncio.get_running_loop().call_later(_REST, self._changed.set)
            return box
        await self.start()
        future: asyncio.Future[AsyncSandbox] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._changed.set()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._end(future.result())  # it came in the moment in which the caller went
            raise
        finally:
            with suppress(ValueError):
                self._waiting.remove(future)

    async def _wake(self, box: AsyncSandbox) -> bool:
        """Have it run, as of now. False when it can't: it is ended then."""
        try:
            async with asyncio.timeout(_WAKE):
                if box.paused:
                    await box.resume(wait=False)
            if not box.vm.ended.done():
                return True
        except (GavotteError, TimeoutError) as error:
            _LOG.warning("%s had died in its pool: %s", box.name, error)
        except BaseException:
            self._end(box)
            raise
        self._end(box)
        return False

    # those who are there

    async def _feed(self, admission: Admission) -> None:
        """Start one after the other, as long as they are wanted and there is room."""
        while True:
            while not self._wanted():
                self._changed.clear()
                await self._changed.wait()
            try:
                await admission.enter(self._cost)
            except HostError as error:
                if self._alive == self.idle:  # else some of those in use may end
                    self._fail(error)
                continue
            if not self._wanted():  # who waited has gone meanwhile
                admission.leave(self._cost)
                continue
            self._alive += 1
            _keep(self._making, self._make(admission)).add_done_callback(self._made)

    def _wanted(self) -> bool:
        kept = 0 if self._problem else self.size
        missing = kept + len(self._waiting) - self.idle - len(self._making)
        return missing > 0 and (self.limit is None or self._alive < self.limit)

    async def _make(self, admission: Admission) -> None:
        box = AsyncSandbox(**self._options)
        try:
            await box.start()
        except Exception as error:  # whoever waits has to hear of it, whatever it is
            self._gone()
            self._count_failure(error)
            return
        except BaseException:  # the pool is being closed
            self._gone()
            raise
        else:
            box.vm.ended.add_done_callback(partial(self._ended, box))
            await self._prepare(box)
        finally:
            admission.leave(self._cost)

    def _made(self, _: object) -> None:
        self._changed.set()

    async def _prepare(self, box: AsyncSandbox) -> None:
        """Warm it up and pause it; who waits for it meanwhile gets it at once."""
        self._failures = 0
        try:
            if not self._waiting:  # the way of its handing over, and then commands: in the order in which it will go
                await box.pause()
                await box.resume()
            for argv in self._warm_up:
                if self._waiting:
                    break
                with suppress(CommandNotStarted, CommandTimeout):
                    await box.run(argv, timeout=_WARM)
            if not self._waiting:
                await box.settle()
                await box.pause()
        except GavotteError as error:
            _LOG.warning("%s died while it was made ready: %s", box.name, error)
            self._end(box)
        except BaseException:
            self._end(box)
            raise
        else:
            self._offer(box)

    def _offer(self, box: AsyncSandbox) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(box)
                return
        if box.vm.ended.done():
            self._end(box)
        else:
            self._idle.append(box)

    def _ended(self, box: AsyncSandbox, _: object) -> None:
        """Its process has ended, in whosoever's hands it was."""
        self._gone()
        if box in self._idle:
            _LOG.warning("%s died in its pool, and is replaced", box.name)
            self._idle.remove(box)
            self._end(box)

    def _gone(self) -> None:
        self._alive -= 1
        self._changed.set()
        if self._admission is not None:
            self._admission.look_again()

    def _count_failure(self, error: Exception) -> None:
        """One may have been ended by somebody; of several, or of what the host lacks, all who wait are told."""
        self._failures += 1
        if isinstance(error, HostError | UsageError) or self._failures >= _TRIES:
            self._failures = 0
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        _LOG.warning("no sandbox can be started for the pool: %s", error)
        self._problem = error
        while self._waiting:
            _tell(self._waiting.popleft(), error)
        self._changed.set()

    def _end(self, box: AsyncSandbox) -> None:
        """End one that nobody has, in the background: there is nothing in it to be saved."""
        _keep(self._ends, _end(box))


class Acquisition:
    """A sandbox that comes out of a pool: await it, or enter it with `async with`, which closes it."""

    def __init__(self, pool: AsyncPool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._box: AsyncSandbox | None = None

    def __await__(self) -> Generator[Any, None, AsyncSandbox]:
        return self._pool.take(self._timeout).__await__()

    async def __aenter__(self) -> AsyncSandbox:
        self._box = await self
        return self._box

    async def __aexit__(self, *_: object) -> None:
        if self._box is not None:
            await self._box.close()


async def _end(box: AsyncSandbox) -> None:
    try:
        await box.vm.stop(force=True)
    finally:
        await box.close()


# A loop itself refers to its tasks only weakly, and a feeder that has nothing to do waits for its own pool alone:
# without these references, a pool that nobody refers to any more would be collected together with its pending feeder.
_feeders: set[asyncio.Task[None]] = set()


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


def _tell(future: asyncio.Future[AsyncSandbox], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _check_warm(warm: object) -> list[list[str]]:
    if not isinstance(warm, Iterable) or isinstance(warm, str | bytes):
        raise wrong(warm, "a list of commands", "warm")
    return [check_argv(argv, f"warm[{number}]") for number, argv in enumerate(warm)]
