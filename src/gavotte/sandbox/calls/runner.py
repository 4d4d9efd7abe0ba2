"""Runs one function in a guest. Its text is sent there, so it needs the standard library alone.

On stdin comes a line of JSON (`gavotte.sandbox.calls.parcel`), then the pickled globals, then the pickled arguments. On
what was stdout goes one line of JSON: the result, or what went wrong. What the function prints goes to stderr.
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


def encode(value: Any) -> Any:
    """`value` in JSON's types. Raises TypeError for what has no place there."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": base64.b64encode(value).decode()}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(item) for item in value]}
    raise TypeError(f"a {type(value).__name__}")


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
    return {"kind": type(error).__name__, "message": str(error)[:_LONGEST], "traceback": text[-_LONGEST:]}


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
        return json.dumps({"returned": encode(result)})
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
