"""Machine files: a whole machine as one mapping, read from JSON or TOML, and its command line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from gavotte.errors import InvalidMachine, UsageError
from gavotte.qemu.descriptors import fd_numbers, fd_options, with_numbers
from gavotte.qemu.props import option_to_argv, word_to_argv
from gavotte.qemu.sections import SECTIONS, Document, Section
from gavotte.qemu.shape import MAX_DEPTH, Pairs, check_shape, entries_of, within
from gavotte.text import size_text

__all__ = ["Document", "document_to_argv", "document_to_options", "parse_document", "read_document"]

_MAX_BYTES: Final = 16 << 20


# --- reading ----------------------------------------------------------------------------------------------------------


def read_document(path: str | os.PathLike[str], *, shaped: bool = True) -> Document:
    """Reads a machine file; `-` is stdin.

    Without `shaped`, it needn't be a machine file yet: that is for who tells its problems together with others.
    Raises UsageError when it can't be read or holds more than 16 MiB, and as `parse_document`.
    """
    name = os.fspath(path)
    file: str | int = name
    if name == "-":
        name, file = "stdin", 0
    try:
        with open(file, "rb", closefd=file != 0) as stream:  # a Path can't be a descriptor
            data = stream.read(_MAX_BYTES + 1)
    except OSError as e:
        raise UsageError(f"can't read {name}: {e.strerror}") from e
    except ValueError as e:  # a NUL in the path
        raise UsageError(f"can't read {name!r}: {e}") from e
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{name} holds more than {size_text(_MAX_BYTES)}: that is no machine file")
    return parse_document(_decoded(data, name), name, shaped=shaped)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise UsageError(
            f"{name} is not UTF-8: line {line} has the byte 0x{data[e.start]:02x}",
            hint="save it as UTF-8; in JSON, \\udc80 to \\udcff in a path stand for the bytes 0x80 to 0xff",
        ) from e


def parse_document(text: str, name: str, *, shaped: bool = True) -> Document:
    """Gives the machine file in `text`: JSON or TOML by the suffix of `name`, or else by how it begins.

    Raises UsageError, with line and column, for what is neither, and InvalidMachine, with all problems, as
    `check_shape`, which without `shaped` is left to the caller.
    """
    text = text.removeprefix("\ufeff")  # the mark that some editors put before UTF-8
    is_json = name.endswith(".json") or (not name.endswith(".toml") and text.lstrip().startswith("{"))
    try:
        document: Document = _parse_json(text) if is_json else _parse_toml(text)
    except RecursionError:
        raise UsageError(f"{name} is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as e:
        raise UsageError(f"{name} is not {'JSON' if is_json else 'TOML'}: {e}") from e
    if shaped or not isinstance(document, Mapping):
        check_shape(document)
    return document


def _parse_json(text: str) -> Any:
    import json

    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_number)
    except json.JSONDecodeError as e:
        raise ValueError(f"{e.msg} (at line {e.lineno}, column {e.colno})") from e


def _parse_toml(text: str) -> Any:
    import tomllib

    return tomllib.loads(text)


def _pairs(pairs: list[tuple[str, Any]]) -> Pairs:
    found = Pairs(pairs)
    if len(found) < len(pairs):
        count = Counter(key for key, _ in pairs)
        found.twice = tuple(key for key in found if count[key] > 1)
    return found


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number that QEMU can read")


# --- the command line -------------------------------------------------------------------------------------------------


def document_to_argv(document: Document, *, fds: Mapping[str, int] | None = None) -> list[str]:
    """Gives the arguments after the binary's name, in the order of SECTIONS.

    A name of the section `fds` becomes the number that `fds` gives for it, or else that of `fd_numbers`.
    Raises InvalidMachine, with all problems, for what `check_shape` or an encoder refuses.
    """
    return [word for option in document_to_options(document, fds=fds) for word in option]


def document_to_options(document: Document, *, fds: Mapping[str, int] | None = None) -> list[list[str]]:
    """Gives `document_to_argv` as a list for each option: its name and, where it takes one, its value."""
    check_shape(document)
    numbers = {**fd_numbers(document), **(fds or {})}
    options = fd_options(document)
    problems: list[UsageError] = []
    for name, section in SECTIONS.items():
        if name not in document:
            continue
        for path, entry in entries_of(section, document[name]):
            try:
                options.append(_entry_to_argv(section, entry, numbers))
            except UsageError as e:
                problems.append(within(path, e))
    if problems:
        raise InvalidMachine(problems)
    return [option for option in options if option]


def _entry_to_argv(section: Section, entry: Any, numbers: Mapping[str, int]) -> list[str]:
    match section.shape:
        case "map" | "maps":
            return option_to_argv(section.option, with_numbers(entry, numbers))
        case "word":
            return word_to_argv(section.option, entry)
        case "flag":
            return [f"-{section.option}"] if entry else []
        case "words":
            return list(entry)
