"""Where command lines are found: in scripts, in logs, in running processes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gavotte.errors import HostError, UsageError
from gavotte.qemu.imports.lossless import is_qemu
from gavotte.qemu.imports.shell import check_known, split_commands
from gavotte.qemu.props import Json
from gavotte.text import harmless

__all__ = ["CommandLine", "command_in_text", "command_of_process", "inherited_fds"]

MAX_BYTES: Final = 16 << 20

# What libvirt writes to /var/log/libvirt/qemu/NAME.log (qemuDomainLogContextWrite): around it is any text, with quotes.
_LIBVIRT_START = re.compile(r": starting up libvirt version.*\n((?:.*\\\n)*.*)")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A QEMU's arguments, its own name first. `notes` are what a reader should know about where they came from."""

    argv: tuple[str, ...]
    notes: tuple[str, ...] = ()


def command_in_text(data: bytes, name: str) -> CommandLine:
    """Gives the one QEMU command line in a file: a script, libvirt's log of a domain, or a copy of /proc/N/cmdline.

    Of a libvirt log it is the last, the start of the machine that runs. Raises UsageError when there is none, when
    there are several, and when a word of it can't be told without running the script.
    """
    if len(data) > MAX_BYTES:
        raise UsageError(f"{name} is larger than {MAX_BYTES >> 20} MiB, so it is surely not a command line")
    text = os.fsdecode(data)
    if "\0" in text:
        return CommandLine(tuple(text.removesuffix("\0").split("\0")))
    starts = _LIBVIRT_START.findall(text)
    try:
        commands = list(_qemu_commands(split_commands("\n".join(starts) if starts else text)))
        chosen, notes = _choose(commands, name, of_libvirt=bool(starts))
        check_known(chosen)
    except UsageError as e:
        raise UsageError(e.problem, path=e.path or name, hint=e.hint) from e
    return CommandLine(tuple(chosen), tuple(notes))


def _choose(commands: list[list[str]], name: str, *, of_libvirt: bool) -> tuple[list[str], list[str]]:
    if not commands:
        raise UsageError(
            "no QEMU command line is in it",
            hint="it should hold a line such as: qemu-system-x86_64 -machine q35 …",
        )
    different = [command for index, command in enumerate(commands) if command not in commands[:index]]
    if len(different) == 1:
        return different[0], []
    if of_libvirt:
        return commands[-1], [f"{name} holds {len(commands)} starts; this is the last"]
    raise UsageError(
        f"{len(different)} different QEMU command lines are in it",
        hint="copy the one that you want behind: gavotte qemu import --",
    )


def _qemu_commands(commands: Iterator[list[str]]) -> Iterator[list[str]]:
    """Those that start a QEMU, without what stands in front: sudo, env, taskset, …"""
    for words in commands:
        for index, word in enumerate(words):
            following = words[index + 1 : index + 2]
            if is_qemu(word) and (following and following[0].startswith("-") if index else following):
                yield words[index:]
                break


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
        if where != Path.cwd():
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
