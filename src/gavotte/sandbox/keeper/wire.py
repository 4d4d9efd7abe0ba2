"""What goes over the line between a keeper and its clients: frames, and errors as JSON. No I/O.

    frame    5-byte header, then the payload
    header   >BI   kind, length of the payload

A connection carries one request. The keeper says hello; the client sends the request, a MESSAGE with the key `op`; the
keeper answers with `reply` or `error`. A command's streams follow as frames IN, OUT and ERR, of which an empty one is
the end. Each stream has credit: at most WINDOW bytes are under way that the receiver hasn't granted anew by the message
`credit`, so that one that stands still holds up neither the others nor the memory of either end.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

from gavotte import errors
from gavotte.errors import GavotteError

__all__ = ["CHUNK", "ERR", "HEADER", "IN", "MESSAGE", "OUT", "PROTOCOL", "WINDOW", "Decoder", "Malformed", "encode"]
__all__ += ["encode_message", "error_from_json", "error_to_json"]

VERSION: str = sys.modules["gavotte"].__version__  # no floor imports the package, which stands on all of them
PROTOCOL = 1  # raised when the two ends of different releases would misunderstand each other

MESSAGE, IN, OUT, ERR = range(4)
HEADER = struct.Struct(">BI")
CHUNK = 64 << 10
WINDOW = 256 << 10
_LARGEST = 4 << 20  # a request carries argv and env, which Linux bounds at about 2 MiB (execve(2))


class Malformed(Exception):
    """Bytes that are no frame."""


def encode(kind: int, payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    return HEADER.pack(kind, len(payload)) + payload


def encode_message(**fields: Any) -> bytes:
    """One MESSAGE as bytes. Lone surrogates (bytes of a path that isn't UTF-8) survive."""
    return encode(MESSAGE, json.dumps(fields, separators=(",", ":")).encode())


def decode_message(payload: bytes) -> dict[str, Any]:
    """What a MESSAGE says. Raises Malformed."""
    try:
        value = json.loads(payload.decode())
    except RecursionError:
        raise Malformed("a message nests too deeply") from None
    except ValueError:
        raise Malformed("a message isn't JSON") from None
    if not isinstance(value, dict):
        raise Malformed("a message is an object")
    return value


def check_header(kind: int, length: int) -> None:
    """Raises Malformed for what is no frame's header."""
    if kind > ERR or length > _LARGEST:
        raise Malformed(f"no frame has kind {kind} and {length} bytes")


class Decoder:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that `data` completes, as kind and payload. Raises Malformed."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer)
            check_header(kind, length)
            end = HEADER.size + length
            if len(self._buffer) < end:
                break
            frames.append((kind, bytes(self._buffer[HEADER.size : end])))
            del self._buffer[:end]
        return frames


# --- errors -----------------------------------------------------------------------------------------------------------


def error_to_json(error: GavotteError) -> dict[str, Any]:
    """The error as a message carries it: its class, and what it says."""
    details = {name: value for name, value in vars(error).items() if isinstance(value, str | int | None)}
    problems = [error_to_json(problem) for problem in getattr(error, "problems", ())]
    known = {"class": type(error).__name__, "exit_code": error.exit_code, "argv": error.argv}
    return {**known, **details, "problems": problems}


def error_from_json(value: dict[str, Any]) -> GavotteError:
    """The same error at the other end; one of a class that isn't known here is a GavotteError. Raises Malformed."""
    try:
        return _error(value)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise Malformed("an error lacks something") from None


def _error(value: dict[str, Any]) -> GavotteError:
    kind = getattr(errors, str(value.pop("class")), GavotteError)
    if not (isinstance(kind, type) and issubclass(kind, GavotteError)):
        kind = GavotteError
    error: GavotteError = kind.__new__(kind)
    problems = tuple(error_from_json(problem) for problem in value.pop("problems"))
    error.args = (value["message"],)
    if argv := value.pop("argv", ()):
        error.argv = tuple(argv)
    if value["exit_code"] == kind.exit_code:  # else it is this error's own, as of a command that was not found
        del value["exit_code"]
    vars(error).update(value)
    if problems:
        vars(error)["problems"] = problems
    return error
