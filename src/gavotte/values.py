"""Frozen dataclasses that cost a start less.

`dataclasses` writes, compiles and runs six functions for each frozen class, half a millisecond, and a start loads a
hundred classes of which it makes few objects. Here all classes share six functions, which look the fields up. What
else there is of `dataclasses` works with them: `fields`, `replace`, `asdict`, `match`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """As that of `dataclasses`. A class that isn't only frozen, and has slots or not, is left to that."""
        if cls is None:
            return lambda cls: dataclass(cls, **options)
        if not options.get("frozen") or options.keys() - {"frozen", "slots"} or hasattr(cls, "__post_init__"):
            return dataclasses.dataclass(cls, **options)
        slots = options.get("slots", False)
        cls.__doc__ = cls.__doc__ or cls.__name__  # else it would be made of a signature
        made = dataclasses.dataclass(cls, init=False, repr=False, eq=False, slots=slots)
        made.__fields__ = {field.name: field for field in dataclasses.fields(made)}
        for name, function in _SHARED.items():
            if name not in vars(made):
                setattr(made, name, function)
        return made


def _init(self: Any, /, *given: Any, **named: Any) -> None:
    fields = self.__fields__
    if len(given) > len(fields):
        raise TypeError(f"{type(self).__name__}() takes {len(fields)} values, and {len(given)} were given")
    values = dict(zip(fields, given, strict=False))
    for name, value in named.items():
        if name in values or name not in fields:
            what = "twice" if name in values else "which it doesn't have"
            raise TypeError(f"{type(self).__name__}() was given {name!r} {what}")
        values[name] = value
    missing = []
    for name, field in fields.items():
        if name in values:
            object.__setattr__(self, name, values[name])
        elif field.default is not dataclasses.MISSING:
            object.__setattr__(self, name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            object.__setattr__(self, name, field.default_factory())
        else:
            missing.append(repr(name))
    if missing:
        raise TypeError(f"{type(self).__name__}() misses {', '.join(missing)}")


def _repr(self: Any) -> str:
    fields = self.__fields__.values()
    shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields if field.repr)
    return f"{type(self).__qualname__}({shown})"


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, field.name) for field in self.__fields__.values() if field.compare])


def _eq(self: Any, other: object) -> Any:
    return _compared(self) == _compared(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _refuse_set(self: Any, name: str, _value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_SHARED = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse_set,
    "__delattr__": _refuse_delete,
}
