"""From QEMU's answers to the facts that are kept: smaller, and in the rows that `view` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gavotte.qemu.props import Json
from gavotte.qemu.schema.archive import Facts

__all__ = ["Answer", "Answers", "Tree", "facts"]

Answer: TypeAlias = Any  # as QMP gives it, before anything looks at its form

# Types whose values are never words of a list, whatever a description reads like.
_PLAIN = re.compile(r"(bool|str|string|size|int|number|double|u?int\d+(_t)?|(link|child)<.*>)$")

# How property descriptions name an enumeration's words: `on/off/auto`, `Error policy, stop/auto`, `… (none/zlib)`.
_WORDS = re.compile(r"(?:^|\s|\()([\w.-]+(?:/[\w.-]+)+)\)?$")


@dataclass(frozen=True, slots=True)
class Answers:
    """What one binary said.

    `general` by command, `interfaces` with the types that implement each, `properties` by section and name.
    """

    version: Mapping[str, Answer]
    general: Mapping[str, Answer]
    interfaces: Mapping[str, Sequence[str]]
    properties: Mapping[tuple[str, str], Answer]


class Tree:
    """The types of QOM, from `qom-list-types` with those that are abstract."""

    def __init__(self, types: Sequence[Mapping[str, Answer]]) -> None:
        self._parent: dict[str, str] = {entry["name"]: entry.get("parent", "") for entry in types}
        self._abstract = {entry["name"] for entry in types if entry.get("abstract")}

    def ancestors(self, name: str) -> Iterator[str]:
        """Gives the parent, its parent, and so on."""
        while name := self._parent.get(name, ""):
            yield name

    def below(self, ancestor: str) -> list[str]:
        """Gives the types that descend from one, sorted."""
        return sorted(name for name in self._parent if ancestor in self.ancestors(name))

    def concrete(self, names: Iterable[str]) -> list[str]:
        """Gives those of which there can be instances, sorted."""
        return sorted(name for name in names if name not in self._abstract)


def facts(answers: Answers, json_options: Sequence[str]) -> Facts:
    """Gives the sections of a schema's archive."""
    qapi = sorted(answers.general["query-qmp-schema"], key=_name)
    machines = sorted(answers.general["query-machines"], key=_name)
    parents = _parents(answers)
    enums = [frozenset(_enum(entry)) for entry in qapi if entry["meta-type"] == "enum"]
    properties = _Properties(answers.properties, enums)
    return {
        "about": {
            **_about(answers),
            "cpus": _cpus(answers, parents),
            "properties": properties.rows,
            "json": list(json_options),
            "buses": Tree(answers.general["qom-list-types"]).below("bus"),
            "events": [entry["name"] for entry in qapi if entry["meta-type"] == "event"],
            "aliases": {entry["alias"]: entry["name"] for entry in machines if "alias" in entry},
        },
        "device": {name: [parents[name], properties.of("device", name)] for name in parents},
        "family": _families(parents),
        "object": {
            name: properties.of(section, name) for section, name in sorted(answers.properties) if section == "object"
        },
        "accel": {
            name.removesuffix("-accel"): properties.of(section, name)
            for section, name in sorted(answers.properties)
            if section == "accel"
        },
        "machine": {entry["name"]: [_machine(entry), properties.of("machine", entry["name"])] for entry in machines},
        "option": {
            entry["option"]: [[p["name"], p["type"], p.get("help", ""), p.get("default")] for p in entry["parameters"]]
            for entry in answers.general["query-command-line-options"]
        },
        "command": {entry["name"]: _command(entry) for entry in qapi if entry["meta-type"] == "command"},
        "type": {entry["name"]: _type(entry) for entry in qapi if entry["meta-type"] not in ("command", "event")},
    }


def _about(answers: Answers) -> dict[str, Json]:
    version = answers.version["qemu"]
    return {
        "version": [version["major"], version["minor"], version["micro"]],
        "target": answers.general["query-target"]["arch"],
    }


def _cpus(answers: Answers, parents: Mapping[str, Sequence[str]]) -> Json:
    """Gives [name, type, deprecated] of the CPU models; from the names of their types where no query tells them."""
    if told := answers.general["query-cpu-definitions"]:
        return [
            [entry["name"], entry.get("typename", ""), entry.get("deprecated", False)]
            for entry in sorted(told, key=_name)
        ]
    # Such a type is named after its model and the target's base type, as rv64-riscv-cpu (CPU_RESOLVING_TYPE in QEMU).
    bases = {name: above[above.index("cpu") - 1] for name, above in parents.items() if "cpu" in above[1:]}
    return [[name.removesuffix(f"-{base}"), name, False] for name, base in bases.items()]


