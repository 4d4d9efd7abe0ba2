"""How a command is typed: words to arguments, and what may come next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gavotte.errors import UsageError
from gavotte.qemu.props import Json

__all__ = ["Grammar", "read_command", "split_line"]

_SPACE = " \t\r\n"


def split_line(line: str) -> list[str]:
    """Cuts a line into words at white space, except inside of a value that is JSON.

    Raises UsageError, whose path is the word, where JSON is begun and not ended.
    """
    words = []
    position = 0
    while position < len(line):
        if line[position] in _SPACE:
            position += 1
            continue
        end = _end_of_word(line, position)
        words.append(line[position:end])
        position = end
    return words


def _end_of_word(line: str, start: int) -> int:
    """Where the word ends that starts here. A value that begins with `{`, `[` or `"` is as long as its JSON."""
    end = next((at for at in range(start, len(line)) if line[at] in _SPACE), len(line))
    equals = line.find("=", start, end)
    value = start if line[start] == "{" else equals + 1
    if (value == start or equals > 0) and value < len(line) and line[value] in '{["':
        try:
            end = json.JSONDecoder().raw_decode(line, value)[1]
        except (ValueError, RecursionError) as e:
            raise UsageError(f"not JSON: {e}", path=line[start:value].rstrip("=")) from e
        if end < len(line) and line[end] not in _SPACE:
            raise UsageError("something follows the value without a space", path=line[start:value].rstrip("="))
    return end


def read_command(words: Sequence[str], grammar: Grammar | None) -> tuple[str, dict[str, Json]]:
    """Gives the command and its arguments. Without a grammar, a value that is JSON is taken for what it says.

    Raises UsageError, whose path is the argument's name.
    """
    if words[0].startswith("{"):
        return _read_request(_object(words[0]))
    command, rest = words[0], words[1:]
    if len(rest) == 1 and rest[0].startswith("{"):
        return command, _object(rest[0])
    arguments: dict[str, Json] = {}
    for word in rest:
        name, equals, text = word.partition("=")
        if not name or not equals:
            raise UsageError(f"{word!r} is not name=value", path="arguments", hint="or give one JSON object")
        if name in arguments:
            raise UsageError("given twice", path=name)
        arguments[name] = _value(text, grammar.type_of(command, name, arguments) if grammar else None, grammar)
    return command, arguments


def _read_request(request: dict[str, Json]) -> tuple[str, dict[str, Json]]:
    """What QMP itself would be sent."""
    match request:
        case {"execute": str(command), **rest} if rest.keys() <= {"arguments", "id"}:
            arguments = rest.get("arguments", {})
            if isinstance(arguments, dict):
                return command, arguments
    raise UsageError('a JSON line is {"execute": COMMAND, "arguments": {…}}', path="command")


def _object(text: str) -> dict[str, Json]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UsageError(f"not JSON: {e}", path="arguments") from e
    if not isinstance(value, dict):
        raise UsageError("not a JSON object", path="arguments")
    return value


def _value(text: str, type: str | None, grammar: Grammar | None) -> Json:
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if grammar is None or type is None or grammar.fits(value, type) else text


class Grammar:
    """What one QEMU's `query-qmp-schema` says, as far as typing needs it."""

    def __init__(self, schema: Sequence[Mapping[str, Any]]) -> None:
        self._entities = {entity["name"]: entity for entity in schema}
        self.commands = sorted(e["name"] for e in schema if e["meta-type"] == "command")

    def arguments(self, command: str, given: Mapping[str, Json]) -> dict[str, str]:
        """The names of the command's arguments, those that must be given first, with the ids of their types.

        `given` are those known so far: some decide which others there are.
        """
        if command not in self.commands:
            return {}
        members = list(self._members(self._entities[command]["arg-type"], given))
        return {m["name"]: m["type"] for m in sorted(members, key=lambda m: "default" in m)}

    def type_of(self, command: str, name: str, given: Mapping[str, Json]) -> str | None:
        """The id of an argument's type; None where it isn't known, as of the properties of `device_add`."""
        return self.arguments(command, given).get(name)

    def values(self, type: str | None) -> list[str]:
        """The words that a value of this type may be, as far as they can be listed."""
        entity = self._entities.get(type or "", {"meta-type": ""})
        match entity["meta-type"]:
            case "enum":
                return list(entity["values"])
            case "alternate":
                return [value for member in entity["members"] for value in self.values(member["type"])]
            case "builtin" if entity["json-type"] == "boolean":
                return ["true", "false"]
        return []

    def fits(self, value: Json, type: str) -> bool:
        """Whether JSON of this kind can be a value of the type."""
        entity = self._entities[type]
        match entity["meta-type"]:
            case "builtin":
                return _fits_builtin(value, entity["json-type"])
            case "enum":
                return isinstance(value, str)
            case "array":
                return isinstance(value, list)
            case "object":
                return isinstance(value, dict)
        return any(self.fits(value, member["type"]) for member in entity["members"])

    def complete(self, before: str, word: str) -> list[str]:
        """What `word`, which stands behind the text `before`, may become."""
        try:
            words = split_line(before)
        except UsageError:  # within a JSON value
            return []
        if not words:
            return [f"{command} " for command in self.commands if command.startswith(word)]
        given = {name: text for name, _, text in (w.partition("=") for w in words[1:])}
        arguments = self.arguments(words[0], given)
        name, equals, text = word.partition("=")
        if equals:
            return [f"{name}={value} " for value in self.values(arguments.get(name)) if value.startswith(text)]
        return [f"{other}=" for other in arguments if other.startswith(word) and other not in given]

    def _members(self, type: str, given: Mapping[str, Json]) -> Iterator[Mapping[str, Any]]:
        entity = self._entities[type]
        yield from entity["members"]
        for variant in entity.get("variants", ()):
            if given.get(entity["tag"]) == variant["case"]:
                yield from self._members(variant["type"], given)


def _fits_builtin(value: Json, type: str) -> bool:
    match type:
        case "string":
            return isinstance(value, str)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
    return True
