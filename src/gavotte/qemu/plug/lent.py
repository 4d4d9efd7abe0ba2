"""Where a step's map names the descriptors that it lends.

Either as the value of an fd key, `"fd": NAME` (and `fds`, `vhostfd`, `vhostfds`, with colons between), or as the file
`/dev/fdset/NAME` wherever a path may stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gavotte.errors import UsageError
from gavotte.qemu.descriptors import fd_keys
from gavotte.qemu.props import Fd, Step, plain
from gavotte.qmp.wire import Json

__all__ = ["Lent", "label", "lent", "with_sets"]

_FDSET = "/dev/fdset/"


class Lent(NamedTuple):
    """The descriptors of a step: those that go by their name, and those that are members of an fd set."""

    named: tuple[Fd, ...]
    sets: tuple[Fd, ...]


def lent(step: Step) -> Lent:
    """Sorts the step's descriptors by how its map names them. Raises UsageError for one that it doesn't name."""
    values = list(_values(plain(step.props)))
    names = {name for is_fd, value in values if is_fd for name in value.split(":")}
    files = {value for is_fd, value in values if not is_fd}
    for fd in step.fds:
        if fd.name not in names and _FDSET + fd.name not in files:
            raise UsageError(
                f"the descriptor {fd.name!r} is lent, but nothing in the map names it",
                hint=f"write it as the value of fd, fds, vhostfd or vhostfds, or as the file {_FDSET}{fd.name}",
            )
    return Lent(
        tuple(fd for fd in step.fds if fd.name in names),
        tuple(fd for fd in step.fds if _FDSET + fd.name in files),
    )


def label(name: str) -> str:
    """Gives the text by which a descriptor in an fd set is found again by its name (`opaque` of add-fd)."""
    return f"lent: {name}"


def with_sets(value: Json, sets: Mapping[str, str]) -> Json:
    """Gives a copy in which each file of a named set has the set's number."""
    match value:
        case str() if value.startswith(_FDSET):
            name = value.removeprefix(_FDSET)
            return _FDSET + sets.get(name, name)
        case dict():
            return {key: with_sets(item, sets) for key, item in value.items()}
        case list():
            return [with_sets(item, sets) for item in value]
    return value


def _values(value: Json, is_fd: bool = False) -> Iterator[tuple[bool, str]]:
    """Walks all texts, telling those that are descriptors."""
    match value:
        case str():
            yield is_fd, value
        case dict():
            keys = fd_keys(value)
            for key, item in value.items():
                yield from _values(item, key in keys)
        case list():
            for item in value:
                yield from _values(item)
