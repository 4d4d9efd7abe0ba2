"""A terminal for a program under test, with somebody who types and looks."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.command_line import PATIENCE, read_until, started

__all__ = ["Terminal", "on_terminal"]


class Terminal:
    """A pseudo terminal: `master` is the person's end, `slave` what the program gets."""

    def __init__(self, rows: int, columns: int) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.at_first = termios.tcgetattr(self.slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def read_until(self, wanted: bytes, seconds: float = PATIENCE) -> bytes:
        return read_until(self.master, wanted, seconds)

    @property
    def is_raw(self) -> bool:
        """No echo, no lines, no signals by keys."""
        return not termios.tcgetattr(self.slave)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)

    @property
    def is_as_at_first(self) -> bool:
        return termios.tcgetattr(self.slave) == self.at_first


@contextmanager
def on_terminal(*words: str, rows: int = 24, columns: int = 80) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """A program in a session of its own, whose controlling terminal is a new one."""
    terminal = Terminal(rows, columns)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
    try:
        with started(*words, before=["setsid", "--ctty"], **streams) as process:
            yield terminal, process
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)
