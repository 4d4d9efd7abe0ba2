"""Values that may stand only once in a machine, as rows of data. Ids are in `names`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.props import Json, PropertyMap

__all__ = ["check_unique", "entries"]

# What it is, and the sections and keys that hold it.
_ONCE: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    ("boot index", (("devices", "bootindex"), ("option-roms", "bootindex"))),
    ("fw_cfg name", (("fw_cfg", "name"),)),
    ("NUMA node", (("numa", "nodeid"),)),
    ("device number", (("devices", "devno"),)),
    ("memory backend", (("numa", "memdev"),)),
)

_UNSET: Final = (None, -1, "-1")


def check_unique(document: Mapping[str, Json], inspection: Inspection) -> None:
    """Reports each value that another one of its kind has already."""
    for noun, places in _ONCE:
        first: dict[str, str] = {}
        for section, key in places:
            for path, props in entries(document, section):
                value, where = props.get(key), inside(path, key)
                if value in _UNSET:
                    continue
                if str(value) in first:
                    inspection.report(where, f"the {noun} {shown(value)} is taken already, at {first[str(value)]}")
                first.setdefault(str(value), where)


def entries(document: Mapping[str, Json], section: str) -> Iterator[tuple[str, PropertyMap]]:
    """Gives the maps of a section with their paths, leaving out what isn't one."""
    found = document.get(section)
    for index, props in enumerate(found if isinstance(found, list | tuple) else ()):
        if isinstance(props, Mapping):
            yield inside(section, index), props
