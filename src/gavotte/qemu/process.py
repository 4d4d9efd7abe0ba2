"""One QEMU process: its start with the fds it was given and no others, its last words, its end.

The exit is seen through a pidfd, so signals reach this process or nobody, however pids are reused. So it is the same
for a process that another one started.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from gavotte.compat import override
from gavotte.errors import Bug, ForeignProcess, HostError, QemuExited
from gavotte.qemu.ahead import Ahead, Unlike
from gavotte.qemu.fds import FdEntry, FdLedger
from gavotte.qemu.pids import ProcessId
from gavotte.qemu.sections import Document
from gavotte.qemu.spawn import KILL_DEADLINE, begin_process, open_fifo
from gavotte.qemu.tail import QUOTED, Tail

__all__ = ["CONFINED", "UNKNOWN_STATUS", "PoliteRung", "QemuProcess", "adopt_process", "start_process"]

PoliteRung: TypeAlias = tuple[str, Callable[[], Awaitable[None]], float]
"""A way to ask for the end: its name, what asks, and the seconds that asking and ending may take."""

_DENIED = ("obsolete", "elevateprivileges", "spawn", "resourcecontrol")

CONFINED: Final[Document] = {
    "nodefaults": True,
    "no-user-config": True,
    "sandbox": {"enable": True, **dict.fromkeys(_DENIED, "deny")},
}
"""Sections that every QEMU of ours has: no device that wasn't asked for, no system calls it can do without."""

UNKNOWN_STATUS: Final = 256
"""The `returncode` of a process that has ended, while only its parent, another process, was told how. No exit status
and no signal has this number."""

_MOMENT = 1.0  # seconds between the end of QEMU's connections and the end of QEMU
_TERM_DEADLINE = 2.0

_KEY = object()


async def start_process(
    argv: Sequence[str],
    ledger: FdLedger,
    *,
    env: Mapping[str, str] | None = None,
    keep: Path | None = None,
    directory: Path | str = "/",
) -> QemuProcess:
    """Starts QEMU with the fds of `ledger`, which is spent by it, and gives the running process.

    The kernel kills it when the calling thread ends, so call this on an event loop that lives as long as
    the process (prctl(2), PR_SET_PDEATHSIG). Unless told another `directory`, it has `/`, so `argv` needs absolute
    paths. It has a session of its own, which keeps a terminal's Ctrl-C away, and a minimal environment plus `env`.

    With `keep`, it goes on when this process ends, and `adopt_process` takes it over. What it writes then goes through
    the FIFO at the path `keep`, which is made anew: nothing breaks when nobody reads there, and what is too much for
    the kernel's buffer is lost.

    Raises HostError when it can't be started, UsageError when `argv` can't be a command line. That QEMU
    itself refuses `argv` is seen as its exit.
    """
    loop = asyncio.get_running_loop()
    with ledger:
        if isinstance(ledger, Ahead):
            if keep is not None:
                raise Unlike("keep")
            child, pidfd, output = ledger.take(argv, env)
        else:
            child, pidfd, output = begin_process(argv, ledger.numbers, env=env, keep=keep, directory=directory)
    child.returncode = UNKNOWN_STATUS  # from here on it is watched by its pidfd: Popen isn't to reap it, nor to warn
    return QemuProcess(_KEY, loop, child.pid, pidfd, Tail(loop, output), tuple(argv), ledger.entries)


def adopt_process(process: ProcessId, *, output: Path | None = None) -> QemuProcess:
    """Takes over a process that somebody else started, with the FIFO that it was started with (`keep`).

    It goes on when this process ends. When it ends, and isn't a child of this process after all, its exit status is
    UNKNOWN_STATUS. Raises ProcessLookupError when it has ended already, HostError when it can't be watched.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as undo:
        try:
            pidfd = process.open()
            undo.callback(os.close, pidfd)
            argv = Path(f"/proc/{process.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            tail = _silence() if output is None else open_fifo(output)
        except ProcessLookupError:
            raise
        except OSError as e:
            raise HostError(f"can't take over process {process.pid}: {e.strerror}") from e
        undo.pop_all()
    return QemuProcess(_KEY, loop, process.pid, pidfd, Tail(loop, tail), tuple(map(os.fsdecode, argv)))


def _silence() -> int:
    """The end of a pipe that nobody writes to."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.close(theirs)
    return ours


