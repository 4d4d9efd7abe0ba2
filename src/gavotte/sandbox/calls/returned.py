"""What a function returned in a guest, of which nothing is believed, read in small steps.

Its form is that of `gavotte.sandbox.calls.runner.Writer`. Python's decoder of JSON lets no other thread run while it is
at work, so no line is longer than it reads in some milliseconds. What they make together is put together here, step by
step, between which others run.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["build", "split"]

_LINE = 1 << 20  # bytes
_DEEPEST = 1000
_MOST_OPENED = 1 << 20  # lists and the like: Python's collector of garbage looks at each of them now and then
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
    opened = 0
    for line in lines:
        tokens = json.loads(line)
        if type(tokens) is not list:
            raise ValueError("a line is no list")
        if _is_flat(line) and stack[-1].left > len(tokens):
            stack[-1].take(tokens)
            continue
        for token in tokens:
            if type(token) is list:
                opened += 1
                stack.append(_Open(*token))
                if opened > _MOST_OPENED or len(stack) > _DEEPEST:
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
                return "".join(self.items)
            case "bytes":
                return b"".join(base64.b64decode(item, validate=True) for item in self.items)
            case "dict":
                return _as_dict(self.items[::2], self.items[1::2])
        items = _as_set(self.items)
        return items if self.kind == "set" else frozenset(items)


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
