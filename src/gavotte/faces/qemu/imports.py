"""`gavotte qemu import`: from a command line to a machine file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gavotte.errors import HostError, UsageError
from gavotte.qemu.imports import (
    CommandLine,
    command_in_text,
    command_of_process,
    import_argv,
    inherited_fds,
    modernise,
    trace_script,
)
from gavotte.text import harmless

__all__ = ["add_actions"]


def add_actions(add: Callable[..., Any]) -> None:
    """Add the actions: `add(name, handler, help)` gives the action's argument parser."""
    parser = add("import", _import, "print the machine file for a QEMU command line; without --modern nothing changes")
    parser.add_argument("--from-file", metavar="FILE", help="a script, a log, or - for stdin, that holds it")
    parser.add_argument("--pid", type=int, metavar="N", help="the command line of a process that runs")
    parser.add_argument(
        "--trace", action="store_true", help="what is behind -- is a script: run it, for what it starts"
    )
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="end a traced script then (60)")
    parser.add_argument("--modern", action="store_true", help="write legacy options as maps, and name each change")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the machine file there (stdout)")
    parser.add_argument("argv", nargs="*", metavar="-- QEMU ARG…", help="the command line, or the script")


def _import(options: argparse.Namespace) -> int:
    import json

    found = _command_line(options)
    document = import_argv(found.argv)
    if options.modern:
        document, changes = modernise(document)
        for change in changes:
            _note(harmless(str(change)))
    for note in found.notes:
        _note(note)
    for path, numbers in inherited_fds(document).items():
        _note(f"{path}: {_listed(numbers)} was opened by who started this QEMU; open it anew and name it in 'fds'")
    _write(json.dumps(document, indent=1) + "\n", options.output)
    return 0


def _command_line(options: argparse.Namespace) -> CommandLine:
    sources = [options.argv or None, options.from_file, options.pid]
    if len([source for source in sources if source is not None]) != 1:
        raise UsageError(
            "one command line is wanted: behind --, by --from-file or by --pid",
            hint="gavotte qemu import -- qemu-system-x86_64 ARGS…",
        )
    if options.trace and not options.argv:
        raise UsageError(
            "a script is wanted behind --", path="--trace", hint="gavotte qemu import --trace -- ./launch.sh"
        )
    if options.trace:
        _note(f"runs {harmless(options.argv[0])}, with all that it does; only QEMU is not started")
        return trace_script(options.argv, timeout=options.timeout)
    if options.argv:
        return CommandLine(tuple(options.argv))
    if options.pid is not None:
        return command_of_process(options.pid)
    return command_in_text(_read(options.from_file), "stdin" if options.from_file == "-" else options.from_file)


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as e:
        raise UsageError(f"can't read {name}: {e.strerror}", path="--from-file") from e


def _write(text: str, name: str | None) -> None:
    if name is None:
        print(text, end="")
        return
    try:
        Path(name).write_text(text)
    except OSError as e:
        raise HostError(f"can't write {name}: {e.strerror}") from e


def _listed(numbers: tuple[int, ...]) -> str:
    return f"descriptor {', '.join(map(str, numbers))}"


def _note(text: str) -> None:
    print(f"gavotte: {text}", file=sys.stderr)
