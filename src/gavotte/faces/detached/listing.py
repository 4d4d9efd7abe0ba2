"""`gavotte ps`, `logs` and `inspect`: what there is to see of detached sandboxes."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from typing import Any

from gavotte.faces.tables import short_time
from gavotte.sandbox.register import COMMAND_LOG, ENDED, Entry, find_entry, list_entries
from gavotte.text import harmless, size_text

__all__ = ["add_arguments"]

_COLUMNS = ("NAME", "STATE", "AGE", "CPUS", "MEMORY", "COMMAND")
_LONGEST_COMMAND = 60


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    if command == "ps":
        parser.set_defaults(handler=ps)
        parser.add_argument("--json", action="store_true", help="for programs")
    else:
        parser.set_defaults(handler={"logs": logs, "inspect": inspect}[command])
        parser.add_argument("name", metavar="NAME", help="the sandbox")


def ps(options: argparse.Namespace) -> int:
    """All of this user's, the newest first, from the register alone."""
    entries = list_entries()
    if options.json:
        import json

        print(json.dumps([facts(entry) for entry in entries], indent=1))
        return 0
    rows = [_COLUMNS, *map(_row, entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
    return 0


def facts(entry: Entry) -> dict[str, Any]:
    """What the register says of a sandbox, for programs."""
    state, why = entry.observed
    over = state in ENDED
    return {
        "name": entry.name,
        "state": state,
        "status": entry.status,
        "why": why,
        "created": entry.created,
        "ended": entry.ended,
        "command": entry.argv,
        **entry.spec,
        "keeper": entry.keeper.pid if entry.kept and entry.keeper and not over else None,
        "qemu": entry.qemu.pid if entry.qemu and not over else None,
    }


def _row(entry: Entry) -> tuple[str, ...]:
    state, why = entry.observed
    if state in ENDED and entry.status is not None:
        state = f"{state} ({entry.status})"
    elif why:
        state = f"{state} ({harmless(why.splitlines()[0])[:60]})"
    command = harmless(shlex.join(entry.argv)).replace("\n", " ") or "-"
    if len(command) > _LONGEST_COMMAND:
        command = f"{command[: _LONGEST_COMMAND - 1]}…"
    memory = size_text(entry.spec["memory"])
    return entry.name, state, short_time(time.time() - entry.created), str(entry.spec["cpus"]), memory, command


def logs(options: argparse.Namespace) -> int:
    """What its command wrote, the last 8 to 16 MiB of it, as it is."""
    from gavotte.sandbox.keeper.log import read_log

    for data in read_log(find_entry(options.name).path / COMMAND_LOG):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(1, rest) :]
    return 0


def inspect(options: argparse.Namespace) -> int:
    """From the register, and from the keeper where the sandbox runs."""
    import json

    from gavotte.sandbox.keeper.client import connect

    entry = find_entry(options.name)
    found = facts(entry)
    if not entry.over:
        with connect(entry) as line:
            found |= line.ask("inspect")
    print(json.dumps(found, indent=1))
    return 0
