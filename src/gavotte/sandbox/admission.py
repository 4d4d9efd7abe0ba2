"""Whether this host has room for one more guest now: its processors and its memory as they are, not as configured.

Guests that start compete for processors, so about as many start at once as processors are free, and the others wait
in a queue. A guest takes memory as it runs; one that isn't sure to get it isn't started.
Sources: proc(5) for MemAvailable and loadavg; cgroups(7) and the kernel's cgroup-v2.rst for a container's limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gavotte.errors import HostError

__all__ = ["Admission", "HostLoad", "cost_of", "lacks", "look_at_host", "starts_at_once", "usable_cores"]

_MIB = 1 << 20
_QEMU = 48 * _MIB  # private memory of a QEMU and of a guest that idles, without what the guest writes
_SHARE = 4  # a guest that runs an ordinary command writes to a quarter of its memory
_FDS = 16  # that a sandbox holds in this process, and takes to start
_AGAIN = 0.5  # seconds: nobody tells when another process gives memory back
_PATIENCE = 30.0  # seconds to wait for that
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class HostLoad:
    """What there is at one moment: processors that may be used, how many tasks want one, bytes, file descriptors."""

    cores: int
    load: float
    available: int
    total: int
    fds: int


def usable_cores() -> int:
    """Processors that this process may use: by its affinity, and by the quota of its container."""
    cores = len(os.sched_getaffinity(0))
    for group in _groups():
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def look_at_host() -> HostLoad:
    """What there is now. A container's limit counts where it is less than what the machine has."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available, total = (int(lines[name].split()[0]) << 10 for name in ("MemAvailable", "MemTotal"))
    for group in _groups():
        limit, used = _read(group / "memory.max"), _read(group / "memory.current")
        if limit.isdigit() and used.isdigit():
            total = min(total, int(limit))
            available = min(available, int(limit) - int(used) + _cached(group))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    fds = soft if soft != resource.RLIM_INFINITY else 1 << 20
    return HostLoad(usable_cores(), os.getloadavg()[0], available, total, fds - len(os.listdir("/proc/self/fd")))  # noqa: PTH208


def starts_at_once(host: HostLoad) -> int:
    """How many guests may be starting: the processors, less what wants more than these; one in any case. Pure."""
    return max(1, round(host.cores - max(0.0, host.load - host.cores)))


def cost_of(memory: int) -> int:
    """Bytes of the host that a guest of `memory` bytes is expected to take. Pure."""
    return _QEMU + memory // _SHARE


def lacks(host: HostLoad, starting: int, reserved: int, cost: int) -> str:
    """What keeps a guest that will take `cost` bytes from being started; empty if nothing does. Pure.

    `reserved` bytes are for the `starting` ones, which don't have them yet.
    """
    spare = max(128 * _MIB, host.total // 50)  # for all others on this machine
    free = host.available - reserved - spare
    if free < cost:
        return f"memory: the next guest may take {cost // _MIB}M, and {max(0, free) // _MIB}M are free"
    if host.fds < _FDS * (starting + 1):
        return f"file descriptors: {max(0, host.fds)} are left (ulimit -n)"
    return "processors" if starting >= starts_at_once(host) else ""


class Admission:
    """A queue in front of the starts of guests. One for each event loop (`here`), so that pools share it."""

    def __init__(self, look: Callable[[], HostLoad] = look_at_host) -> None:
        self._look = look
        self._starting: list[int] = []  # what each is expected to take
        self._queue: deque[asyncio.Event] = deque()

    @classmethod
    def here(cls) -> Admission:
        """The one of the running loop."""
        return _admissions.setdefault(asyncio.get_running_loop(), cls())

    @property
    def starting(self) -> int:
        """How many are being started."""
        return len(self._starting)

    async def enter(self, cost: int) -> None:
        """Wait for one's turn, and for room for a guest that will take `cost` bytes; `leave` when it has started.

        Raises HostError when nothing starts, and there is too little memory for too long.
        """
        turn = asyncio.Event()
        self._queue.append(turn)
        try:
            await self._first(turn)
            await self._room(turn, cost)
            self._starting.append(cost)
        finally:
            self._queue.remove(turn)
            self.look_again()

    def leave(self, cost: int) -> None:
        """It has started, or has failed to."""
        self._starting.remove(cost)
        self.look_again()

    def look_again(self) -> None:
        """Something may have become free."""
        if self._queue:
            self._queue[0].set()

    async def _first(self, turn: asyncio.Event) -> None:
        """Those before it move on with a deadline of their own."""
        while self._queue[0] is not turn:
            turn.clear()
            await turn.wait()

    async def _room(self, turn: asyncio.Event, cost: int) -> None:
        clock = asyncio.get_running_loop().time
        since = clock()
        while why := lacks(self._look(), self.starting, sum(self._starting), cost):
            if self.starting:
                since = clock()  # a start that goes on is a sign of life: it ends in time, and tells
            elif clock() - since > _PATIENCE:
                raise HostError(why, hint="end what uses it, or ask for smaller or fewer guests")
            turn.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):
                    await turn.wait()


_admissions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Admission] = weakref.WeakKeyDictionary()


def _groups() -> Iterator[Path]:
    """This process's control group of version 2, and those around it, as far as they can be seen."""
    line = next((line for line in _read(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::/")), "")
    path = _CGROUPS / line[4:]
    while line and path.is_relative_to(_CGROUPS):
        yield path
        path = path.parent


def _cached(group: Path) -> int:
    """Bytes that the kernel can take back from a group at once."""
    found = [line.split()[1] for line in _read(group / "memory.stat").splitlines() if line.startswith("inactive_file ")]
    return int(found[0]) if found else 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
