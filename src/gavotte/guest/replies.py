"""What the agent says, read as if somebody else said it: bounded in size, depth and range, and text made harmless.

Nothing here depends on what a reply looks like before it has been looked at, and no text of Python's decoder leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gavotte.errors import AgentError
from gavotte.guest import agent
from gavotte.guest.breach import Breach
from gavotte.guest.command import Exit
from gavotte.text import harmless
from gavotte.values import dataclass

__all__ = ["LARGEST", "Command", "EndedCommand", "Listing", "printable", "read_credit", "read_end", "read_hello"]
__all__ += ["read_listing", "read_notice", "read_refusal", "read_reply"]

# Bytes of the largest payload of each kind; other kinds aren't for the host, and have none.
LARGEST: Mapping[int, int] = {
    agent.HELLO: 4 << 10,
    agent.REPLY: agent.MAX_LISTING,
    agent.ERROR: 16 << 10,
    agent.DATA: agent.CHUNK,
    agent.CREDIT: 4,
    agent.EXIT: 4 << 10,
    agent.NOTICE: 4 << 10,
}
_LARGEST_REPLY = 4 << 10  # bytes, but for a listing
_LONGEST_TEXT = 1000
_MOST_DIGITS = 19  # of 2**63
_MOST_EXITS = 64
_MOST_COMMANDS = 4096
_LONGEST_ARGV = 4096  # characters, of which the agent sends no more
_PIDS = range(1, (1 << 22) + 1)  # proc(5), pid_max
_NUMBERS = range(1 << 60)  # of bytes, of accidents

# The fields of an operation's reply that the host looks at, and what they may be.
_REPLIES: Mapping[str, Mapping[str, range]] = {
    "exec": {"pid": _PIDS},
    "online": {"cpus": range(1, 1 << 16), "memory": _NUMBERS},
    "restore": {"root_size": _NUMBERS},
    "setup": {"root_size": _NUMBERS},
}


@dataclass(frozen=True)
class EndedCommand:
    """A command that ended under another manager, and how; `exit` is None when that is unknown, and `lost` says why."""

    number: int  # of its channel
    pid: int
    argv: tuple[str, ...]
    exit: Exit | None
    lost: str = ""


@dataclass(frozen=True)
class Command:
    """A command that another manager started; `pid` is 0 if it isn't known to run, `stdin` its credit if it is open.

    `at` are the bytes of retained stdout and stderr that aren't sent again.
    """

    number: int
    pid: int
    argv: tuple[str, ...]
    stdin: int | None
    stdout: bool
    stderr: bool
    at: tuple[int, int] | None = None


@dataclass(frozen=True)
class Listing:
    """What a guest holds whose line is taken over."""

    last: int  # channel that was used
    commands: Iterator[Command]  # each is read when it is taken, which raises Breach
    exits: tuple[EndedCommand, ...]
    fields: Mapping[str, int]  # of the operation's own


def printable(text: object) -> str:
    """`text` from the guest, cut to a length and harmless to a terminal."""
    return harmless(str(text)[:_LONGEST_TEXT])


def read_hello(document: bytes) -> int:
    """The protocol that the agent speaks."""
    return _number(_object(document), "protocol", _NUMBERS)


def read_reply(operation: str, document: bytes) -> dict[str, int]:
    """The fields of an operation's reply. All of them are numbers, in their range."""
    if len(document) > _LARGEST_REPLY:
        raise Breach(f"its reply to {operation!r} has {len(document)} bytes")
    return _fields(operation, _object(document))


def _fields(operation: str, reply: dict[str, Any]) -> dict[str, int]:
    return {name: _number(reply, name, values) for name, values in _REPLIES.get(operation, {}).items()}


def read_refusal(document: bytes) -> tuple[str, str]:
    """Code and message of an ERROR."""
    reply = _object(document)
    return _text(reply, "code"), _text(reply, "message")


def read_notice(document: bytes) -> str:
    """What a NOTICE tells."""
    return _text(_object(document), "why")


