"""`gavotte.map`: many inputs, each in a fresh virtual machine, with the results in their order."""

from __future__ import annotations

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, Literal, Self, TypeAlias, TypeVar, Unpack, cast, overload

from gavotte.arguments import BytesLike, StrPath, check_flag, wrong
from gavotte.compat import override
from gavotte.errors import UsageError
from gavotte.faces.executor import Executor, Work
from gavotte.faces.progress import CountBar
from gavotte.sandbox.options import CallOptions
from gavotte.sandbox.result import Result

__all__ = ["Results", "map"]

_AHEAD = 2  # calls under way or waiting for each worker: a slow one needn't keep the others from working


T = TypeVar("T")
R = TypeVar("R")
CommandInput: TypeAlias = StrPath | BytesLike | tuple[StrPath | BytesLike, ...]


@overload
def map(
    work: Callable[[T], R],
    inputs: Iterable[T],
    *,
    workers: int | None = None,
    progress: bool = True,
    return_exceptions: Literal[False] = False,
    **options: Unpack[CallOptions],
) -> Results[R]: ...


@overload
def map(
    work: Callable[[T], R],
    inputs: Iterable[T],
    *,
    workers: int | None = None,
    progress: bool = True,
    return_exceptions: bool,
    **options: Unpack[CallOptions],
) -> Results[R | Exception]: ...


@overload
def map(
    work: Sequence[StrPath],
    inputs: Iterable[CommandInput],
    *,
    workers: int | None = None,
    progress: bool = True,
    return_exceptions: Literal[False] = False,
    **options: Unpack[CallOptions],
) -> Results[Result[bytes]]: ...


@overload
def map(
    work: Sequence[StrPath],
    inputs: Iterable[CommandInput],
    *,
    workers: int | None = None,
    progress: bool = True,
    return_exceptions: bool,
    **options: Unpack[CallOptions],
) -> Results[Result[bytes] | Exception]: ...


def map(
    work: Sequence[StrPath] | Callable[[Any], object],
    inputs: Iterable[Any],
    *,
    workers: int | None = None,
    progress: bool = True,
    return_exceptions: bool = False,
    **options: Unpack[CallOptions],
) -> Results[Any]:
    """Run a command or a function once for each of `inputs`, each in a fresh machine; gives the results in order.

        for result in gavotte.map(["wc", "-c"], [b"one", b"three"]):
            print(result.stdout)

    A command (a list of words) gets an input that is text as one more argument, bytes as its stdin, and a tuple of
    these as both; its result is a `Result`, whatever its status.

    A function gets the input as its argument and runs in the guest's Python, which has the standard library. It is
    sent as source, with the functions, classes and data of its module that it uses; the input is pickled. It may return
    None, numbers, text, bytes, and lists, tuples, sets and dicts of these, a million values at most. What it prints
    isn't shown. UsageError is raised at once for lambdas, closures, bound methods and functions that use what a guest
    hasn't.

    `workers` run at once, as many as there are usable processors unless given. Inputs are taken as they are needed, a
    few ahead. Each may take `timeout` seconds. One that fails raises its error when its turn comes (FunctionFailed with
    the guest's traceback, CommandTimeout, …), and the iteration may go on behind it; with `return_exceptions` the error
    is in the result's place. Ctrl-C, `close()` and leaving its `with` block end all that runs. A bar shows the progress
    where stderr is a terminal. `env`, `cwd` and `user` are those of `Sandbox.run`; other options those of Sandbox.
    """
    prepared = Work.of(work)
    check_flag(progress, "progress")
    check_flag(return_exceptions, "return_exceptions")
    if not isinstance(inputs, Iterable):
        raise wrong(inputs, "a list of inputs", "inputs")
    executor = Executor(workers, **options)
    total = len(inputs) if isinstance(inputs, Sized) else None
    return Results(executor, prepared, iter(inputs), CountBar(total, shown=progress), return_exceptions)


class Results(Iterator[R]):
    """The results of `map`, as they come. Owns what runs for it."""

    def __init__(
        self, executor: Executor, work: Work, inputs: Iterator[Any], bar: CountBar, return_exceptions: bool
    ) -> None:
        self._executor = executor
        self._work = work
        self._inputs = inputs
        self._bar = bar
        self._return_exceptions = return_exceptions
        self._futures: deque[concurrent.futures.Future[Any]] = deque()
        self._closed = False
        self._top_up()

    @override
    def __next__(self) -> R:
        try:
            self._top_up()
            if not self._futures:
                self.close()
                raise StopIteration
            concurrent.futures.wait([self._futures[0]])
        except StopIteration:
            raise
        except BaseException:  # Ctrl-C, or the inputs' own: there is no going on
            self.close()
            raise
        future = self._futures.popleft()
        self._top_up()
        try:
            outcome: R = future.result()
            return outcome
        except Exception as error:
            if self._return_exceptions:
                return cast("R", error)  # as the overloads of `map` say
            raise
        finally:
            del future  # else the error's traceback leads to it and it to the error

    def _top_up(self) -> None:
        while not self._closed and len(self._futures) < _AHEAD * self._executor.workers:
            try:
                one = next(self._inputs)
            except StopIteration:
                return
            self._futures.append(self._begin(one))

    def _begin(self, one: Any) -> concurrent.futures.Future[Any]:
        args = one if isinstance(one, tuple) and self._work.function is None else (one,)
        try:
            future = self._executor.submit_work(self._work, args, {})
        except UsageError as error:  # this input can't be had; the others can
            future = concurrent.futures.Future()
            future.set_exception(error)
        future.add_done_callback(self._bar.advance)
        return future

    def close(self) -> None:
        """End what runs. Idempotent."""
        if not self._closed:
            self._closed = True
            self._bar.stop()
            self._executor.terminate_workers()
            self._futures.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and self._executor.is_ours():
            self._bar.stop()
            self._executor.abandon()
