"""`python -m tools.qmp_stubs [QEMU]`: the types of QMP's commands, from what that binary says of itself.

Writes src/gavotte/qemu/commands.pyi. The names of types are masked in QEMU's introspection, so each is named after the
shortest way to it: the first command in the alphabet that holds it, then the members that lead there.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from gavotte.qemu.binary import find_qemu
from gavotte.qemu.commands import python_name

__all__ = ["STUB", "Binary", "ask", "main", "render"]

STUB = Path(__file__).parents[1] / "src/gavotte/qemu/commands.pyi"

Entity: TypeAlias = dict[str, Any]

_SCALARS = {"string": "str", "int": "int", "number": "float", "boolean": "bool", "null": "None", "value": "Json"}
_INLINE = 60  # characters of an enumeration that is written where it is used
_HIDING = frozenset(_SCALARS.values()) | {"list"}  # as a key of a class, each would hide the type of the next
_OPEN = "device_add"  # takes what the schema doesn't list

_SEAL = "\n# SHA-256 of the lines above: "

_HEADER = '''\
"""The types of QMP's commands.

Written by `make stubs` from query-qmp-schema of QEMU {version} ({package}), {target}. Don't edit.
Each type is named after the shortest way to it, since QEMU doesn't tell its names.
"""

# ruff: noqa: UP013  # a key named `str` or `int` would hide that type in a class

from collections.abc import Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict, overload

from gavotte.qemu.props import Json, PropertyMap
from gavotte.qmp.client import QmpClient

__all__ = ["Commands", "argument_of", "command_of", "execute", "python_name"]

async def execute(
    client: QmpClient,
    command: str,
    arguments: PropertyMap,
    *,
    deadline: float = ...,
    fds: Sequence[int] = ...,
    oob: bool = ...,
    final: bool = ...,
) -> Json: ...
def command_of(name: str) -> str: ...
def argument_of(command: str, name: str) -> str: ...
def python_name(name: str) -> str: ...

class Empty(TypedDict): ...

'''

_CLASS = """
class Commands:
    def __init__(
        self, client: QmpClient, *, deadline: float = ..., fds: Sequence[int] = ..., oob: bool = ...
    ) -> None: ...
    def __call__(self, *, deadline: float = ..., fds: Sequence[int] = ..., oob: bool = ...) -> Commands: ...
"""


@dataclass(frozen=True)
class Binary:
    """What a binary said: its version, its package, its target, and its schema."""

    version: str
    package: str
    target: str
    schema: Sequence[Entity]

    @property
    def header(self) -> str:
        return _HEADER.format(version=self.version, package=self.package or "not packaged", target=self.target)


def main(argv: list[str]) -> int:
    """Write the stub from the binary named, or from the one on PATH; gives the exit status."""
    binary = ask(Path(argv[0]) if argv else find_qemu().path)
    STUB.write_text(render(binary), encoding="utf-8")
    print(f"{STUB.name}: QEMU {binary.version}")
    return 0


def ask(path: Path) -> Binary:
    """Ask a throw-away process without a machine. Raises CalledProcessError, TimeoutExpired."""
    commands = ("qmp_capabilities", "query-target", "query-qmp-schema", "quit")
    lines = subprocess.run(
        [path, "-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"],
        input="".join(json.dumps({"execute": command, "id": command}) for command in commands),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    greeting = json.loads(lines[0])["QMP"]["version"]
    answers = {message.get("id"): message.get("return") for message in map(json.loads, lines[1:])}
    version = ".".join(str(greeting["qemu"][part]) for part in ("major", "minor", "micro"))
    package = greeting["package"].strip("() ")
    return Binary(version, package, answers["query-target"]["arch"], answers["query-qmp-schema"])


def render(binary: Binary) -> str:
    """The stub's text, the same for the same schema."""
    text = binary.header + "".join(_Stub(binary.schema).lines())
    formatter = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"]
    done = subprocess.run(formatter, input=text, capture_output=True, text=True, timeout=60, check=True)
    return sealed(str(done.stdout))


def sealed(text: str) -> str:
    """The text with the digest of all above it as its last line, in place of one that it has: an edit by hand shows."""
    body = text.partition(_SEAL)[0]
    return f"{body}{_SEAL}{hashlib.sha256(body.encode()).hexdigest()}\n"


