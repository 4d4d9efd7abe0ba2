"""The two syntaxes of `key=value,...`, read as QEMU reads them.

`parse_opts` is util/qemu-option.c: flat, a key alone is a flag, any key may come twice. `parse_keyval` is
util/keyval.c: nested by dots, no flags. In both a doubled comma is a comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["Unreadable", "last_ones", "merge", "parse_keyval", "parse_opts"]


class Unreadable(ValueError):
    """The text has no form as a map: QEMU would refuse it, or a map would lose something."""


_KEY = re.compile("[^=,]*")
_VALUE = re.compile("(?:[^,]|,,)*")


def parse_opts(text: str, implied: str | None) -> list[tuple[str, str]]:
    """Gives keys and values in order. `implied` is the key that the first value may go without.

    A key alone is on, or off with its `no` taken away, whatever it then says: `nowait` is wait=off, and so is
    `nodelay` delay=off. Raises Unreadable for a request for help.
    """
    pairs = []
    for index, (key, value) in enumerate(_elements(text, bare_commas=implied is not None)):
        if value is not None:
            pairs.append((key, value))
        elif index == 0 and implied is not None:
            pairs.append((implied, key))
        elif key in ("help", "?"):
            raise Unreadable("it asks for help")
        else:
            pairs.append((key[2:], "off") if key.startswith("no") else (key, "on"))
    if implied is not None and pairs and pairs[0] in ((implied, "help"), (implied, "?")):
        raise Unreadable("it asks for help")
    return pairs


def _elements(text: str, *, bare_commas: bool) -> Iterator[tuple[str, str | None]]:
    """The pieces between commas: a key and its value, None without `=`. In a first bare value commas may be doubled."""
    at = 0
    while at < len(text):
        key = _KEY.match(text, at)
        end = key.end() if key else at
        if text[end : end + 1] == "=":
            value = _VALUE.match(text, end + 1)
            yield text[at:end], (value[0] if value else "").replace(",,", ",")
            end = value.end() if value else end
        elif at == 0 and bare_commas:
            bare = _VALUE.match(text)
            yield (bare[0] if bare else "").replace(",,", ","), None
            end = bare.end() if bare else end
        else:
            yield text[at:end], None
        at = end + 1


def last_ones(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Gives the map in which of each key's values the last counts, but of the ids the first."""
    found = dict(pairs)
    if "id" in found:
        found["id"] = next(value for key, value in pairs if key == "id")
    return found


def parse_keyval(text: str, implied: str | None) -> dict[str, Any]:
    """Gives the nested map; mappings with the keys 0, 1, 2, … are lists. Raises Unreadable for what QEMU refuses."""
    tree: dict[str, Any] = {}
    for index, (key, value) in enumerate(_elements(text, bare_commas=False)):
        if value is None:
            if index or implied is None or key in ("help", "?", ""):
                raise Unreadable(f"{key!r} has no value")
            key, value = implied, key
        _put(tree, key.split("."), value)
    listed = _listed(tree)
    if not isinstance(listed, dict):
        raise Unreadable("a mapping is wanted")
    return listed


def _put(tree: dict[str, Any], path: list[str], value: str) -> None:
    if not all(path):
        raise Unreadable("a key is empty")
    for fragment in path[:-1]:
        tree = tree.setdefault(fragment, {})
        if not isinstance(tree, dict):
            raise Unreadable(f"{fragment!r} is both text and a mapping")
    if isinstance(tree.get(path[-1]), dict):
        raise Unreadable(f"{path[-1]!r} is both text and a mapping")
    tree[path[-1]] = value


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    items = {key: _listed(item) for key, item in value.items()}
    if not any(key.isdecimal() for key in items):
        return items
    if sorted(items) != sorted(map(str, range(len(items)))):
        raise Unreadable("the numbers of a list have gaps")
    return [items[str(index)] for index in range(len(items))]


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Gives `old` with what `new` adds and overrides, mappings merged. Raises Unreadable when their shapes differ."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if before is None or (isinstance(before, str) and isinstance(value, str)):
            result[key] = value
        elif isinstance(before, dict) and isinstance(value, dict):
            result[key] = merge(before, value)
        else:
            raise Unreadable(f"{key!r} is given twice, in different shapes")
    return result
