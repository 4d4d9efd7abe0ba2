"""`gavotte qmp`: one command for a QMP socket, or a prompt with completion and history.

Knows: terminals, and how a command is typed.
Doesn't know: what any command does.
"""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `run` reads."""
    parser.epilog = (
        "ARGS are name=value words, or one JSON object. A value that is JSON of the argument's type is taken as that,"
        " else as text. Without COMMAND they are read from stdin, one a line: on a terminal with completion by Tab and"
        " a history; from a pipe until its end, or the first that fails."
    )
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds that a command may take (30)")
    parser.add_argument("socket", metavar="SOCKET", help="the path of a QMP socket")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="such as query-status")
    parser.add_argument("arguments", nargs="*", metavar="ARGS", help="""such as id=disk0, or '{"id": "disk0"}'""")


def run(options: argparse.Namespace) -> int:
    """Talk until there is no more to say; gives the exit status."""
    import sys

    from gavotte.errors import UsageError
    from gavotte.faces.qmp import talk
    from gavotte.faces.qmp.session import Session

    if not options.timeout > 0:
        raise UsageError(f"{options.timeout:g} is not a number of seconds above 0", path="timeout")
    with Session(options.socket, options.timeout) as session:
        if options.command is not None:
            return talk.say_one(session, [options.command, *options.arguments])
        if sys.stdin.isatty() and sys.stdout.isatty():
            return talk.from_terminal(session)
        return talk.from_pipe(session)
