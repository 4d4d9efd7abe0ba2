"""One inspection: what it is made against, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gavotte.errors import InvalidMachine, UsageError
from gavotte.qemu.check.names import Names
from gavotte.qemu.props import Json, PropertyMap, plain
from gavotte.qemu.shape import MAX_DEPTH

if TYPE_CHECKING:
    from gavotte.qemu.schema import Schema

__all__ = ["Inspection", "inside", "shown"]

_INDEX = re.compile(r"\.(\d+)(?=\.|$)")
_SHOWN = 60  # characters of a user's value in a message
_LONGEST_NAME = 64  # beyond it, nothing is a misspelling
_MOST_HELPED = 25  # suggestions cost a millisecond each, and a file with more mistakes has another problem


@dataclass(slots=True)
class Inspection:
    """Walks pass it on, and write down what they find: `problems`, and in `names` what is defined and referred to.

    With `hot`, the machine already runs.
    """

    schema: Schema
    hot: bool = False
    problems: list[UsageError] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    _helped: int = 0

    def report(self, path: str, problem: str, *, hint: str = "") -> None:
        self.problems.append(UsageError(problem, path=path, hint=hint))

    def report_unknown(self, path: str, problem: str, word: str, known: Iterable[str], *, hint: str = "") -> None:
        """Reports a word that isn't one of `known`, with the nearest of those."""
        self.report(path, problem + self._suggestion(word, known), hint=hint)

    def plain(self, props: PropertyMap, path: str) -> dict[str, Json]:
        """Gives a copy made of dict, list and scalars. What QEMU can't read at all is reported, and left out."""
        if _is_deeper(props, MAX_DEPTH):
            self.report(path, f"nested deeper than {MAX_DEPTH} levels")
            return {}
        try:
            return dict(plain(props))
        except UsageError as e:
            where = _INDEX.sub(r"[\1]", e.path)
            self.report(inside(path, where), e.problem, hint=e.hint)
            return {}

    def raise_problems(self) -> None:
        """Raises InvalidMachine if there is any problem."""
        if self.problems:
            raise InvalidMachine(self.problems)

    def _suggestion(self, word: str, known: Iterable[str]) -> str:
        if self._helped >= _MOST_HELPED or len(word) > _LONGEST_NAME:
            return ""
        import difflib  # 4 ms, spent on mistakes only

        self._helped += 1
        nearest = difflib.get_close_matches(word, list(known), n=1)
        return f"; did you mean '{nearest[0]}'?" if nearest else ""


def inside(path: str, key: str | int) -> str:
    """Gives the path of an item: `devices[3]`, `devices[3].num-queues`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def shown(value: Json) -> str:
    """Gives a value as a message shows it: short, on one line, and unmistakably text where it is text."""
    if isinstance(value, str):
        value = value[: _SHOWN + 1]  # a quick way through what is huge
    text = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_deeper(value: object, depth: int) -> bool:
    """Looks level by level, so that no depth is too much for it, and what contains itself neither."""
    level = [value]
    for _ in range(depth):
        level = [item for value in level for item in _items(value)]
        if not level:
            return False
    return True


def _items(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else ()
