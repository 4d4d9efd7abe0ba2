"""The synchronous pool: the asynchronous one, on the private loop."""

from __future__ import annotations

import atexit
import warnings
import weakref
from collections.abc import Sequence
from typing import Self, Unpack

from gavotte.arguments import StrPath, check_timeout
from gavotte.compat import override
from gavotte.faces.api import Sandbox
from gavotte.faces.loop import begin, call
from gavotte.sandbox.options import MachineOptions
from gavotte.sandbox.pool import WARM_UP, AsyncPool

__all__ = ["Pool"]


class Pool:
    """Keeps `size` sandboxes ready, and hands each over once: it is then the caller's, who closes it.

        with gavotte.Pool(size=4, memory="256M") as pool:
            with pool.acquire() as box:
                print(box.run(["uname", "-a"]).stdout)

    Takes what `AsyncPool` takes, and has its methods; they may be called from any thread.
    """

    def __init__(
        self,
        size: int = 8,
        *,
        limit: int | None = None,
        warm: Sequence[Sequence[StrPath]] = WARM_UP,
        **options: Unpack[MachineOptions],
    ) -> None:
        self._async = AsyncPool(size, limit=limit, warm=warm, **options)

    @override
    def __repr__(self) -> str:
        return repr(self._async).replace("AsyncPool", "Pool", 1)

    @property
    def idle(self) -> int:
        """How many are ready."""
        return self._async.idle

    @property
    def alive(self) -> int:
        """How many there are: starting, ready and in use."""
        return self._async.alive

    def start(self) -> None:
        """Begin to fill it, in the background; `acquire` does that too."""
        self._async.check_owner()
        _live.add(self)
        call(self._async.start())

    def ready(self, timeout: float | None = None) -> None:
        """Wait until `size` are ready; see `AsyncPool.ready`."""
        seconds = check_timeout(timeout, zero=True)
        self.start()
        call(self._async.ready(seconds))

    def acquire(self, timeout: float | None = None) -> Sandbox:
        """One of the sandboxes, which runs; close it when you are done. See `AsyncPool.acquire`."""
        seconds = check_timeout(timeout, zero=True)
        self.start()

        async def acquire() -> Sandbox:
            return Sandbox.of(await self._async.take(seconds))  # owned before an interrupt can lose it

        return call(acquire())

    def close(self) -> None:
        """End all that nobody has acquired, and turn away who waits. Idempotent."""
        self._async.check_owner()
        call(self._async.close())
        _live.discard(self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        pool: AsyncPool | None = getattr(self, "_async", None)  # none when the options were refused
        if pool is not None and pool.is_open() and pool.is_ours():
            warnings.warn(f"{self!r} was dropped without close()", ResourceWarning, stacklevel=2, source=self)
            begin(pool.close())


_live: weakref.WeakSet[Pool] = weakref.WeakSet()


def _close_all() -> None:
    """At the program's end: pools that nobody closed. In a forked child they are the parent's."""
    for pool in list(_live):
        if pool._async.is_ours():
            pool.close()


atexit.register(_close_all)
