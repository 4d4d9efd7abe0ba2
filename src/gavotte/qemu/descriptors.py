"""The section `fds` of a machine file: descriptors that QEMU inherits, and the names they go by in the file.

An entry is inherited under its own number (`fd`), or opened here (`path`, `mode`). It goes by a `name`, which stands
in a map instead of a number, or joins the set `fdset`, which stands for a file as `/dev/fdset/N` (QEMU's `-add-fd`).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from gavotte.errors import HostError, InvalidMachine, UsageError
from gavotte.qemu.props import Json, PropertyMap, is_passable, option_to_argv
from gavotte.qemu.sections import Document

__all__ = [
    "check_fds",
    "fd_keys",
    "fd_numbers",
    "fd_options",
    "inherit_fds",
    "redirections",
    "with_numbers",
]

# How a file is opened, and what a shell writes for it. `rw` makes no file: a misspelt disk would become an empty one.
_MODES: Final[Mapping[str, tuple[int, str]]] = {
    "r": (os.O_RDONLY, "<"),
    "rw": (os.O_RDWR, "<>"),
    "w": (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ">"),
    "a": (os.O_WRONLY | os.O_CREAT | os.O_APPEND, ">>"),
}

_FD_KEYS: Final = ("fd", "fds", "vhostfd", "vhostfds")

_ENTRY_KEYS = ("name", "fdset", "fd", "path", "mode")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_FIRST_FREE = 3  # 0, 1 and 2 are the standard streams


# --- what the file says -----------------------------------------------------------------------------------------------


def check_fds(entries: object) -> Iterator[UsageError]:
    """Gives what is wrong with the section."""
    if not isinstance(entries, list | tuple):
        yield UsageError("a list of mappings is wanted", path="fds")
        return
    for index, entry in enumerate(entries):
        path = f"fds[{index}]"
        if not isinstance(entry, Mapping):
            yield UsageError("a mapping is wanted", path=path)
            continue
        yield from _entry_problems(entry, path)
        for key in ("name", "fd"):
            earlier = [other.get(key) for other in entries[:index] if isinstance(other, Mapping)]
            if key in entry and entry[key] in earlier:
                yield UsageError(f"{entry[key]!r} is there already", path=f"{path}.{key}")


def _entry_problems(entry: Mapping[str, Any], path: str) -> Iterator[UsageError]:
    for key, value in entry.items():
        if key not in _ENTRY_KEYS:
            yield UsageError("there is no such key", path=f"{path}.{key}", hint=f"there are {', '.join(_ENTRY_KEYS)}")
        elif problem := _value_problem(key, value):
            yield UsageError(problem, path=f"{path}.{key}")
    for one, other in (("fd", "path"), ("name", "fdset")):
        if (one in entry) == (other in entry):
            yield UsageError(f"one of '{one}' and '{other}' is wanted", path=path)
    if "mode" in entry and "path" not in entry:
        yield UsageError("an inherited descriptor has its mode already", path=f"{path}.mode")
    if entry.get("fd") in (0, 1, 2) and "fdset" in entry:
        yield UsageError("a standard stream can't be in a set", path=f"{path}.fd")


def _value_problem(key: str, value: object) -> str:
    match key, value:
        case (("fd" | "fdset"), int()) if not isinstance(value, bool) and 0 <= value < 1 << 20:
            return ""
        case (("fd" | "fdset"), _):
            return f"{value!r} is not a number from 0 on"
        case "name", str() if _NAME.fullmatch(value):
            return ""
        case "name", _:
            return f"{value!r} is not a name: a letter, then letters, digits and _ . -"
        case "path", str() if value and is_passable(value):
            return ""
        case "path", _:
            return "the path of a file is wanted"
        case _:
            fine = isinstance(value, str) and value in _MODES
            return "" if fine else f"{value!r} is none of {', '.join(_MODES)}"


def _numbered_fds(document: Document) -> list[tuple[int, Mapping[str, Any]]]:
    """Gives each entry with its number in QEMU: its own, or for what is opened the lowest that nobody else has."""
    section: Any = document.get("fds", ())
    taken = {entry.get("fd") for entry in section}
    free = (number for number in range(_FIRST_FREE, 1 << 20) if number not in taken)
    return [(entry["fd"] if "fd" in entry else next(free), entry) for entry in section]


def fd_numbers(document: Document) -> dict[str, int]:
    """Gives the number that each name stands for."""
    return {entry["name"]: number for number, entry in _numbered_fds(document) if "name" in entry}


def redirections(document: Document) -> Iterator[tuple[int, str, str]]:
    """Gives number, sign and path of what a shell would open in place of `inherit_fds`."""
    for number, entry in _numbered_fds(document):
        if "path" in entry:
            yield number, _MODES[entry.get("mode", "r")][1], entry["path"]


def fd_options(document: Document) -> list[list[str]]:
    """Gives the options that make the sets."""
    return [
        option_to_argv("add-fd", {"fd": number, "set": entry["fdset"]})
        for number, entry in _numbered_fds(document)
        if "fdset" in entry
    ]


def fd_keys(props: PropertyMap) -> tuple[str, ...]:
    """Gives the keys in whose values names of descriptors may stand; several in one value have colons between them."""
    return (*_FD_KEYS, "str") if props.get("type") == "fd" else _FD_KEYS  # QAPI's SocketAddress has it in `str`


def with_numbers(props: PropertyMap, numbers: Mapping[str, int]) -> dict[str, Json]:
    """Gives a copy in which each name of a descriptor is its number, as text, which is what QEMU wants there.

    Raises UsageError for a name that isn't in `numbers`.
    """
    keys = fd_keys(props)
    return {key: _numbered(value, key, numbers, key in keys) for key, value in props.items()}


def _numbered(value: Json, path: str, numbers: Mapping[str, int], is_fd: bool) -> Json:
    if isinstance(value, str):
        return ":".join(_number(word, path, numbers) for word in value.split(":")) if is_fd else value
    try:
        if isinstance(value, Mapping):
            return with_numbers(value, numbers)
        if isinstance(value, list | tuple):
            return [_numbered(item, f"[{index}]", numbers, False) for index, item in enumerate(value)]
    except UsageError as e:
        raise UsageError(e.problem, path=f"{path}.{e.path}".replace(".[", "["), hint=e.hint) from None
    return value


def _number(word: str, path: str, numbers: Mapping[str, int]) -> str:
    if word in numbers:
        return str(numbers[word])
    if word.isdecimal() or not word:
        return word
    known = f"fds names {', '.join(numbers)}" if numbers else f'add {{"name": "{word}", "fd": NUMBER}} to fds'
    raise UsageError(f"no descriptor is named '{word}'", path=path, hint=known)


# --- what this process does -------------------------------------------------------------------------------------------


def inherit_fds(document: Document) -> None:
    """Makes this process's descriptors those that QEMU is to have: the standard streams, and the file's `fds`.

    To be called just before this process becomes QEMU: descriptors that it inherited and the file doesn't name will be
    closed then, and others may be replaced. Raises InvalidMachine, with all problems, for descriptors that this process
    wasn't given and for files that can't be opened, HostError when there are no descriptors left.
    """
    with ExitStack() as undo:
        lent = _open_all(document, undo)
        above = max((*lent, 2)) + 1
        try:
            copies = {number: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, above) for number, source in lent.items()}
        except OSError as e:
            raise HostError(f"can't pass {len(lent)} descriptors on: {e.strerror}", hint="see `ulimit -n`") from e
        undo.pop_all()
    for number in [int(link.name) for link in Path("/proc/self/fd").iterdir()]:
        if number >= _FIRST_FREE and _is_inherited(number):
            os.set_inheritable(number, False)
    for number, copy in copies.items():
        os.dup2(copy, number)


def _open_all(document: Document, undo: ExitStack) -> dict[int, int]:
    """Gives for each number that QEMU will see the descriptor that is to become it."""
    lent: dict[int, int] = {}
    problems: list[UsageError] = []
    for index, (number, entry) in enumerate(_numbered_fds(document)):
        try:
            lent[number] = _inherited(number) if "fd" in entry else _open(entry, undo)
        except UsageError as e:
            problems.append(UsageError(e.problem, path=f"fds[{index}].{e.path}", hint=e.hint))
    if problems:
        raise InvalidMachine(problems)
    return lent


def _inherited(number: int) -> int:
    if not _is_inherited(number):
        raise UsageError(
            f"this process was given no descriptor {number}", path="fd", hint=f"in a shell, {number}<>FILE opens it"
        )
    return number


def _open(entry: Mapping[str, Any], undo: ExitStack) -> int:
    flags, _ = _MODES[entry.get("mode", "r")]
    try:
        found = os.open(entry["path"].encode("utf-8", "surrogateescape"), flags | os.O_CLOEXEC, 0o666)
    except OSError as e:
        raise UsageError(f"can't open {entry['path']}: {e.strerror}", path="path") from e
    undo.callback(os.close, found)
    return found


def _is_inherited(number: int) -> bool:
    """Python opens everything as close-on-exec, so what isn't came from who started this process."""
    try:
        return os.get_inheritable(number)
    except OSError:
        return False
