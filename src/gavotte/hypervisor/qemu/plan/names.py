"""The names that a device's parts have in QEMU: its own id, and others made of it.

An id holds no dot, so that `ID.part` is nobody else's name, whatever devices there are.
"""

from __future__ import annotations

import re
from typing import Final

from gavotte.errors import UsageError

__all__ = ["check_id", "check_length", "part"]

_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check_id(id: str) -> None:
    """Raises UsageError for what can't be a device's id (QEMU's util/id.c, without the dot)."""
    if not _ID.fullmatch(id):
        raise UsageError(f"{id!r} can't be an id", path="id", hint="a letter, then letters, digits, - and _")


def check_length(what: str, text: str, limit: int) -> None:
    """Raises UsageError for a text that QEMU would refuse, or cut without a word. `limit` is in bytes."""
    if len(text.encode("utf-8", "surrogateescape")) > limit:
        raise UsageError(f"{text!r} is longer than {limit} bytes", path=what, hint="choose a shorter one")


def part(id: str, name: str) -> str:
    """The name of something that a device needs beside what bears its id."""
    return f"{id}.{name}"
