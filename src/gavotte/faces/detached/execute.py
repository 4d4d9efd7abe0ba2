"""`gavotte exec`: a command in a detached sandbox, with this process's streams, signals and terminal."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from gavotte.errors import CommandLost, UsageError
from gavotte.faces.command import add_command_options, add_lacking_options
from gavotte.faces.detached.streams import Interrupted, Streams
from gavotte.faces.environment import read_environment
from gavotte.faces.terminal import closed_streams, is_terminal, raw_mode, say, window_size
from gavotte.sandbox.keeper.client import connect
from gavotte.sandbox.register import find_entry
from gavotte.sandbox.words import check_argv, check_env

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    parser.set_defaults(handler=execute)
    add_command_options(parser)
    add_lacking_options(parser)
    parser.add_argument("name", metavar="NAME", help="the sandbox")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD [ARG…]", help="the command")


def execute(options: argparse.Namespace) -> int:
    """Do it; gives the exit status. The command gets SIGHUP when this process ends before it."""
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(f"{options.timeout:g} is not a number of seconds above 0", path="timeout")
    argv = check_argv(options.argv)
    env = check_env(read_environment(options.env))
    closed = closed_streams()
    stdin = options.tty or (0 not in closed and (options.interactive or not is_terminal(0)))
    with connect(find_entry(options.name)) as line:
        line.ask(
            "exec",
            argv=argv,
            env=env,
            cwd=options.cwd,
            user=options.user,
            stdin=stdin,
            tty=window_size() if options.tty else None,
            closed=closed,
            timeout=options.timeout,
        )
        try:
            with raw_mode(0) if options.tty else nullcontext():
                end = Streams(line, stdin=stdin, tty=options.tty).run()
        except Interrupted as interrupted:
            return interrupted.exit_code
    if end.get("oom_kills"):
        say(f"note: the guest killed {end['oom_kills']} processes of the command for want of memory")
    if end.get("forks_denied"):
        say(f"note: the guest denied the command {end['forks_denied']} new processes: it had too many")
    if end["exit"] is None:
        raise CommandLost("the command's end was not seen")
    return int(end["exit"])
