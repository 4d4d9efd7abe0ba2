"""The signals that end this process, held back for a moment in which they would do harm."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["ENDING", "signals_held"]

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def signals_held() -> Iterator[Callable[[], None]]:
    """SIGINT and its like are delivered to this thread behind the block, or when what it gives is called.

    While a program is begun, what they raise would leave it to nobody. It inherits that they are held, unless it lets
    them go before exec(2).
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *ENDING))
        yield lambda: _restore(before)
    finally:
        _restore(before)


def _restore(mask: set[int | signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
