"""The terminal and the standard streams of this process: raw mode, window size."""

from __future__ import annotations

import errno
import fcntl
import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["closed_streams", "is_broken_pipe", "is_terminal", "raw_mode", "say", "window_size"]


def say(text: str) -> None:
    """A line of ours on stderr; a stderr that is closed or full is nobody's concern here."""
    try:
        os.write(2, f"gavotte: {text}\n".encode(errors="replace"))
    except OSError:
        pass


def is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def closed_streams() -> list[int]:
    """Those of 0, 1 and 2 that can't be read, or written: a shell's `2>&-` closed them, and the command line put
    something of that kind in their places."""
    return [
        fd for fd, useless in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)) if _mode(fd) in (None, useless)
    ]


def _mode(fd: int) -> int | None:
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return None


def window_size() -> tuple[int, int]:
    """(rows, columns) of the first of our streams that is a terminal; 24 x 80 when none is."""
    for fd in (0, 1, 2):
        try:
            size = os.get_terminal_size(fd)
        except OSError:
            continue
        if size.lines and size.columns:
            return size.lines, size.columns
    return 24, 80


@contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Every key goes through as it is. The terminal is as it was afterwards, whatever happened in between."""
    if not is_terminal(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead stays
        yield
    finally:
        with suppress(termios.error):  # a terminal that was closed has no mode to restore
            termios.tcsetattr(fd, termios.TCSADRAIN, before)  # what is typed meanwhile is for whoever is next


def is_broken_pipe(error: OSError) -> bool:
    return error.errno in (errno.EPIPE, errno.ECONNRESET)
