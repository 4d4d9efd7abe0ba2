"""QMP as bytes, without I/O: commands are encoded, what QEMU says is decoded.

Source: QEMU, docs/interop/qmp-spec (sections "Server Greeting", "Issuing Commands", "Commands Responses",
"Asynchronous events").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from gavotte.errors import QmpProtocolError, UsageError
from gavotte.text import size_text
from gavotte.values import dataclass

__all__ = [
    "MAX_LINE",
    "Decoder",
    "Event",
    "Greeting",
    "Json",
    "Message",
    "Refusal",
    "Reply",
    "Words",
    "encode",
    "encode_opening",
]

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

Words: TypeAlias = tuple[str, Mapping[str, Json] | None]
"""A command, and its arguments."""

MAX_LINE = 16 * 1024 * 1024
"""Bytes in the longest line taken. `query-qmp-schema` answers with 207 kB; some dumps answer with megabytes."""

# QEMU takes a line with one of these for no UTF-8 (util/unicode.c), and then doesn't get as far as the line's id.
_NO_CHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane | low) for plane in range(0, 0x110000, 0x10000) for low in (0xFFFE, 0xFFFF))
    + "]"
)

_MAX_SECONDS = 2**63  # an integer beyond it can't be a time, and may not fit a float either
_EXCERPT = 60  # characters of a bad line that go into the error


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first line of a connection: `version` as QEMU words it, and the capabilities on offer."""

    version: dict[str, Json]
    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """The command with this id succeeded."""

    id: Json
    value: Json


@dataclass(frozen=True, slots=True)
class Refusal:
    """The command with this id failed. The id is None when QEMU could not even parse the command."""

    id: Json
    error_class: str
    desc: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in QEMU. `seconds` is its host's clock since 1970; -1 and below: its clock failed."""

    name: str
    data: dict[str, Json]
    seconds: float


Message: TypeAlias = Greeting | Reply | Refusal | Event


def encode(command: str, arguments: Mapping[str, Json] | None = None, *, id: str, oob: bool = False) -> bytes:
    """Give the line that asks QEMU to run `command`, out-of-band if `oob`.

    Raises UsageError where the arguments are nothing that JSON can say, or that QEMU can read.
    """
    request: dict[str, Any] = {"exec-oob" if oob else "execute": command, "id": id}
    if arguments:
        request["arguments"] = dict(arguments)
    try:
        line = _to_json(request)
        if not line.isascii() and (found := _NO_CHARACTER.search(line)):
            raise ValueError(f"U+{ord(found[0]):04X} is no character")
        return line.encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as e:
        raise UsageError(f"can't be written as JSON for {command}: {e}", path="arguments") from e


def encode_opening(words: Sequence[Words]) -> bytes:
    """The lines of commands that are said before QEMU has said anything; their ids count from 1. Raises as `encode`."""
    return b"".join(encode(command, arguments, id=str(id)) for id, (command, arguments) in enumerate(words, 1))


class Decoder:
    """Turns a stream of bytes, cut anywhere, into messages.

    It reads each byte once, however small the pieces are. One that raised has lost its place in the stream and is
    of no further use.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._partial = bytearray()  # the line that isn't complete yet

    def feed(self, data: bytes) -> list[Message]:
        """Give the messages that `data` completes. Raises QmpProtocolError for all that isn't QMP."""
        *ends, rest = data.split(b"\n")
        messages = []
        for end in ends:
            line = end
            if self._partial:
                line = bytes(self._partial + end)
                self._partial.clear()
            self._check_size(line)
            messages.append(_decode(line))
        if rest:
            self._partial += rest
            self._check_size(self._partial)
        return messages

    def _check_size(self, line: bytes | bytearray) -> None:
        if len(line) > self._limit:
            raise QmpProtocolError(f"a line over QMP is longer than {size_text(self._limit)}")


def _decode(line: bytes) -> Message:
    try:
        content = _from_json(line.decode())
    except (ValueError, RecursionError) as e:  # a JSON or UTF-8 error is a ValueError
        raise QmpProtocolError(
            f"a line over QMP is not JSON ({e}): {_excerpt(line)}",
            hint="the socket must lead to a monitor with mode=control and without pretty=on",
        ) from e
    if isinstance(content, dict):
        kinds = _KINDS.keys() & content.keys()
        if len(kinds) == 1:
            try:
                return _KINDS[kinds.pop()](content)
            except _WrongShape as e:
                raise QmpProtocolError(f"a line over QMP has {e}: {_excerpt(line)}") from None
    raise QmpProtocolError(f"a line over QMP is neither greeting, reply nor event: {_excerpt(line)}")


class _WrongShape(Exception):
    """A member of a message isn't what the specification says."""


def _greeting(content: dict[str, Any]) -> Greeting:
    body = _member(content, "QMP", dict)
    capabilities = _member(body, "capabilities", list)
    if not all(type(capability) is str for capability in capabilities):
        raise _WrongShape("a capability that is no string")
    return Greeting(_member(body, "version", dict), tuple(capabilities))


def _reply(content: dict[str, Any]) -> Reply:
    return Reply(content.get("id"), content["return"])


def _refusal(content: dict[str, Any]) -> Refusal:
    error = _member(content, "error", dict)
    return Refusal(content.get("id"), _member(error, "class", str), _member(error, "desc", str))


def _event(content: dict[str, Any]) -> Event:
    data = _member(content, "data", dict) if "data" in content else {}
    time = _member(content, "timestamp", dict)
    seconds, microseconds = _member(time, "seconds", int), _member(time, "microseconds", int)
    if max(abs(seconds), abs(microseconds)) > _MAX_SECONDS:
        raise _WrongShape("a time that is no time")
    return Event(_member(content, "event", str), data, seconds + microseconds / 1e6)


_Shape: TypeAlias = Callable[[dict[str, Any]], Message]
_KINDS: dict[str, _Shape] = {"return": _reply, "event": _event, "error": _refusal, "QMP": _greeting}


def _member(mapping: dict[str, Any], key: str, kind: type) -> Any:
    value = mapping.get(key)
    if type(value) is not kind:  # not isinstance: True is no number here
        raise _WrongShape(f"no {kind.__name__} as {key!r}")
    return value


def _excerpt(line: bytes) -> str:
    return repr(line if len(line) <= _EXCERPT else line[:_EXCERPT] + b"...")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_from_json = json.JSONDecoder(parse_constant=_refuse_constant).decode
