"""Where command lines are found: in scripts, in logs, in running processes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gavotte.errors import HostError, UsageError
from gavotte.qemu.imports.bash import read_script
from gavotte.qemu.imports.launchers import names_qemu, program_at
from gavotte.qemu.imports.logs import Start, starts_in_json, starts_in_log
from gavotte.qemu.props import Json
from gavotte.text import harmless, size_text

__all__ = ["CommandLine", "command_in_text", "command_of_process", "inherited_fds"]

MAX_BYTES: Final = 16 << 20

_MAX_SCRIPT: Final = 1 << 20

_OTHER = re.compile(rb"^[ \t]*@\w|[ \t]\^\r?$", re.MULTILINE)  # of Windows' batch files and of makefiles

_VERBATIM: Final = "give the one command line behind: gavotte qemu import --"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A QEMU's arguments, its own name first. `notes` are what a reader should know about where they came from."""

    argv: tuple[str, ...]
    notes: tuple[str, ...] = ()


def command_in_text(data: bytes, name: str) -> CommandLine:
    """Gives the one QEMU command line in a file: a script, a log, what ps printed, or a copy of /proc/N/cmdline.

    Of libvirt's log of a domain it is the last, the start of the machine that runs. Raises UsageError when there is
    none, when there are several, and when a word of it can't be told without running the script.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name} is larger than {size_text(MAX_BYTES)}, so it is surely not a command line")
    text = os.fsdecode(data)
    if "\0" in text:
        return CommandLine(tuple(text.removesuffix("\0").split("\0")))
    try:
        starts = starts_in_log(text) or starts_in_json(text)
        found = [_of_start(start) for start in starts] if starts else list(_of_script(data))
        return _choose(found, name, of_log=bool(starts), text=text)
    except RecursionError:
        raise UsageError("its commands are nested too deeply", path=name, hint=_VERBATIM) from None
    except UsageError as e:
        raise UsageError(e.problem, path=f"{name}:{e.path}" if e.path else name, hint=e.hint) from e


def _of_start(start: Start) -> CommandLine:
    if start.words:
        return CommandLine(start.words[program_at(start.words)[0] :], start.notes)
    commands = list(read_script(os.fsencode(start.shell), lambda _: (0, True)))
    if len(commands) != 1:
        raise UsageError("the command line in it can't be read", hint=_VERBATIM)
    return CommandLine(tuple(map(os.fsdecode, commands[0].words)))


def _of_script(data: bytes) -> Iterator[CommandLine]:
    if not names_qemu(os.fsdecode(data), anywhere=True):
        return
    if len(data) > _MAX_SCRIPT:
        raise UsageError(f"a script of more than {size_text(_MAX_SCRIPT)} isn't read", hint=_VERBATIM)
    if other := _OTHER.search(data):
        line = data.count(b"\n", 0, other.start()) + 1
        raise UsageError(
            "it isn't a bash script, in which no line begins with @ or ends in ^", path=str(line), hint=_VERBATIM
        )
    notes = (
        [] if b"\r\n" not in data else ["its lines end in CR LF, of which bash would take the CR for a part of words"]
    )
    for command in read_script(data.replace(b"\r\n", b"\n"), program_at):
        moved = [f"relative paths are from where `{command.moved}` leads"] if command.moved else []
        yield CommandLine(tuple(map(os.fsdecode, command.words)), (*notes, *map(harmless, moved)))


def _choose(commands: list[CommandLine], name: str, *, of_log: bool, text: str) -> CommandLine:
    if not commands and names_qemu(text):
        raise UsageError("QEMU is named in it, but in no command that starts it", hint=_VERBATIM)
    if not commands:
        raise UsageError(
            "no QEMU command line is in it",
            hint="it should hold a line such as: qemu-system-x86_64 -machine q35 …",
        )
    if len({command.argv for command in commands}) == 1:
        return commands[0]
    if of_log:
        last = commands[-1]
        return CommandLine(last.argv, (f"{name} holds {len(commands)} starts; this is the last", *last.notes))
    different = len({command.argv for command in commands})
    raise UsageError(
        f"{different} different QEMU command lines are in it",
        hint="copy the one that you want behind: gavotte qemu import --",
    )


def command_of_process(pid: int) -> CommandLine:
    """Gives the command line of a process that runs, from /proc/<pid>/cmdline (proc(5)).

    Raises HostError when there is no such process or it may not be looked at, UsageError when it has no command line.
    """
    folder = Path("/proc", str(pid))
    try:
        text = os.fsdecode((folder / "cmdline").read_bytes())
    except OSError as e:
        raise HostError(
            f"can't read the command line of process {pid}: {e.strerror}", hint="pgrep -a qemu lists those that run"
        ) from e
    if not text:
        raise UsageError(f"process {pid} has no command line: it has ended, or is a thread of the kernel", path="pid")
    return CommandLine(tuple(text.removesuffix("\0").split("\0")), tuple(_place(folder)))


def _place(folder: Path) -> Iterator[str]:
    try:
        where = (folder / "cwd").readlink()
    except OSError:  # a process of another user
        yield "relative paths are from a directory that can't be told"
    else:
        if where != Path("/proc/self/cwd").readlink():
            yield f"relative paths are from {harmless(str(where))}"


# --- descriptors ------------------------------------------------------------------------------------------------------

_FD_KEYS = frozenset({"fd", "fds", "sock_fd", "vhostfd", "vhostfds"})
_FD_WORD = re.compile(r"(?:^|[,:])(?:(?:vhost|sock_)?fds?=|fd:)(\d[\d:]*)")


def inherited_fds(document: Mapping[str, Json]) -> dict[str, tuple[int, ...]]:
    """Gives, by their paths in the machine file, the descriptors that its QEMU was given by who started it.

    They mean nothing to anybody else: to start the machine again, each must be opened anew and named in `fds`.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path, key, value, fd_address in _leaves(document, "", "", False):
        text = str(value)
        if key in _FD_KEYS or (key == "str" and fd_address):
            numbers = text.split(":")
        elif path.startswith(("options[", "incoming")):
            numbers = [number for match in _FD_WORD.finditer(text) for number in match[1].split(":")]
        else:
            continue
        if inherited := tuple(int(number) for number in numbers if number.isdecimal()):
            found[path] = inherited
    return found


def _leaves(value: Json, path: str, key: str, fd_address: bool) -> Iterator[tuple[str, str, Json, bool]]:
    """Path, key and value of each scalar, and whether it belongs to a socket address of type `fd`."""
    match value:
        case Mapping():
            of_type_fd = value.get("type") == "fd"
            for name, item in value.items():
                yield from _leaves(item, f"{path}.{name}" if path else name, name, of_type_fd)
        case Sequence() if not isinstance(value, str):
            for index, item in enumerate(value):
                yield from _leaves(item, f"{path}[{index}]", key, fd_address)
        case _:
            yield path, key, value, fd_address
