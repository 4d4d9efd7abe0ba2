"""`concurrent.futures` with a fresh virtual machine for each call."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, Unpack, cast, overload

from gavotte.arguments import BytesLike, StrPath, check_known, check_number, check_timeout
from gavotte.compat import override
from gavotte.errors import GavotteError, StateError, UsageError
from gavotte.faces.loop import begin, call
from gavotte.sandbox.admission import usable_cores
from gavotte.sandbox.calls.parcel import MAX_ANSWER, Function
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.options import CallOptions, CommandOptions, MachineOptions, check_command
from gavotte.sandbox.pool import AsyncPool
from gavotte.sandbox.result import MAX_OUTPUT, Result
from gavotte.sandbox.words import check_argv

__all__ = ["Executor", "Work"]

P = ParamSpec("P")
T = TypeVar("T")
_MOST_WORKERS = 1000


@dataclass(frozen=True)
class Work:
    """A command or a function, ready to be run with any arguments."""

    argv: list[str]
    function: Function | None

    @classmethod
    def of(cls, work: Sequence[StrPath] | Callable[..., object], path: str = "work") -> Work:
        """Raises UsageError for what is neither, and for a function that can't run in a guest."""
        if callable(work):
            function = Function.of(work)
            return cls(function.argv, function)
        return cls(check_argv(work, path), None)

    def with_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[str], bytes | None]:
        """The command line and the stdin of one run. Raises UsageError for arguments that it can't have."""
        if self.function is not None:
            return self.argv, self.function.pack(args, kwargs)
        if kwargs:
            raise UsageError("a command has no keyword arguments", path=next(iter(kwargs)))
        data = [bytes(arg) for arg in args if isinstance(arg, bytes | bytearray | memoryview)]
        words = [arg for arg in args if not isinstance(arg, bytes | bytearray | memoryview)]
        if len(data) > 1 or not all(isinstance(word, str | os.PathLike) for word in words):
            raise UsageError(
                "a command takes text, which is added to its arguments, and bytes at most once, which are its stdin",
                path="arguments",
                hint="str(x) makes a word of any x",
            )
        return check_argv([*self.argv, *words]), data[0] if data else None


@dataclass(frozen=True)
class _Job:
    work: Work
    argv: list[str]
    input: bytes | None
    future: Future[Any]


