"""`gavotte run -d`, `ps`, `exec`, `stop` and the others that act on a sandbox which a keeper keeps.

Knows: their arguments, how their answers are shown, and this process's streams and signals.
Doesn't know: how a keeper does what it is asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

__all__ = ["COMMANDS", "add_command", "add_options"]

Handler = Callable[[argparse.Namespace], int]

# Which module has the command, and its help. Only the one that is asked for is imported.
COMMANDS = {
    "ps": ("listing", "list the detached sandboxes"),
    "exec": ("execute", "run a command in a detached sandbox; its exit status is the command's"),
    "logs": ("listing", "print what the command of a detached sandbox wrote"),
    "inspect": ("listing", "all that is known of a detached sandbox, as JSON"),
    "stop": ("change", "end a detached sandbox; its name and its log stay until rm"),
    "rm": ("change", "remove a detached sandbox that has ended"),
    "pause": ("change", "have a detached sandbox stand still"),
    "resume": ("change", "have a paused sandbox go on"),
    "resize": ("change", "give a detached sandbox more or fewer processors, more or less memory"),
    "plug": ("devices", "add a device, in QEMU's words, to a detached sandbox"),
    "unplug": ("devices", "remove a device that was plugged"),
    "console": ("console", "see the guest's console and type into it; Ctrl-] leaves"),
}


def add_command(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments of one of COMMANDS, and its handler."""
    import importlib

    module: Any = importlib.import_module(f"gavotte.faces.detached.{COMMANDS[name][0]}")
    module.add_arguments(parser, name)


def add_options(run: argparse.ArgumentParser) -> None:
    """What `gavotte run` takes for a sandbox that is to be detached."""
    group = run.add_argument_group("a sandbox that stays")
    group.add_argument(
        "-d", "--detach", action="store_true", help="start it, print its name and leave; see ps, exec, stop, rm"
    )
    group.add_argument("--name", metavar="NAME", help="what it is called (made up unless given)")
    group.add_argument("--rm", action="store_true", help="remove it when it has ended")
    group.add_argument("--stop-signal", metavar="SIGNAL", help="what asks its command to end when it is stopped (TERM)")
    group.add_argument("--slots", type=int, metavar="N", help="devices that can be plugged into it (8)")
    group.add_argument("--max-cpus", type=int, metavar="N", help="processors that it may grow to (4)")
    group.add_argument("--max-memory", metavar="SIZE", help="memory that it may grow to (half of the host's)")
