"""What a function returned in a guest, of which nothing is believed, read in small steps.

Its form is that of `gavotte.sandbox.calls.runner.Writer`. While Python decodes JSON, enlarges a set or frees a list, no
other thread runs. So lines and the number of values are bounded such that each of these takes some milliseconds. What
the lines make together is put together here in steps, between which others run.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["build", "split"]

_LINE = 256 << 10  # bytes
_DEEPEST = 1000
_MOST_VALUES = 1 << 20  # in each other or side by side
_LARGEST_TEXT = 96 << 20  # bytes in memory: one wide character makes all of its text wide
_MOST_ALIKE = 1000  # keys with one hash: to tell them apart takes the square of their number


def split(data: bytes) -> Iterator[bytes]:
    """The lines of it. Raises ValueError for one that is too long."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start, start + _LINE)
        if end < 0:
            end = len(data)
            if end - start > _LINE:
                raise ValueError("a line is too long")
        yield data[start:end]
        start = end + 1


def build(lines: Iterator[bytes]) -> Any:
    """The value that they are. Raises ValueError and TypeError for what is none."""
    root = _Open("list", 1)
    stack = [root]
    values = 0
    for line in lines:
        tokens = json.loads(line)
        if type(tokens) is not list:
            raise ValueError("a line is no list")
        values += len(tokens)
        if values > _MOST_VALUES:
            raise ValueError("too many values")
        if _is_flat(line) and stack[-1].left > len(tokens):
            stack[-1].take(tokens)
            continue
        for token in tokens:
            if type(token) is list:
                stack.append(_Open(*token))
                if len(stack) > _DEEPEST:
                    raise ValueError("too many values are in each other")
            elif type(token) is dict:
                raise ValueError("no token is an object")
            else:
                stack[-1].take([token])
            while not stack[-1].left and len(stack) > 1:
                stack[-2].take([stack.pop().close()])
    if root.left:
        raise ValueError("some of it is missing")
    return root.items[0]


def _is_flat(line: bytes) -> bool:
    """Whether all its tokens stand for themselves; false for some of which that is true."""
    return line.count(b"[") == 1 and b"{" not in line


class _Open:
    """A value whose items are still to come. Raises ValueError and TypeError for what can't be."""

    def __init__(self, kind: str, count: int) -> None:
        if kind not in ("list", "tuple", "set", "frozenset", "dict", "text", "bytes"):
            raise ValueError("no such type")
        if type(count) is not int or count < 0 or (kind == "dict" and count % 2):
            raise ValueError("no such number")
        self.kind = kind
        self.left = count
        self.items: list[Any] = []

    def take(self, items: Sequence[Any]) -> None:
        """Have some more items."""
        if len(items) > self.left:
            raise ValueError("more than there was to be")
        self.items += items
        self.left -= len(items)

    def close(self) -> Any:
        """The value, which has all its items."""
        match self.kind:
            case "list":
                return self.items
            case "tuple":
                return tuple(self.items)
            case "text":
                return _as_text(self.items)
            case "bytes":
                return _as_bytes(self.items)
            case "dict":
                return _as_dict(self.items[::2], self.items[1::2])
        items = _as_set(self.items)
        return items if self.kind == "set" else frozenset(items)


def _as_text(pieces: Sequence[Any]) -> str:
    if not all(type(piece) is str for piece in pieces):
        raise ValueError("a piece of text is none")
    widest = max((ord(max(piece)) for piece in pieces if not piece.isascii()), default=0)
    width = 4 if widest > 0xFFFF else 2 if widest > 0xFF else 1
    if width * sum(map(len, pieces)) > _LARGEST_TEXT:
        raise ValueError("a text is too large")
    return "".join(pieces)


def _as_bytes(pieces: Sequence[Any]) -> bytes:
    made = bytearray()
    for piece in pieces:
        made += base64.b64decode(piece, validate=True)
    return bytes(made)


def _as_dict(keys: Sequence[Any], values: Sequence[Any]) -> dict[Any, Any]:
    _check_keys(keys)
    made: dict[Any, Any] = {}
    for key, value in zip(keys, values, strict=True):
        made[key] = value  # noqa: PERF403  # as `dict` would, in one step
    return made


def _as_set(items: Sequence[Any]) -> set[Any]:
    _check_keys(items)
    made = set()
    for item in items:
        made.add(item)
    return made


def _check_keys(keys: Sequence[Any]) -> None:
    """Raises ValueError for keys that are made to be slow."""
    if len(keys) - len({hash(key) for key in keys}) > _MOST_ALIKE:
        raise ValueError("too many keys are alike")
