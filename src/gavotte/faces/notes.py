"""What the floors below have to say while they work, as notes on stderr or not at all."""

from __future__ import annotations

import logging

from gavotte.compat import override
from gavotte.faces.terminal import say
from gavotte.text import harmless

__all__ = ["Notes", "take_notes"]


class Notes(logging.Handler):
    """Each line of the log becomes a note."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Write it. Nothing that goes wrong here is worth an end."""
        try:
            say(f"note: {harmless(record.getMessage())}")
        except Exception:
            self.handleError(record)


def take_notes(*, quiet: bool = False) -> None:
    """From now on the warnings in the log of this process are notes; with `quiet` nobody hears of them.

    For a process that is a command line: one that uses Gavotte from Python decides for itself what becomes of its log.
    """
    log = logging.getLogger("gavotte")
    log.handlers[:] = [Notes(logging.WARNING)]
    log.setLevel(logging.CRITICAL if quiet else logging.WARNING)  # what is said once isn't said to nobody
    log.propagate = False