class _Stub:
    """The types that the commands use, with their names, and the commands."""

    def __init__(self, schema: Sequence[Entity]) -> None:
        self._entities = {entity["name"]: entity for entity in schema}
        self._commands = sorted(
            (entity for entity in schema if entity["meta-type"] == "command"), key=lambda entity: str(entity["name"])
        )
        self._names: dict[str, str] = {}  # of a type's id
        self._used: set[str] = set()  # ids of the types that have a definition of their own
        self._name_all()

    def lines(self) -> Iterator[str]:
        """The definitions of types, sorted by name, then the class with the commands."""
        methods = [line for command in self._commands for line in self._method(command)]
        definitions: dict[str, str] = {}
        while missing := sorted(self._used - definitions.keys()):
            definitions.update((id, self._definition(id)) for id in missing)  # which may use types in turn
        yield from (text for _, text in sorted((self._names[id], text) for id, text in definitions.items()))
        yield _CLASS
        yield from methods

    # --- names ---

    def _name_all(self) -> None:
        """Breadth first, so that the shortest way wins, and within one length the alphabet."""
        taken: set[str] = set()
        found = deque(root for command in self._commands for root in self._roots(command))
        while found:
            id, name = found.popleft()
            if id in self._names:
                continue
            if self._entities[id]["meta-type"] in ("object", "enum", "alternate"):
                name = next(name for name in _numbered(name) if name not in taken)
                taken.add(name)
            self._names[id] = name
            found.extend(self._parts(id, name))

    def _roots(self, command: Entity) -> Iterator[tuple[str, str]]:
        """What a command answers bears its name; if that is nothing of its own, its arguments do."""
        name, answer = _camel(command["name"]), command["ret-type"]
        while self._entities[answer]["meta-type"] == "array":
            answer = self._entities[answer]["element-type"]
        yield answer, name
        yield command["arg-type"], name if self._is_plain(answer) else f"{name}Arguments"

    def _parts(self, id: str, name: str) -> Iterator[tuple[str, str]]:
        """The types within a type, with the names that they get if this is the shortest way to them."""
        entity = self._entities[id]
        if entity["meta-type"] == "array":
            yield entity["element-type"], name
        for member in entity.get("members", ()) if entity["meta-type"] != "enum" else ():
            yield member["type"], name + _camel(member.get("name", ""))
        for variant in entity.get("variants", ()):
            yield from self._parts(variant["type"], name + _camel(variant["case"]))

    # --- types ---

    def _type(self, id: str) -> str:
        """How a type is written where it is used."""
        entity = self._entities[id]
        match entity["meta-type"]:
            case "builtin":
                return _SCALARS[entity["json-type"]]
            case "array":
                return f"list[{self._type(entity['element-type'])}]"
            case "enum" if len(text := _literal(entity["values"])) <= _INLINE:
                return text
            case "object" if self._is_plain(id):
                return "Empty"
        self._used.add(id)
        return self._names[id]

    def _is_plain(self, id: str) -> bool:
        """Whether a type needs no name."""
        entity = self._entities[id]
        is_empty = entity["meta-type"] == "object" and not entity["members"] and not entity.get("variants")
        return is_empty or entity["meta-type"] == "builtin"

    def _definition(self, id: str) -> str:
        entity, name = self._entities[id], self._names[id]
        match entity["meta-type"]:
            case "enum":
                return f"{name}: TypeAlias = {_literal(entity['values'])}\n"
            case "alternate":
                return f"{name}: TypeAlias = {' | '.join(self._type(member['type']) for member in entity['members'])}\n"
        forms = list(self._forms(id))
        if len(forms) == 1:
            return self._struct(name, forms[0][1])
        structs = {name + form: self._struct(name + form, members) for form, members in forms}
        return "".join(structs.values()) + f"{name}: TypeAlias = {' | '.join(structs)}\n"

    def _struct(self, name: str, members: Sequence[Entity]) -> str:
        entries = []
        for member in members:
            text = self._member_type(member)
            entries.append((member["name"], f"NotRequired[{text}]" if "default" in member else text, _note(member)))
        if all(key.isidentifier() and not keyword.iskeyword(key) and key not in _HIDING for key, _, _ in entries):
            return f"class {name}(TypedDict):\n" + "".join(f"    {key}: {text}{note}\n" for key, text, note in entries)
        lines = [f'    "{key}": {text},{note}\n' for key, text, note in entries]
        return f'{name} = TypedDict("{name}", {{\n{"".join(lines)}}})\n'

    def _forms(self, id: str) -> Iterator[tuple[str, list[Entity]]]:
        """The forms that an object may have, each with a suffix for its name: one for each variant with members.

        A member that chooses between variants gets the key `literal`: the values that it has in this form.
        """
        entity = self._entities[id]
        if not entity.get("variants"):
            yield "", entity["members"]
            return
        plain = []
        for variant in sorted(entity["variants"], key=lambda variant: str(variant["case"])):
            case = variant["case"]
            for suffix, own in self._forms(variant["type"]):
                if own:
                    yield _camel(case) + suffix, [*_tagged(entity, [case]), *own]
                else:
                    plain.append(case)
        if plain:
            yield (_camel(plain[0]) if len(plain) == 1 else "Other"), _tagged(entity, plain)

    # --- commands ---

    def _method(self, command: Entity) -> Iterator[str]:
        forms = list(self._forms(command["arg-type"]))
        for _, members in forms:
            yield "\n    @overload" if len(forms) > 1 else ""
            note = "    # deprecated\n" if "deprecated" in command.get("features", ()) else ""
            yield f"\n{note}    async def {python_name(command['name'])}(self{self._parameters(command, members)})"
            yield f" -> {self._type(command['ret-type'])}: ..."

    def _parameters(self, command: Entity, members: Sequence[Entity]) -> str:
        """Keywords, those that must be given first. Where more may be given, no optional one is listed: a mapping
        that is unpacked there would have to fit it."""
        typed = [(f"{python_name(member['name'])}: {self._member_type(member)}", member) for member in members]
        needed = [text for text, member in typed if "default" not in member]
        others = [f"{text} = ..." for text, member in typed if "default" in member]
        if command["name"] == _OPEN:
            return ", " + ", ".join(["*", *needed, "**properties: Json"])
        return ", " + ", ".join(["*", *needed, *others]) if members else ""

    def _member_type(self, member: Entity) -> str:
        return _literal(member["literal"]) if "literal" in member else self._type(member["type"])


def _tagged(entity: Entity, values: list[str]) -> list[Entity]:
    return [
        {**member, "literal": values} if member["name"] == entity["tag"] else member for member in entity["members"]
    ]


def _literal(values: Sequence[str]) -> str:
    return f"Literal[{', '.join(json.dumps(value) for value in values)}]"


def _note(member: Entity) -> str:
    return "  # deprecated" if "deprecated" in member.get("features", ()) else ""


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}{number}"
        number += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
