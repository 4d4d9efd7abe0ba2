"""What commands, environments, names and sizes look like: checks that a short command can afford to import."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence

from gavotte.errors import UsageError

__all__ = ["DEFAULT_MEMORY", "check_argv", "check_env", "check_name", "parse_signal", "parse_size"]

DEFAULT_MEMORY = 512 << 20  # bytes that a sandbox has unless told otherwise

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}

_LAST_SIGNAL = 64  # signal(7)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # what a file, a host and QEMU's -name may all be called


def check_name(name: object) -> str:
    """A sandbox's name. Raises UsageError for one that is no name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a sandbox",
            path="name",
            hint="use 1 to 63 of a-z, A-Z, 0-9, '-', '_' and '.', a letter or digit first",
        )
    return name


def check_argv(argv: Sequence[str]) -> list[str]:
    """A command as a list of strings. Raises UsageError when it is empty, or a single string."""
    if isinstance(argv, str | bytes):
        raise UsageError(
            "a command is a list of strings, not one string",
            path="argv",
            hint='["sh", "-c", text] runs a line of shell',
        )
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in argv]
    if not words or not words[0]:
        raise UsageError("there is no command to run", path="argv")
    for number, word in enumerate(words):
        if not isinstance(word, str):
            raise UsageError(f"{word!r} is not text", path=f"argv[{number}]")
        if "\0" in word:
            raise UsageError("an argument has no NUL", path=f"argv[{number}]")
    return words


def check_env(env: Mapping[str, str] | None) -> dict[str, str]:
    """An environment that execve(2) takes. Raises UsageError for a name that is empty or has a `=`, and for NUL."""
    checked = dict(env or {})
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise UsageError(f"{name!r}: {value!r} is not text", path="env")
        if not name:
            raise UsageError(f"an entry has no name (its value is {value!r})", path="env", hint="write NAME=VALUE")
        if "=" in name or "\0" in name + value:
            raise UsageError("a name has no `=`, and neither part NUL", path=f"env[{name!r}]")
    return checked


def parse_size(text: str | int, path: str) -> int:
    """Bytes of a size such as 256M, 2G or 512MiB. A bare number is MiB, as for QEMU's `-m`; an int is bytes."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", str(text).strip(), re.IGNORECASE | re.ASCII)
    if not found:
        raise UsageError(f"{text!r} is not a size", path=path, hint="write it like 256M or 2G")
    number, unit = found.groups()
    return int(number) << (_UNITS[unit.upper()] or 20)


def parse_signal(text: str, path: str) -> int:
    """The number of a signal such as TERM, SIGTERM or 15. Raises UsageError for what is none."""
    known = {member.name: member.value for member in signal.Signals}
    number = (
        int(text) if text.isdecimal() and text.isascii() else known.get(f"SIG{text.upper().removeprefix('SIG')}", 0)
    )
    if not 0 < number <= _LAST_SIGNAL:
        raise UsageError(f"{text!r} is no signal", path=path, hint="write it like SIGINT, INT or 2")
    return number
