"""The public signatures: what callers may call, and with what."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import gavotte
from gavotte import errors

__all__ = ["parameters_of", "public_functions", "public_overloads"]


def public_functions() -> Iterator[tuple[str, Any]]:
    """Each function and method of `gavotte.__all__`, by its full name; errors are caught, and not made, by callers."""
    for name in gavotte.__all__:
        value = getattr(gavotte, name)
        if inspect.isfunction(value):
            yield name, value
        elif name not in errors.__all__:
            own = [base for base in value.__mro__ if base.__module__.startswith("gavotte")]
            for member, raw in {name: raw for base in reversed(own) for name, raw in vars(base).items()}.items():
                function = getattr(raw, "__func__", raw)
                if inspect.isfunction(function) and (not member.startswith("_") or member == "__init__"):
                    yield f"{name}.{member}", function


def public_overloads() -> Iterator[tuple[str, Any]]:
    """The same as type checkers see them: a function's overloads stand for it. Dataclasses have their fields."""
    for name, function in public_functions():
        if not _is_made_by_dataclass(function):
            for overload in typing.get_overloads(function) or [function]:
                yield name, overload


def parameters_of(name: str, function: Any) -> list[str]:
    """The parameters by name: options one by one, and the fields of a dataclass."""
    if _is_made_by_dataclass(function):
        kind = getattr(gavotte, name.partition(".")[0])
        return [field.name for field in dataclasses.fields(kind)]
    found: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and "Unpack" in str(parameter.annotation):
            (options,) = typing.get_args(typing.get_type_hints(function)[parameter.name])
            found += sorted(options.__optional_keys__)  # as all processes that run the tests have to agree on
        elif parameter.name not in ("self", "cls"):
            found.append(parameter.name)
    return found


def _is_made_by_dataclass(function: Any) -> bool:
    return bool(function.__module__ == "gavotte.values")
