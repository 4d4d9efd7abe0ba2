"""The ids of a machine: which are defined, which are referred to, and whether the two fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

__all__ = ["NOUNS", "Names", "Reference", "Space"]

Space: TypeAlias = Literal["object", "chardev", "netdev", "block", "fsdev", "audiodev", "tpmdev", "device"]

NOUNS: Final[dict[Space, str]] = {
    "object": "object",
    "chardev": "chardev",
    "netdev": "netdev",
    "block": "block device",
    "fsdev": "fsdev",
    "audiodev": "audiodev",
    "tpmdev": "tpmdev",
    "device": "device",
}


class Reference(NamedTuple):
    """What stands at `path` wants `name` of any of `spaces`. A `front` end wants it for itself alone."""

    spaces: tuple[Space, ...]
    name: str
    path: str
    front: bool = False


class Names:
    """Gathered while a machine is walked. QEMU keeps a space of ids for each kind of thing.

    `shared` holds what can have several front ends. `open` holds the spaces to which something that isn't understood
    here may add, so that nothing can be called missing from them.
    """

    def __init__(self) -> None:
        self.defined: dict[tuple[Space, str], str] = {}
        self.repeated: list[tuple[Space, str, str]] = []
        self.references: list[Reference] = []
        self.shared: set[tuple[Space, str]] = set()
        self.open: set[Space] = set()

    def define(self, space: Space, name: str, path: str) -> None:
        """Writes down that what stands at `path` has this id."""
        if (space, name) in self.defined:
            self.repeated.append((space, name, path))
        else:
            self.defined[space, name] = path

    def refer(self, spaces: Space | tuple[Space, ...], name: str, path: str, *, front: bool = False) -> None:
        """Writes down that what stands at `path` wants this id."""
        self.references.append(Reference(spaces if isinstance(spaces, tuple) else (spaces,), name, path, front))

    def dangling(self) -> Iterator[Reference]:
        """Gives the references to what nothing defines."""
        for reference in self.references:
            if not any(space in self.open or (space, reference.name) in self.defined for space in reference.spaces):
                yield reference

    def contended(self) -> Iterator[tuple[Reference, str]]:
        """Gives each front end beyond the first of the same thing, with the path of that first one."""
        taken: dict[tuple[Space, str], str] = {}
        for reference in self.references:
            key = reference.spaces[0], reference.name
            if reference.front and key not in self.shared:
                if key in taken:
                    yield reference, taken[key]
                else:
                    taken[key] = reference.path

    def known(self, spaces: tuple[Space, ...]) -> list[str]:
        """Gives the ids in these spaces."""
        return [name for space, name in self.defined if space in spaces]
