"""How long a guest is waited for, and the question whether it still lives.

A call with a timeout is back within that and GRACE. One without waits as long as its command runs, and for a guest that
answers: somebody who waits has it asked for a sign of life now and then. A guest that nobody waits for is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gavotte.errors import GuestError, GuestSilent

__all__ = ["GRACE", "SILENCE", "Liveness"]

T = TypeVar("T")

GRACE = 10.0  # seconds that a call may take beyond its timeout, in which the guest is to end what it was given up for
SILENCE = 60.0  # seconds without an answer after which a guest is called silent
_ROUNDS = 4  # in which these are counted; the first sign of life is asked for after one of them


class Liveness:
    """Watches over the waits for one guest.

    Silence is counted in rounds of this process's own: one that was stopped for an hour, or that had no processor, has
    counted one at most. A machine that stands still isn't asked, and its silence isn't counted.
    """

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        """`ask` gives the guest's answer, whenever it comes, or raises GuestError when none can come."""
        self._ask = ask
        self._waits: set[asyncio.Timeout] = set()
        self._asking: asyncio.Task[None] | None = None
        self._unanswered = 0  # rounds
        self._timer: asyncio.TimerHandle | None = None
        self.runs: Callable[[], bool] = lambda: True  # whether the machine does
        self.console: Callable[[], str] = lambda: ""  # the tail of what it printed

    async def over(self, wait: Awaitable[T]) -> T:
        """What the wait gives. Raises GuestSilent, and cancels it, when the guest is silent meanwhile."""
        timeout = asyncio.timeout(None)
        try:
            async with timeout:
                self._waits.add(timeout)
                self._wind()
                return await wait
        except TimeoutError:
            if not timeout.expired():
                raise
            raise GuestSilent(
                f"the guest gave no sign of life for {SILENCE:g} s",
                console=self.console(),
                hint="its processors may be kept from running: wait again, or close the sandbox",
            ) from None
        finally:
            self._waits.discard(timeout)

    def close(self) -> None:
        """Ask nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()

    def _wind(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SILENCE / _ROUNDS, self._round)

    def _round(self) -> None:
        self._timer = None
        if not self._waits:
            return
        self._wind()
        if not self.runs():
            return
        if self._asking is None or self._asking.done():
            self._unanswered = 0
            self._asking = asyncio.get_running_loop().create_task(self._answer())
            return
        self._unanswered += 1
        if self._unanswered >= _ROUNDS:
            self._unanswered = 0
            waits, self._waits = self._waits, set()
            for timeout in waits:
                timeout.reschedule(asyncio.get_running_loop().time())

    async def _answer(self) -> None:
        try:
            await self._ask()
        except GuestError:
            pass  # a refusal is an answer; a line that broke is told by others
