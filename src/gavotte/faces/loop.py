"""The private event loop of the synchronous API: one thread, for as long as the process lives."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["begin", "call"]

T = TypeVar("T")
_CLEAN_UP = 15.0


class LoopThread:
    """An event loop on a daemon thread. It never ends: the kernel kills a QEMU whose starting thread ends."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.begun: set[asyncio.Task[Any]] = set()  # nobody waits for these, and a loop refers to its tasks weakly
        threading.Thread(target=self.loop.run_forever, name="gavotte", daemon=True).start()

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Make it a task. To be called on the thread."""
        task = self.loop.create_task(coroutine)
        self.begun.add(task)
        task.add_done_callback(self.begun.discard)

    async def finish(self) -> None:
        """Let what was begun end, for some seconds; then cancel all tasks that are left, and wait for their end."""
        if self.begun:
            await asyncio.wait(self.begun, timeout=_CLEAN_UP)
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_CLEAN_UP)


_lock = threading.Lock()
_thread: LoopThread | None = None


def _current() -> LoopThread:
    """This process's loop thread: a forked child has none of its parent's threads, so it gets its own."""
    global _thread
    with _lock:
        if _thread is None or _thread.pid != os.getpid():
            _thread = LoopThread()
        return _thread


def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the private loop and wait for it.

    Ctrl-C cancels it there, and is raised when its clean-up is over.
    """
    loop = _current().loop
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        tasks.append(loop.create_task(coroutine))
        tasks[0].add_done_callback(finish)

    def finish(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            outcome.set_exception(concurrent.futures.CancelledError())
        elif error := task.exception():
            outcome.set_exception(error)
        else:
            outcome.set_result(task.result())

    loop.call_soon_threadsafe(begin)
    try:
        return outcome.result()
    except BaseException:
        if not outcome.done():
            loop.call_soon_threadsafe(_cancel, tasks)
            concurrent.futures.wait([outcome], timeout=_CLEAN_UP)
        raise


def begin(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Start a coroutine on the private loop and don't wait for it."""
    thread = _current()
    thread.loop.call_soon_threadsafe(thread.begin, coroutine)


def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    tasks[0].cancel()  # begun by now: the loop keeps the order of what it is told


def _forget() -> None:
    """In a forked child: the lock may be held by a thread that isn't there."""
    global _lock, _thread
    if _thread is not None:  # its tasks go on in the parent: here, nobody is to be told that they never end
        _thread.loop.set_exception_handler(lambda *_: None)
    _lock = threading.Lock()
    _thread = None


def _finish() -> None:
    """At the program's end, after all that was registered later: what closes pools and sandboxes."""
    if _thread is not None and _thread.pid == os.getpid():
        call(_thread.finish())


atexit.register(_finish)
os.register_at_fork(after_in_child=_forget)