class Executor(concurrent.futures.Executor):
    """Runs each call in a virtual machine of its own, which is gone afterwards; `workers` at once.

        with gavotte.Executor(workers=2) as executor:
            future = executor.submit(["sha256sum"], b"data")
            print(future.result().stdout)

    `submit` takes a command, whose further arguments are added to it (text) or are its stdin (bytes), and whose
    result is a `Result`; or a Python function, with arguments that can be pickled (see `gavotte.map`). `workers` is
    the number of usable processors unless given. A call may take `timeout` seconds; `env`, `cwd` and `user` are those
    of `Sandbox.run`. All other options are those of a Sandbox. May be used from any thread.
    """

    def __init__(self, workers: int | None = None, **options: Unpack[CallOptions]) -> None:
        self.workers = usable_cores() if workers is None else check_number(workers, 1, _MOST_WORKERS, "workers")
        self._timeout = check_timeout(options.pop("timeout", None))
        self._command, machine = _divided(options)
        # None is kept ready: whether another call comes isn't known, and one that waits needs no warm-up
        self._pool = AsyncPool(0, limit=None, warm=(), **machine)
        self._lock = threading.Lock()
        self._shut = False
        self._pending: deque[_Job] = deque()
        self._running: dict[asyncio.Task[None], _Job] = {}
        _live.add(self)

    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...

    @overload
    def submit(self, fn: Sequence[StrPath], /, *args: StrPath | BytesLike) -> Future[Result[bytes]]: ...

    @override
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a command or a function in a fresh machine, as soon as one of the workers is free.

        Raises UsageError at once for what can't run in a guest, StateError after `shutdown`. The future raises what
        `Sandbox.run` raises, FunctionFailed with the guest's traceback, and what keeps a machine from starting.
        """
        return self.submit_work(Work.of(fn, "fn"), args, kwargs)

    def submit_work(self, work: Work, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Future[Any]:
        """`submit`, for work that is looked at once for many calls."""
        self._pool.check_owner()
        job = _Job(work, *work.with_arguments(args, kwargs), Future())
        with self._lock:
            if self._shut:
                raise StateError("the executor was shut down", hint="make another")
            begin(self._add(job))  # under the lock, so that a shutdown comes after it
        return job.future

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; end when all is done, or with `cancel_futures` when what runs is done. Idempotent."""
        self._pool.check_owner()
        self._take_no_more()
        work = self._drain(cancel_futures)
        if wait:
            call(work)
        else:
            begin(work)

    def terminate_workers(self) -> None:
        """End all that runs, now; futures that aren't done raise StateError or are cancelled. Idempotent."""
        self._pool.check_owner()
        self._take_no_more()
        call(self._terminate())

    def abandon(self) -> None:
        """`terminate_workers`, without waiting: whoever collects garbage may be the loop itself."""
        self._shut = True
        begin(self._terminate())

    def __del__(self) -> None:
        pool: AsyncPool | None = getattr(self, "_pool", None)  # none when the options were refused
        if pool is not None and pool.is_open() and pool.is_ours():
            begin(pool.close())  # nothing runs in it: a call refers to its executor

    def _take_no_more(self) -> None:
        with self._lock:
            self._shut = True

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Waits for what runs; but for Ctrl-C and the like, which end it."""
        if kind is not None and not issubclass(kind, Exception):
            self.terminate_workers()
        try:
            self.shutdown()
        except BaseException:
            self.terminate_workers()
            raise

    # on the private loop

    async def _add(self, job: _Job) -> None:
        self._pending.append(job)
        self._go_on()

    def _go_on(self) -> None:
        while self._pending and len(self._running) < self.workers:
            job = self._pending.popleft()
            if job.future.set_running_or_notify_cancel():
                task = asyncio.get_running_loop().create_task(self._do(job))
                self._running[task] = job
                task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        job = self._running.pop(task)
        if not job.future.done():  # it was ended before it began
            job.future.set_exception(StateError("the executor was terminated"))
        self._go_on()

    async def _do(self, job: _Job) -> None:
        try:
            async with self._pool.acquire() as box:
                job.future.set_result(await self._outcome(job, box))
        except Exception as error:
            if not job.future.done():
                job.future.set_exception(error)
            elif not isinstance(error, GavotteError):  # of a machine that won't end; its result is there
                raise

    async def _outcome(self, job: _Job, box: AsyncSandbox) -> Any:
        most = MAX_OUTPUT if job.work.function is None else MAX_ANSWER
        result = await box.run(job.argv, input=job.input, timeout=self._timeout, max_output=most, **self._command)
        if job.work.function is None:
            return result
        return await asyncio.to_thread(job.work.function.open, result)  # it may be large

    async def _drain(self, cancel: bool) -> None:
        if cancel:
            self._cancel_pending()
        while self._running:
            await asyncio.wait(self._running)
        await self._pool.close()
        _live.discard(self)

    async def _terminate(self) -> None:
        self._cancel_pending()
        for task, job in self._running.items():
            if not job.future.done() and not task.cancelling():  # else it is ending its machine, which is let finish
                task.cancel()
        await self._drain(True)

    def _cancel_pending(self) -> None:
        while self._pending:
            future = self._pending.popleft().future
            future.cancel()
            future.set_running_or_notify_cancel()

    def is_ours(self) -> bool:
        """Whether this process made it."""
        return self._pool.is_ours()


def _divided(options: CallOptions) -> tuple[CommandOptions, MachineOptions]:
    """What a call's command runs in, checked, and the rest, which says what its machine is."""
    for name in options:
        check_known(name, CallOptions.__optional_keys__.union(("workers",)))
    names = CommandOptions.__optional_keys__
    command = cast("CommandOptions", {name: value for name, value in options.items() if name in names})
    machine = cast("MachineOptions", {name: value for name, value in options.items() if name not in names})
    return cast("CommandOptions", check_command(command)), machine


_live: weakref.WeakSet[Executor] = weakref.WeakSet()


def _end_all() -> None:
    """At the program's end: what runs for an executor that nobody shut down. In a forked child it is the parent's."""
    for executor in list(_live):
        if executor.is_ours():
            executor.terminate_workers()


atexit.register(_end_all)