class QemuProcess:
    """A QEMU of ours, from its start until it is reaped. Made by `start_process` and `adopt_process` only.

    Belongs to the event loop it was started on. As an async context manager it stops the process at the end.
    In a forked child it is of no use, and touches nothing.
    """

    def __init__(
        self,
        key: object,
        loop: asyncio.AbstractEventLoop,
        pid: int,
        pidfd: int,
        tail: Tail,
        argv: tuple[str, ...],
        given: tuple[FdEntry, ...] = (),
    ) -> None:
        if key is not _KEY:
            raise TypeError("a QemuProcess is made by start_process()")
        self.argv = argv
        self.given = given  # the fds that it inherited, if we started it
        self._owner = os.getpid()
        self._loop = loop
        self._pid = pid
        self._returncode: int | None = None
        self._pidfd = pidfd
        self._tail = tail
        self._exited: asyncio.Future[int] = loop.create_future()
        self._on_exit: list[Callable[[int], None]] = []
        self._ladder = asyncio.Lock()
        self._rungs: list[str] = []
        loop.add_reader(pidfd, self._reap)

    @property
    def pid(self) -> int:
        """The process id, from the start (setpriv becomes QEMU) until `returncode` is set."""
        return self._pid

    @property
    def returncode(self) -> int | None:
        """None while it runs, then the exit status; negative is a signal, as in `subprocess`. See UNKNOWN_STATUS."""
        return self._returncode

    @property
    def stderr_tail(self) -> str:
        """The last 64 KiB of what it wrote to stdout and stderr, as it wrote them."""
        return self._tail.text

    async def wait(self, deadline: float | None = None) -> int:
        """Gives the exit status. Raises TimeoutError after `deadline` seconds; the process is left as it is."""
        self._check_owner()
        await asyncio.wait([self._exited], timeout=deadline)
        if self.returncode is None:
            raise TimeoutError(f"QEMU (pid {self.pid}) still runs after {deadline:g} s")
        return self.returncode

    def on_exit(self, callback: Callable[[int], None]) -> None:
        """Has the loop call `callback` with the exit status, once, soon after the exit or now if it is over."""
        self._check_owner()
        if self.returncode is None:
            self._on_exit.append(callback)
        else:
            self._loop.call_soon(callback, self.returncode)

    async def last_words(self) -> str:
        """Gives the status and the last lines of stderr, for an error's text.

        Waits up to a second for an exit that is under way: QEMU's connections end before it does.
        """
        self._check_owner()
        await asyncio.wait([self._exited], timeout=_MOMENT)
        return self._words()

    def exited_error(self, what: str, hint: str = "") -> QemuExited:
        """Makes the error for an exit that nobody asked for. `what` says what failed because of it.

        Raises Bug while the process runs.
        """
        self._check_owner()
        self._reap()
        if self.returncode is None:
            raise Bug(f"{what} is blamed on the exit of a QEMU that still runs (pid {self.pid})")
        _log_argv(self.pid, self.argv)
        return QemuExited(
            f"{what}: {self._words()}", returncode=self.returncode, stderr=self.stderr_tail, argv=self.argv, hint=hint
        )

    async def stop(
        self,
        *,
        polite: Sequence[PoliteRung] = (),
        term_deadline: float = _TERM_DEADLINE,
        kill_deadline: float = KILL_DEADLINE,
    ) -> list[str]:
        """Ends the process: each polite rung, then SIGTERM, then SIGKILL; gives the rungs that were used.

        When it returns, the process is reaped. Cancelled, it kills and reaps before it lets the cancellation
        through. Callers at the same time share one ladder, the first one's; afterwards it does nothing.

        Raises HostError when the kernel doesn't end the process within `kill_deadline` seconds.
        """
        self._check_owner()
        try:
            async with self._ladder:
                for name, ask, seconds in (*polite, *self._signal_rungs(term_deadline, kill_deadline)):
                    if self.returncode is not None:
                        break
                    self._rungs.append(name)
                    await self._step_down(ask, seconds)
        except asyncio.CancelledError:
            await self._kill_uncancelled(kill_deadline)
            raise
        if self.returncode is None:
            raise HostError(
                f"QEMU (pid {self.pid}) still runs {kill_deadline:g} s after SIGKILL",
                hint=f"the kernel holds it: see /proc/{self.pid}/stack",
            )
        return list(self._rungs)

    def kill(self) -> None:
        """Sends SIGKILL, and doesn't wait: the exit is seen as any other. Nothing happens when it has ended."""
        self._check_owner()
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Frees the fds; a process that still runs is killed and reaped first, which blocks for a moment.

        Works without the loop, for the end of a program. `stop` is the way that doesn't block.
        """
        if os.getpid() != self._owner or self._pidfd < 0:
            return
        if self.returncode is None:
            self._signal(signal.SIGKILL)
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            poll.poll(KILL_DEADLINE * 1000)
        self._reap()
        self._release()

    def leave(self) -> None:
        """Frees the fds, and lets the process go on; whoever wants to adopts it. Nothing is known of it here any more.

        One that is to go on when this process ends was started with `keep`. When it ends before that, it stays a zombie
        until then, unless this process adopts it.
        """
        if os.getpid() == self._owner:
            self._release()

    def _reap(self) -> None:
        """Takes the exit in, when there is one; the one place that does."""
        if self._returncode is not None or self._pidfd < 0:
            return
        status = self._returncode = _exit_status(self._pidfd)
        if status is None:
            return
        self._release()
        if self._loop.is_closed():  # nobody can wait on it any more
            return
        if not self._exited.done():
            self._exited.set_result(status)
        while self._on_exit:
            self._loop.call_soon(self._on_exit.pop(0), status)

    def _release(self) -> None:
        if self._pidfd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._tail.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                pass  # it has just ended; the loop will say so

    def _signal_rungs(self, term_deadline: float, kill_deadline: float) -> list[PoliteRung]:
        async def terminate() -> None:
            self._signal(signal.SIGTERM)

        async def kill() -> None:
            self._signal(signal.SIGKILL)

        return [("SIGTERM", terminate, term_deadline), ("SIGKILL", kill, kill_deadline)]

    async def _step_down(self, ask: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Asks, and waits for the exit; returns early when asking fails, since the next rung is for that."""
        asking = asyncio.ensure_future(ask())
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, so not logged
        either: list[asyncio.Future[Any]] = [asking, self._exited]
        until = self._loop.time() + seconds
        try:
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not asking.cancelled() and asking.exception() is None:
                await asyncio.wait([self._exited], timeout=until - self._loop.time())
        finally:
            asking.cancel()

    async def _kill_uncancelled(self, deadline: float) -> None:
        """SIGKILL, and wait for the end. Whoever cancels again has to wait too: it is a matter of milliseconds."""
        self._signal(signal.SIGKILL)
        until = self._loop.time() + deadline
        while self.returncode is None and (left := until - self._loop.time()) > 0:
            try:
                await asyncio.wait([self._exited], timeout=left)
            except asyncio.CancelledError:
                continue

    def _words(self) -> str:
        words = [_status_text(self.returncode)]
        if lines := self._tail.last_lines(QUOTED):
            words.append(f"last words: {lines}")
        return "; ".join(words)

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise ForeignProcess(
                f"QEMU (pid {self.pid}) belongs to process {self._owner}; this is {os.getpid()}, forked from it",
                hint="use it in the process that started it",
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self.stop()
        finally:
            self.close()

    @override
    def __repr__(self) -> str:
        return f"<QemuProcess pid={self.pid} {_status_text(self.returncode)}>"


def _exit_status(pidfd: int) -> int | None:
    """As `returncode`. Only a parent is told; anybody may see that it is over."""
    try:
        found = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return UNKNOWN_STATUS if poll.poll(0) else None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _log_argv(pid: int, argv: Sequence[str]) -> None:
    import logging  # both cost 10 ms, which are spent on failures only
    import shlex

    logging.getLogger("gavotte").debug("command line of QEMU (pid %d): %s", pid, shlex.join(argv))


def _status_text(returncode: int | None) -> str:
    if returncode is None:
        return "still running"
    if returncode == UNKNOWN_STATUS:
        return "it has ended, and only the process that started it was told how"
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:  # real-time signals between the first and the last have no name
        return f"killed by signal {-returncode}"
