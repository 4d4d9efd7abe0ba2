"""One value, made the exact type that QEMU wants: text from a command line or a user's hand becomes what JSON needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gavotte.qemu.props import Json

__all__ = [
    "Misfit",
    "is_int",
    "is_on",
    "to_bool",
    "to_int",
    "to_int_or_size",
    "to_number",
    "to_size",
    "to_text",
    "to_word",
]

_UINT64: Final = -(2**63), 2**64 - 1  # QEMU takes a negative number for an unsigned one (visit_type_uint64)

# qapi_bool_parse in QEMU's qapi/qapi-util.c
_BOOLS = dict.fromkeys(("on", "yes", "true", "y"), True) | dict.fromkeys(("off", "no", "false", "n"), False)

# What strtoll(3) reads with base 0, which QEMU uses: a leading zero means octal.
_INT = re.compile(r"[+-]?(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})")

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?")

# qemu_strtosz in QEMU's util/cutils.c
_SIZE = re.compile(r"(\d{1,20})(?:\.(\d{0,20}))?([bkmgtpeBKMGTPE]?)")
_HEX_SIZE = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
_UNITS = "bkmgtpe"

_MOST_WORDS = 12


class Misfit(Exception):
    """The value can't be what is wanted, which the text describes."""


def to_bool(value: Json) -> bool:
    """Takes true and false, and QEMU's words for them. Numbers aren't bools. Raises Misfit."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _BOOLS:
        return _BOOLS[value]
    raise Misfit("true or false")


def is_on(value: Json) -> bool:
    """Whether it is true, in any of QEMU's words."""
    return value is True or (isinstance(value, str) and _BOOLS.get(value, False))


def to_int(value: Json, bounds: tuple[int, int] | None = None, wanted: str = "") -> int:
    """Takes an integer, or text that C reads as one (`0x10`). Raises Misfit, also where it is out of `bounds`."""
    low, high = bounds or _UINT64
    wanted = wanted or (f"an integer from {low} to {high}" if bounds else "an integer")
    if isinstance(value, str) and _INT.fullmatch(value):
        value = _read_int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misfit(wanted)
    if not low <= value <= high:
        raise Misfit(wanted)
    return value


def is_int(value: Json) -> bool:
    """Whether `to_int` takes it."""
    try:
        to_int(value)
    except Misfit:
        return False
    return True


def to_size(value: Json) -> int:
    """Takes bytes as an integer, or text with a unit as QEMU reads it: `512M`, `1.5G`, `0x1000`. Raises Misfit."""
    wanted = "a size such as 4096 or '512M'"
    if isinstance(value, str):
        value = _read_size(value, wanted)
    return to_int(value, (0, 2**64 - 1), wanted)


def to_int_or_size(value: Json) -> int:
    """Takes either: QEMU's schemas call sizes integers as well. Raises Misfit."""
    try:
        return to_int(value)
    except Misfit:
        if isinstance(value, str):
            return to_size(value)
        raise


def to_number(value: Json) -> int | float:
    """Takes a number, or text that is one. Raises Misfit."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    raise Misfit("a number")


def to_text(value: Json) -> str:
    """Takes text; a number or bool is written as QEMU's options write it. Raises Misfit."""
    match value:
        case str():
            return value
        case bool():
            return "on" if value else "off"
        case int() | float():
            return str(value)
    raise Misfit("text")


def to_word(value: Json, words: Sequence[str]) -> str:
    """Takes one of `words`; true and false stand for on and off, a number for its digits. Raises Misfit."""
    if isinstance(value, str | bool | int) and (word := to_text(value)) in words:
        return word
    more = f" and {len(words) - _MOST_WORDS} more" if len(words) > _MOST_WORDS else ""
    raise Misfit(f"one of {', '.join(words[:_MOST_WORDS])}{more}")


def _read_int(text: str) -> int:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    if digits[:2] in ("0x", "0X"):
        return sign * int(digits, 16)
    return sign * int(digits, 8 if digits[0] == "0" else 10)


def _read_size(text: str, wanted: str) -> int:
    if _HEX_SIZE.fullmatch(text):
        return int(text, 16)
    found = _SIZE.fullmatch(text)
    if not found:
        raise Misfit(wanted)
    whole, fraction, unit = found.groups()
    factor = int(1024 ** _UNITS.index(unit.lower() or "b"))
    if fraction and factor == 1:
        raise Misfit(f"{wanted}, which has no fractions of a byte")
    parts = 10 ** len(fraction or "")
    return int(whole) * factor + int(fraction or "0") * factor // int(parts)
