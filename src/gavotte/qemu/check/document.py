"""A whole machine file: each section by itself, then all of it together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

from gavotte.errors import InvalidMachine
from gavotte.qemu.check.accel import check_accels
from gavotte.qemu.check.buses import check_buses
from gavotte.qemu.check.inspection import Inspection, shown
from gavotte.qemu.check.machine import check_smp
from gavotte.qemu.check.names import NOUNS, Names
from gavotte.qemu.check.numa import check_numa
from gavotte.qemu.check.sections import check_map, check_word
from gavotte.qemu.check.step import check_props
from gavotte.qemu.check.unique import check_unique
from gavotte.qemu.check.words import check_words, open_names
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.sections import SECTIONS, Document, Section
from gavotte.qemu.shape import check_shape, entries_of

if TYPE_CHECKING:
    from gavotte.qemu.schema import Schema

__all__ = ["check_document"]

_ENTRY: Final = re.compile(r"[^.\[]+(\[\d+\])?")


def check_document(document: Document, schema: Schema) -> dict[str, Json]:
    """Gives the machine file with every value in the exact type that the binary wants.

    Raises InvalidMachine with all problems: in each section by itself, ids that are given twice or that nothing
    defines, back ends with two front ends, buses that aren't there or are full.
    """
    inspection = Inspection(schema)
    malformed = _check_shape(document, inspection)
    checked = {name: _check_section(name, value, malformed, inspection) for name, value in document.items()}
    open_names(checked.get("options"), inspection.names)
    check_words(checked.get("options"), inspection)
    _check_names(inspection)
    check_buses(checked, inspection)
    check_accels(checked, inspection)
    check_smp(checked, inspection)
    check_numa(checked, inspection)
    check_unique(checked, inspection)
    inspection.raise_problems()
    return checked


def _check_shape(document: Document, inspection: Inspection) -> set[str]:
    """Gives the paths of sections and entries that no QEMU could be given, and reports why."""
    try:
        check_shape(document)
    except InvalidMachine as e:
        if not isinstance(document, Mapping):
            raise
        inspection.problems += e.problems
        return {found[0] for problem in e.problems if (found := _ENTRY.match(problem.path))}
    return set()


def _check_section(name: str, value: Json, malformed: AbstractSet[str], inspection: Inspection) -> Json:
    section = SECTIONS.get(name)
    if section and section.shape == "word" and isinstance(value, str) and name not in malformed:
        check_word(section, value, inspection)
    if section is None or section.shape not in ("map", "maps") or name in malformed:
        return value
    checked = [
        entry if path in malformed else _check_entry(section, entry, path, inspection)
        for path, entry in entries_of(section, value)
    ]
    return checked if section.shape == "maps" else checked[0]


def _check_entry(section: Section, entry: PropertyMap, path: str, inspection: Inspection) -> Json:
    if section.kind:
        return check_props(section.kind, entry, path, inspection)
    return check_map(section, inspection.plain(entry, path), path, inspection)


def _check_names(inspection: Inspection) -> None:
    names: Names = inspection.names
    for space, name, path in names.repeated:
        first = names.defined[space, name]
        inspection.report(path, f"the {NOUNS[space]} id {shown(name)} is taken already, at {first}")
    for reference in names.dangling():
        noun = NOUNS[reference.spaces[0]]
        inspection.report_unknown(
            reference.path,
            f"nothing defines the {noun} {shown(reference.name)}",
            reference.name,
            names.known(reference.spaces),
        )
    for reference, first in names.contended():
        noun = NOUNS[reference.spaces[0]]
        inspection.report(reference.path, f"the {noun} {shown(reference.name)} is in use already, at {first}")
