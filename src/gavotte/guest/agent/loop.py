"""The event loop of agent and stage, and what waits in it for an fd to take it."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable

from gavotte.guest.agent.packets import problem

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Json

REST = 0.002  # seconds that a busy pipe is left to fill: without it each page that a command writes is a frame


class Loop:
    """epoll with one callback for each fd. Blocks when nothing happens; never polls."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._resting: dict[int, Callable[[], None]] = {}
        self._rested = 0.0  # when the fds that rest have rested enough
        self._timers: dict[int, tuple[float, Callable[[], None]]] = {}

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever one of `mask` holds; a later call replaces the mask. 0 stops watching."""
        known = self._masks.get(fd, 0)
        if known == mask:
            return
        if not mask:
            self._epoll.unregister(fd)
            del self._masks[fd], self._callbacks[fd]
            return
        (self._epoll.modify if known else self._epoll.register)(fd, mask)
        self._masks[fd], self._callbacks[fd] = mask, callback

    def close(self, fd: int) -> None:
        """Stop watching `fd` and close it."""
        self.watch(fd, 0, lambda _events: None)
        self._timers.pop(fd, None)
        os.close(fd)

    def rest(self, fd: int, resume: Callable[[], None]) -> None:
        """Leave `fd` alone for a moment, so that more gathers in it, then call `resume()`."""
        self.watch(fd, 0, lambda _events: None)
        if not self._resting:
            self._rested = time.monotonic() + REST
        self._resting[fd] = resume

    def later(self, fd: int, seconds: float, callback: Callable[[], None]) -> None:
        """Call `callback()` in so many seconds, unless `fd` is closed before. One timer for each fd: the last one."""
        self._timers[fd] = time.monotonic() + seconds, callback

    def aside(self, work: Callable[[], Json], done: Callable[[Json], None]) -> None:
        """Do `work`, which may block, in a child of its own; then call `done` with {"answer": …} or {"problem": …}."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        if os.fork() == 0:
            try:
                os.closerange(3, theirs)  # no command's stream stays open for as long as this lasts
                os.closerange(theirs + 1, 1 << 20)
                os.write(theirs, json.dumps(attempt(work)).encode())
            finally:
                os._exit(0)
        os.close(theirs)

        def read(_events: int) -> None:
            said = os.read(ours, 1 << 16)
            self.close(ours)
            done(json.loads(said or '{"problem": {"code": "os", "message": "it ended without a word"}}'))

        self.watch(ours, select.EPOLLIN, read)

    def run_once(self) -> None:
        timeout = self.patience() if self._resting or self._timers else None
        for fd, events in self._epoll.poll(timeout):
            callback = self._callbacks.get(fd)
            if callback is not None:  # an earlier callback of this round may have closed it
                callback(events)
        if self._resting and time.monotonic() >= self._rested:
            resting, self._resting = self._resting, {}
            for resume in resting.values():
                resume()
        if self._timers:
            self.ring()

    def patience(self) -> float:
        """Seconds to the first thing that is to be done without an event."""
        due = [when for when, _ in self._timers.values()]
        if self._resting:
            due.append(self._rested)
        return max(0.0, min(due) - time.monotonic())

    def ring(self) -> None:
        """Call those whose time has come."""
        now = time.monotonic()
        for fd, (when, act) in list(self._timers.items()):
            if now >= when and fd in self._timers:  # an earlier one may have closed it
                del self._timers[fd]
                act()

    def watch_children(self, callback: Callable[[], None]) -> None:
        """Call `callback()` after any SIGCHLD."""
        ours, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

        def woken(_events: int) -> None:
            os.read(ours, 4096)
            callback()

        self.watch(ours, select.EPOLLIN, woken)


class Backlog:
    """Bytes that wait for an fd to take them."""

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.begun = 0  # so much of the first is written
        self.size = 0

    def add(self, data: bytes) -> None:
        self.queue.append(data)
        self.size += len(data)

    def replace(self, queue: Iterable[bytes]) -> None:
        """Have these instead, each from its beginning."""
        self.queue, self.begun = deque(queue), 0
        self.size = sum(map(len, self.queue))

    def write_to(self, fd: int) -> int:
        """Write what `fd` takes now; gives how much that was. Raises OSError as write(2), but for EAGAIN."""
        before = self.size
        try:
            while self.queue:
                first = self.queue[0]
                written = os.write(fd, memoryview(first)[self.begun :] if self.begun else first)
                self.size -= written
                self.begun += written
                if self.begun == len(first):
                    self.queue.popleft()
                    self.begun = 0
        except BlockingIOError:
            pass
        return before - self.size


def attempt(work: Callable[[], Json]) -> Json:
    """What `work` gives, as {"answer": …}, or what went wrong, as {"problem": …}."""
    try:
        return {"answer": work()}
    except Exception as error:
        return {"problem": problem(error)}
