"""`gavotte stop`, `rm`, `pause`, `resume` and `resize`: what changes a detached sandbox."""

from __future__ import annotations

import argparse

from gavotte.errors import GavotteError, NoSuchSandbox, StateError, UsageError
from gavotte.faces.terminal import say
from gavotte.sandbox.keeper.client import connect
from gavotte.sandbox.register import GRACE, STOPPED, Entry, find_entry, remove, wait_for_end
from gavotte.sandbox.store import sweep
from gavotte.sandbox.words import parse_size
from gavotte.text import size_text

__all__ = ["add_arguments"]

_PATIENCE = 30.0  # seconds in which a keeper has ended a machine, whatever that does
_LONGEST = 1e6


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    parser.set_defaults(handler={"stop": stop, "rm": rm, "pause": turn, "resume": turn, "resize": resize}[command])
    if command == "resize":
        parser.add_argument("--cpus", type=int, metavar="N", help="virtual processors")
        parser.add_argument("-m", "--memory", metavar="SIZE", help="256M, 1.5G, …")
    if command == "stop":
        parser.add_argument(
            "--time",
            type=float,
            default=GRACE,
            metavar="S",
            help="how long its command may take to end after SIGTERM, or run's --stop-signal (10)",
        )
        parser.add_argument("-f", "--force", action="store_true", help="at once, without asking the guest")
    if command == "rm":
        parser.add_argument("-f", "--force", action="store_true", help="end it first if it runs")
    parser.set_defaults(command=command)
    if command in ("stop", "rm"):
        parser.add_argument("name", nargs="+", metavar="NAME", help="the sandboxes")
    else:
        parser.add_argument("name", metavar="NAME", help="the sandbox")


def stop(options: argparse.Namespace) -> int:
    """End them, all at once. One that has ended is left as it is."""
    if not 0 <= options.time < _LONGEST:
        raise UsageError(f"{options.time:g} is no number of seconds from 0 on", path="time")
    entries = [find_entry(name) for name in options.name]  # before any is ended
    if len(entries) == 1:
        end(entries[0], force=options.force, grace=options.time)
        return 0
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(entries)) as pool:
        list(pool.map(lambda entry: end(entry, force=options.force, grace=options.time), entries))
    return 0


def end(entry: Entry, *, force: bool, grace: float = 0.0) -> None:
    """Have its keeper end it; returns when that is done. By force also where no keeper can."""
    if entry.over:
        return
    try:
        with connect(entry) as line:
            line.ask("stop", force=force, grace=grace, patience=(0.0 if force else grace) + _PATIENCE)
        entry = Entry.read(entry.path)
        if entry.keeper is not None:
            wait_for_end(entry.keeper)
    except NoSuchSandbox:
        return  # it was to be removed by itself
    except GavotteError:
        entry = Entry.read(entry.path)
        if entry.over:
            return
        if not force:
            raise
        _kill(entry)


def _kill(entry: Entry) -> None:
    """Do what its keeper doesn't."""
    entry.kill()
    sweep()  # it may have had helpers
    entry.end(STOPPED)
    if entry.remove:
        remove(entry)


def rm(options: argparse.Namespace) -> int:
    """Remove their directories, with log and name. Raises StateError for one that runs."""
    for name in options.name:
        entry = find_entry(name)
        if options.force:
            end(entry, force=True)
        elif not entry.over:
            state = entry.observed[0]
            raise StateError(f"{name} is {state}", hint=f"gavotte stop {name} first, or gavotte rm --force {name}")
        sweep()  # a machine whose keeper died may have left helpers
        remove(entry)
    return 0


def turn(options: argparse.Namespace) -> int:
    """Pause or resume. Once more does nothing."""
    with connect(find_entry(options.name)) as line:
        line.ask(options.command)
    return 0


def resize(options: argparse.Namespace) -> int:
    """Prints what was reached; 1 when that isn't what was asked for."""
    if options.cpus is None and options.memory is None:
        raise UsageError("nothing to change", path="cpus", hint="give --cpus, --memory or both")
    memory = None if options.memory is None else parse_size(options.memory, "memory")
    with connect(find_entry(options.name)) as line:
        reached = line.ask("resize", cpus=options.cpus, memory=memory)
    print(f"{reached['cpus']} cpus, {size_text(reached['memory'])}")
    for shortfall in reached["short"]:
        say(shortfall)
    return 1 if reached["short"] else 0
