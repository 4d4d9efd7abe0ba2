"""Many JSON values in one piece of bytes, each read only when it is asked for.

A line (format, length of the index, checksum), the index as JSON (section -> name -> place), and the values one after
another. A schema has some 2,700 values of together 3 MB, of which one sandbox needs twenty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias
from zlib import crc32

from gavotte.qemu.props import Json

__all__ = ["Archive", "Facts", "pack"]

Facts: TypeAlias = Mapping[str, Mapping[str, Json]]
"""What was learnt, section by section, each value under its name."""

_FORMAT = "gavotte-schema-5"
_LONGEST_LINE = 80


def pack(facts: Facts) -> bytes:
    """Gives the bytes that `Archive` reads."""
    values: list[bytes] = []
    index: dict[str, dict[str, int]] = {}
    place = 0
    for section, named in facts.items():
        index[section] = {}
        for name, value in named.items():
            index[section][name] = place
            values.append(json.dumps(value, separators=(",", ":")).encode())
            place += len(values[-1])
    head = json.dumps(index, separators=(",", ":")).encode()
    body = b"".join([head, *values])
    return f"{_FORMAT} {len(head)} {crc32(body, len(head))}\n".encode() + body


class Archive:
    """Reads what `pack` made. Raises ValueError when it is of another format, cut off or damaged."""

    def __init__(self, data: bytes) -> None:
        end = data.find(b"\n", 0, _LONGEST_LINE) + 1
        words = data[:end].decode("ascii", "replace").split()
        if len(words) != 3 or words[0] != _FORMAT:
            raise ValueError("not an archive of this format")
        length, checksum = map(int, words[1:])
        if crc32(memoryview(data)[end:], length) != checksum:
            raise ValueError("the archive is damaged")
        start = end + length
        self._data = data
        self._places = _places(json.loads(data[end:start]), start, len(data))

    def names(self, section: str) -> Sequence[str]:
        """Gives the names in a section, in the order in which they were packed; none for an unknown section."""
        return tuple(self._places.get(section, ()))

    def get(self, section: str, name: str) -> Json:
        """Gives a fresh copy of the value; None where there is none."""
        place = self._places.get(section, {}).get(name)
        value: Json = None if place is None else json.loads(self._data[place])
        return value


def _places(index: Mapping[str, Mapping[str, int]], start: int, end: int) -> dict[str, dict[str, slice]]:
    """Each value ends where the next one begins."""
    begins = [start + place for named in index.values() for place in named.values()]
    slices = iter([slice(*pair) for pair in pairwise([*begins, end])])
    return {section: dict(zip(named, slices, strict=False)) for section, named in index.items()}