def read_credit(payload: bytes) -> int:
    """How many bytes more of a stream the agent takes."""
    if len(payload) != 4:
        raise Breach(f"its credit has {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def read_end(document: bytes) -> tuple[Exit | None, str]:
    """How a command ended, within the bounds of wait(2); or None, and why that isn't known."""
    return _end(_object(document))


def read_listing(operation: str, document: bytes) -> Listing:
    """What the agent tells a new manager. Raises AgentError when the operation failed, which is told the same way."""
    reply = _object(document)
    if "problem" in reply:
        raise AgentError(f"the guest can't become one of its own: {_text(reply, 'problem')}")
    last = _number(reply, "last", range(agent.FIRST_RESUMER))
    numbers = range(last + 1)
    commands = _objects(reply, "commands")
    if len(commands) > _MOST_COMMANDS:
        raise Breach(f"it has {len(commands)} commands")
    return Listing(
        last=last,
        commands=(_command(one, numbers) for one in commands),
        exits=tuple(_ended(one, numbers) for one in _objects(reply, "exits")[-_MOST_EXITS:]),
        fields=_fields(operation, reply),
    )


def _command(one: dict[str, Any], numbers: range) -> Command:
    return Command(
        number=_number(one, "channel", numbers),
        pid=_number(one, "pid", range(_PIDS.stop)),
        argv=_words(one),
        stdin=None if one.get("stdin") is None else _number(one, "stdin", range(agent.WINDOW + 1)),
        stdout=one.get("stdout") is True,
        stderr=one.get("stderr") is True,
        at=None if one.get("at") is None else _offsets(one),
    )


def _offsets(one: dict[str, Any]) -> tuple[int, int]:
    offsets = one["at"]
    if type(offsets) is not list or len(offsets) != 2:
        raise Breach("a command's 'at' is no pair")
    stdout, stderr = (_number({"at": offset}, "at", _NUMBERS) for offset in offsets)
    return stdout, stderr


def _ended(one: dict[str, Any], numbers: range) -> EndedCommand:
    number, pid = _number(one, "channel", numbers), _number(one, "pid", range(_PIDS.stop))
    return EndedCommand(number, pid, _words(one), *_end(one))


def _end(outcome: dict[str, Any]) -> tuple[Exit | None, str]:
    if "lost" in outcome:
        return None, _text(outcome, "lost")
    code = -_number(outcome, "signal", range(1, 65)) if "signal" in outcome else _number(outcome, "status", range(256))
    counts = [_number(outcome, name, _NUMBERS) if name in outcome else 0 for name in ("oom_kills", "forks_denied")]
    return Exit(code, *counts), ""


# --- values -----------------------------------------------------------------------------------------------------------


def _object(document: bytes) -> dict[str, Any]:
    """The JSON object that a document is."""
    try:
        value = _decode(str(document, "utf-8"))
    except RecursionError:
        raise Breach("what it sent nests too deeply") from None
    except ValueError:
        raise Breach("what it sent isn't JSON") from None
    if type(value) is not dict:
        raise Breach("what it sent is no JSON object")
    return value


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise Breach(f"it sent a number of {len(text)} digits")
    return int(text)


def _no_number(text: str) -> int:
    raise Breach(f"it sent {text[:20]}, where only whole numbers are")


_decode = json.JSONDecoder(parse_int=_integer, parse_float=_no_number, parse_constant=_no_number).decode


def _number(fields: dict[str, Any], name: str, values: range) -> int:
    value = fields.get(name)
    if type(value) is not int or value not in values:
        raise Breach(f"its {name!r} is no number from {values.start} to {values.stop - 1}")
    return value


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise Breach(f"its {name!r} is no text")
    return printable(value)


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = fields.get(name)
    if type(value) is not list or not all(type(one) is dict for one in value):
        raise Breach(f"its {name!r} is no list of objects")
    return value


def _words(fields: dict[str, Any]) -> tuple[str, ...]:
    """A command line, which has a program, or as much of it as is sent."""
    argv = fields.get("argv")
    if type(argv) is not list or not argv:
        raise Breach("a command has no argv")
    words, left = [], _LONGEST_ARGV
    for word in argv:
        if type(word) is not str:
            raise Breach("a command has no argv")
        words.append(printable(word[:left]))
        left -= len(word) + 1
        if left <= 0:
            break
    return tuple(words)
