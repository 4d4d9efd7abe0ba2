"""Runs one function in a guest. Its text is sent there, so it needs the standard library alone.

On stdin comes a line of JSON (`gavotte.sandbox.calls.parcel`), then the pickled globals, then the pickled arguments. On
what was stdout goes a line of JSON: what went wrong, or that a result follows in further lines. What the function
prints goes to stderr.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import pickle
import sys
import types

TYPE_CHECKING = False  # as `typing` has it, whose import takes time under emulation
if TYPE_CHECKING:
    from typing import Any

_MODULE = "gavotte_call"
_LONGEST = 64 << 10  # characters of a traceback
_LINE = 12 << 10  # characters
_PIECE = 6 << 10
_MOST_VALUES = 1 << 20
_LARGEST_TEXT = 96 << 20  # bytes in memory


class Writer:
    """Writes a value as lines of JSON, none of them long, so that no reader is held up by one.

    A line is a list of tokens. None, numbers and short text stand for themselves. A list [kind, count] opens what so
    many of the following values are in: a list, tuple, set or frozenset; a dict, whose keys and values take turns;
    or the pieces of a longer text, or of bytes, which are base64.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tokens: list[Any] = []
        self.size = 0  # of the tokens, in characters; ASCII as JSON takes twelve times as much at most
        self.count = 0  # of all tokens

    def add(self, token: Any, size: int) -> None:
        self.count += 1
        if self.count > _MOST_VALUES:
            raise TypeError(f"more than {_MOST_VALUES} values")
        self.tokens.append(token)
        self.size += size
        if self.size > _LINE:
            self.end_line()

    def end_line(self) -> None:
        self.lines.append(json.dumps(self.tokens, separators=(",", ":")))
        self.tokens, self.size = [], 0

    def open(self, kind: str, count: int) -> None:
        self.add([kind, count], 16)

    def write(self, value: Any) -> None:
        """Raises TypeError for what has no place there."""
        if value is None or isinstance(value, (bool, float)):
            self.add(value, 8)
        elif isinstance(value, int):
            self.add(value, 8 + value.bit_length() // 3)
        elif isinstance(value, str):
            self.write_text(value)
        elif isinstance(value, dict):
            self.open("dict", 2 * len(value))
            for item in value.items():
                for part in item:
                    self.write(part)
        elif isinstance(value, (bytes, bytearray)):
            pieces = [base64.b64encode(value[at : at + _PIECE]).decode() for at in range(0, len(value), _PIECE)]
            self.write_pieces("bytes", pieces)
        else:
            self.write_items(value)

    def write_text(self, value: str) -> None:
        if sys.getsizeof(value) > _LARGEST_TEXT:
            raise TypeError("a text that takes more than 96M of memory")
        if len(value) <= _PIECE:
            self.add(value, 8 + len(value))
        else:
            self.write_pieces("text", [value[at : at + _PIECE] for at in range(0, len(value), _PIECE)])

    def write_pieces(self, kind: str, pieces: list[str]) -> None:
        self.open(kind, len(pieces))
        for piece in pieces:
            self.add(piece, 8 + len(piece))

    def write_items(self, value: Any) -> None:
        for kind in (list, tuple, set, frozenset):
            if isinstance(value, kind):
                self.open(kind.__name__, len(value))
                for item in value:
                    self.write(item)
                return
        raise TypeError(f"a {type(value).__name__}")


def encode(value: Any) -> str:
    """The answer of a function that returned. Raises TypeError for what can't be sent back."""
    writer = Writer()
    writer.write(value)
    writer.end_line()
    return "\n".join(['{"returned":true}', *writer.lines])


def load(head: dict[str, Any], values: bytes) -> Any:
    """The function, in a module of its own."""
    module = types.ModuleType(_MODULE)
    sys.modules[_MODULE] = module
    space = module.__dict__
    for name, origin, attribute in head["imports"]:
        value = importlib.import_module(origin)
        for part in attribute.split(".") if attribute else ():
            value = getattr(value, part)
        space[name] = value
    space.update(pickle.loads(values))
    for part in head["parts"]:
        text = part["source"]
        code = compile("\n" * (part["line"] - 1) + text, part["file"], "exec")  # annotations aren't evaluated, as here
        exec(code, space)
        _SOURCES[part["file"]] = (*_SOURCES.get(part["file"], ()), (part["line"], text.splitlines(True)))
    for name, defined in head["aliases"]:
        space[name] = space[defined]
    return space[head["name"]]


_SOURCES: dict[str, tuple[tuple[int, list[str]], ...]] = {}


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as text, with the lines of the function that are known here."""
    import linecache
    import traceback

    for file, parts in _SOURCES.items():
        lines: list[str] = []
        for start, some in sorted(parts):
            lines += ["\n"] * (start - 1 - len(lines)) + some
        linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
    trace = error.__traceback__
    text = "".join(traceback.format_exception(type(error), error, trace and trace.tb_next))
    return {"kind": type(error).__name__, "message": str(error)[: _LONGEST // 8], "traceback": text[-_LONGEST:]}


def call(data: bytes) -> Any:
    """The answer to a call."""
    line, _, rest = data.partition(b"\n")
    head = json.loads(line)
    step = "the function"
    try:
        function = load(head, rest[: head["values"]])
        step = "the arguments"
        args, kwargs = pickle.loads(rest[head["values"] :])
    except Exception as error:
        return {"problem": step, **describe(error)}
    try:
        result = function(*args, **kwargs)
        if isinstance(result, types.CoroutineType):
            import asyncio

            result = asyncio.run(result)
    except BaseException as error:
        return {"raised": True, **describe(error)}
    try:
        return encode(result)
    except Exception as error:
        return {"problem": "the result", **describe(error)}


def main() -> None:
    """Read the call, and write the answer."""
    out = os.dup(1)
    os.dup2(2, 1)
    with open(0, "rb", closefd=False) as stdin:
        answer = call(stdin.read())
    sys.stdout.flush()
    with open(out, "w") as file:  # noqa: PTH123
        file.write(answer if isinstance(answer, str) else json.dumps(answer))


if __name__ == "__main__":
    main()
