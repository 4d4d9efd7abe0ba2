"""A call as bytes for a guest, and the guest's answer, of which nothing is believed.

There goes a pickle, which the guest trusts as it trusts the host. Back come lines of JSON (`returned`), which can't do
more than be wrong.
"""

from __future__ import annotations

import io
import json
import pickle
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from gavotte.compat import override
from gavotte.errors import FunctionFailed, UsageError
from gavotte.sandbox.calls.returned import build, split
from gavotte.sandbox.calls.source import Code, code_of, is_standard
from gavotte.sandbox.result import Result
from gavotte.text import harmless

__all__ = ["MAX_ANSWER", "Function"]

MAX_ANSWER = 64 << 20  # bytes
_LONGEST = 64 << 10  # characters of a traceback, bytes of what was printed
_CANT = (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError)
_NONSENSE = (ValueError, TypeError, KeyError, RecursionError)


@dataclass(frozen=True)
class Function:
    """A function that can be called in guests. Made once, for any number of calls."""

    name: str
    code: Code
    values: bytes

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Self:
        """Raises UsageError for one that can't be sent: a lambda, a closure, a bound method, or one that needs what a
        guest hasn't."""
        code = code_of(function)
        name = getattr(function, "__name__", code.name)
        return cls(name, code, _pickled(code.values, "function", f"{name} uses a global that can't be sent"))

    @property
    def argv(self) -> list[str]:
        """The command that makes a call of its stdin."""
        return ["python3", "-Bc", Path(__file__).with_name("runner.py").read_text(encoding="utf-8")]

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """A call as that command's stdin. Raises UsageError for arguments that can't be sent."""
        call = _pickled((tuple(args), dict(kwargs)), "arguments", "an argument can't be sent")
        head = {
            "name": self.code.name,
            "parts": [asdict(part) for part in self.code.parts],
            "imports": self.code.imports,
            "aliases": self.code.aliases,
            "values": len(self.values),
        }
        return json.dumps(head).encode() + b"\n" + self.values + call

    def open(self, result: Result) -> Any:
        """What the function returned. Raises FunctionFailed when it raised, or didn't return; and UsageError when it
        could not be called there, or returned what can't be sent back."""
        printed = _shown(result.stderr[-_LONGEST:].decode(errors="replace"))
        try:
            lines = split(result.stdout)
            answer = json.loads(next(lines, b""))
            if "returned" in answer:
                return build(lines)
            words = {key: _shown(str(answer[key])) for key in ("kind", "message", "traceback")}
        except _NONSENSE:
            raise FunctionFailed(f"{self.name} {_end_of(result)} and returned nothing", output=printed) from None
        said = f"{words['kind']}: {words['message']}" if words["message"] else words["kind"]
        match answer.get("problem"):
            case "the result":
                what = f"{self.name} returned what can't be sent back: {words['message']}"
                hint = "return None, numbers, text, bytes, or lists, tuples, sets and dicts of these"
                raise UsageError(what, path="function", hint=hint)
            case "the function" | "the arguments" as step:
                raise UsageError(
                    f"the guest's Python can't load {step} of {self.name}: {said}",
                    path="function" if step == "the function" else "arguments",
                    hint="it may be another version than this one: use what both have, and plain data as arguments",
                )
        raise FunctionFailed(
            f"{self.name} raised {said}", kind=words["kind"], traceback=words["traceback"], output=printed
        )


class _Pickler(pickle.Pickler):
    @override
    def reducer_override(self, value: Any) -> Any:
        """Asked of all but the plainest types."""
        kind = value if isinstance(value, type | types.FunctionType) else type(value)
        if not is_standard(kind.__module__):
            raise TypeError(f"{kind.__qualname__} is of the module {kind.__module__!r}, which a guest hasn't")
        return NotImplemented


def _pickled(value: object, path: str, problem: str) -> bytes:
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, protocol=5).dump(value)
    except _CANT as error:
        hint = "give plain data: numbers, text, bytes, and lists, tuples, sets and dicts of these"
        raise UsageError(f"{problem}: {error}", path=path, hint=hint) from None
    return buffer.getvalue()


def _end_of(result: Result) -> str:
    code = result.returncode
    return f"ended with status {code}" if code >= 0 else f"died of signal {-code}"


def _shown(text: str) -> str:
    """Lines that a terminal only shows."""
    return "\n".join(harmless(line.expandtabs()) for line in text[-_LONGEST:].splitlines())
