"""What commands, environments, names and sizes look like: checks that a short command can afford to import."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping, Sequence

from gavotte.arguments import StrPath, check_text, wrong
from gavotte.errors import UsageError

__all__ = [
    "DEFAULT_MEMORY",
    "GRACE",
    "check_argv",
    "check_env",
    "check_name",
    "meant_size",
    "parse_signal",
    "parse_size",
]

GRACE = 10.0  # seconds that a command has to end in, once it was asked to
DEFAULT_MEMORY = 512 << 20  # bytes that a sandbox has unless told otherwise

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(\d{1,20})(?:\.(\d{1,20}))?(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE | re.ASCII)

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


def check_argv(argv: Sequence[StrPath], path: str = "argv") -> list[str]:
    """A command as a list of text, from a sequence of words; a word may be a path.

    Raises UsageError when there is no word, or one that is no text, for a single string, and for what is no sequence.
    """
    if isinstance(argv, str | bytes):
        raise UsageError(
            "a command is a list of strings, not one string", path=path, hint='["sh", "-c", text] runs a line of shell'
        )
    if not isinstance(argv, Sequence):
        raise wrong(argv, "a list of words", path, hint="list() makes one of a generator")
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in argv]
    if not words or words[0] in ("", None):
        raise UsageError("there is no command to run", path=path, hint='give a list of strings, such as ["ls", "-l"]')
    hint = "str() makes text of a number"
    return [check_text(word, f"{path}[{number}]", hint=hint) for number, word in enumerate(words)]


def check_env(env: Mapping[str, str] | None) -> dict[str, str]:
    """An environment that execve(2) takes. Raises UsageError for a name that is empty or has a `=`, and for NUL."""
    if not isinstance(env, Mapping | None):
        raise wrong(env, "a mapping of names to values", "env")
    checked = dict(env or {})
    for name, value in checked.items():
        if not isinstance(name, str):
            raise wrong(name, "the name of a variable", "env")
        if not name:
            raise UsageError(f"an entry has no name (its value is {value!r})", path="env", hint="write NAME=VALUE")
        if "=" in name:
            raise UsageError("the name of a variable has no `=`", path=f"env[{name!r}]")
        check_text(name, f"env[{name!r}]")
        check_text(value, f"env[{name!r}]")
    return checked


def parse_size(text: str | int, path: str) -> int:
    """Bytes of a size such as 256M, 1.5G or 512MiB; a bare number is bytes, as text and as an int. K is 1024.

    What is less than a byte is dropped. Raises UsageError.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found or (found[2] and not found[3]):
        raise UsageError(f"{text!r} is not a size", path=path, hint="write it like 256M or 1.5G")
    whole, fraction, unit = found.groups(default="")
    return (int(whole + fraction) << _UNITS[unit.upper()]) // int(10 ** len(fraction))


def meant_size(size: int, least: int, most: int, otherwise: str) -> str:
    """A hint for a size that is too small: the same number in M, if that is from `least` to `most`."""
    meant = size << 20
    return f"a number without a unit is bytes; did you mean {size}M?" if least <= meant <= most else otherwise


def parse_signal(text: str, path: str) -> int:
    """The number of a signal such as TERM, SIGTERM or 15. Raises UsageError for what is none."""
    known = {member.name: member.value for member in signal.Signals}
    number = (
        int(text) if text.isdecimal() and text.isascii() else known.get(f"SIG{text.upper().removeprefix('SIG')}", 0)
    )
    if not 0 < number <= _LAST_SIGNAL:
        raise UsageError(f"{text!r} is no signal", path=path, hint="write it like SIGINT, INT or 2")
    return number