# --- QOM ------------------------------------------------------------------------------------------------------------


def _parents(answers: Answers) -> dict[str, list[str]]:
    """Gives ancestors and interfaces of each device type."""
    tree = Tree(answers.general["qom-list-types"])
    names = sorted(name for section, name in answers.properties if section == "device")
    interfaces: dict[str, list[str]] = {name: [] for name in names}
    for interface in sorted(answers.interfaces):
        for name in answers.interfaces[interface]:
            if name in interfaces:
                interfaces[name].append(interface)
    return {name: [*tree.ancestors(name), *interfaces[name]] for name in names}


def _families(parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The same, the other way round: the device types that each ancestor and interface has."""
    families: dict[str, list[str]] = {}
    for name, above in parents.items():
        for ancestor in above:
            families.setdefault(ancestor, []).append(name)
    return families


class _Properties:
    """All properties, each once: 62,000 of 445 types are 1,200 different ones. A type has their places in `rows`."""

    def __init__(self, answers: Mapping[tuple[str, str], Answer], enums: Sequence[frozenset[str]]) -> None:
        told = {key: entries and [_told(entry) for entry in entries] for key, entries in answers.items()}
        different = sorted({row for rows in told.values() for row in rows or ()})
        place = {row: index for index, row in enumerate(different)}
        self._places = {key: rows and sorted(place[row] for row in rows) for key, rows in told.items()}
        self.rows = _with_words(different, enums)

    def of(self, section: str, name: str) -> Json:
        """Gives the places of a type's properties, in the order of their names; None where QEMU couldn't tell them."""
        return self._places[section, name]


_Row: TypeAlias = tuple[str, str, str, str]


def _told(entry: Mapping[str, Answer]) -> _Row:
    """Name, type, description, and the default as text, so that rows can be compared and 0 isn't False."""
    default = entry.get("default-value")
    text = "" if default is None else json.dumps(default)
    return entry["name"], entry["type"], entry.get("description", ""), text


def _with_words(rows: Sequence[_Row], enums: Sequence[frozenset[str]]) -> list[Json]:
    """Appends the words of the enumeration to each row that has one; one description will do for a whole type."""
    own = [_words(row, enums) for row in rows]
    by_type: dict[str, set[tuple[str, ...]]] = {}
    for row, words in zip(rows, own, strict=True):
        if words:
            by_type.setdefault(row[1], set()).add(words)
    sure = {type: next(iter(found)) for type, found in by_type.items() if len(found) == 1}
    return [
        [*row[:3], json.loads(row[3]) if row[3] else None, list(sure.get(row[1], words))]
        for row, words in zip(rows, own, strict=True)
    ]


def _words(row: _Row, enums: Sequence[frozenset[str]]) -> tuple[str, ...]:
    """Gives an enumeration's words, from the description.

    They count where they are an enumeration of QMP's too, or the default is one of them: QMP doesn't name its types,
    and has not all of them.
    """
    _, type, text, default = row
    if _PLAIN.match(type) or not (found := _WORDS.search(text)):
        return ()
    words = tuple(found[1].split("/"))
    return words if default.strip('"') in words or frozenset(words) in enums else ()


def _name(entry: Mapping[str, Answer]) -> str:
    return str(entry["name"])


def _machine(entry: Mapping[str, Answer]) -> Json:
    return [
        entry.get("alias", ""),
        entry.get("is-default", False),
        entry.get("deprecated", False),
        entry.get("cpu-max", 1),
        entry.get("default-cpu-type", ""),
        entry.get("hotpluggable-cpus", False),
        entry.get("numa-mem-supported", True),
    ]


# --- QAPI -----------------------------------------------------------------------------------------------------------


def _command(entry: Mapping[str, Answer]) -> Json:
    oob = entry.get("allow-oob", False)
    return [entry["arg-type"], entry["ret-type"], oob, "deprecated" in entry.get("features", ())]


def _enum(entry: Mapping[str, Answer]) -> list[str]:
    members = entry.get("members")  # since 6.2
    return [member["name"] for member in members] if members else list(entry["values"])


def _type(entry: Mapping[str, Answer]) -> Json:
    match entry["meta-type"]:
        case "builtin":
            return {"scalar": entry["json-type"]}
        case "enum":
            return {"enum": _enum(entry)}
        case "array":
            return {"array": entry["element-type"]}
        case "alternate":
            return {"alternate": [member["type"] for member in entry["members"]]}
    return {
        "members": [[member["name"], member["type"], "default" in member] for member in entry["members"]],
        "tag": entry.get("tag", ""),
        "variants": {variant["case"]: variant["type"] for variant in entry.get("variants", ())},
    }
