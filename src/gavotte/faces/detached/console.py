"""`gavotte console`: the guest's console, to be read and typed into."""

from __future__ import annotations

import argparse

from gavotte.faces.detached.streams import Interrupted, Streams
from gavotte.faces.terminal import is_terminal, raw_mode, say
from gavotte.sandbox.keeper.client import connect
from gavotte.sandbox.register import find_entry

__all__ = ["add_arguments"]

_LEAVE = b"\x1d"  # Ctrl-], as telnet has it


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    parser.set_defaults(handler=console)
    parser.add_argument("name", metavar="NAME", help="the sandbox")


def console(options: argparse.Namespace) -> int:
    """The last lines first, then what comes. Ends with the sandbox, at the end of a piped input, and at Ctrl-]."""
    with connect(find_entry(options.name)) as line:
        line.ask("console")
        try:
            with raw_mode(0):
                if is_terminal(0):  # said when it holds: what was typed before is dropped
                    say("this is the guest's console; Ctrl-] leaves it\r")
                Streams(line, stdin=True, tty=is_terminal(0), leave=_LEAVE).run()
        except Interrupted as interrupted:
            return interrupted.exit_code if interrupted.number else 0
    return 0
