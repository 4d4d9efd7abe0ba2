"""Frozen dataclasses as JSON and back: a machine's configuration and its devices, for what is kept and what is saved.

What is read is checked against the types that the classes declare. A class is named where there are several
(`"type": "Disk"`). Descriptors are numbers of one process: they are written as -1, which no call takes.
"""

from __future__ import annotations

import os
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self, TypeVar, cast, get_args, get_origin, runtime_checkable

from gavotte.arguments import StrPath
from gavotte.errors import UsageError
from gavotte.hypervisor.devices import Device
from gavotte.qemu.props import Json, plain
from gavotte.qemu.shape import within

__all__ = ["device_from_json", "device_to_json", "from_json", "to_json"]

T = TypeVar("T")


@runtime_checkable
class Portable(Protocol):
    """A class that has its own form."""

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, value: object) -> Self: ...


_TYPE: Final = "type"  # names the class, where there are several
_DESCRIPTORS: Final = frozenset({"fd", "fds", "vhost_fds", "number"})
_NAMES: Final[Mapping[str, Any]] = {"PropertyMap": Mapping, "Json": object}  # which hold any JSON


def device_to_json(device: Device) -> dict[str, Json]:
    """What `device_from_json` reads."""
    return cast("dict[str, Json]", to_json(device, Device))


def device_from_json(value: object, path: str = "device") -> Device:
    """Raises UsageError, with the path of the culprit, for what isn't a device."""
    return cast("Device", from_json(value, Device, path))


# --- out --------------------------------------------------------------------------------------------------------------


def to_json(value: object, declared: Any) -> Json:
    """A value of the `declared` type as JSON. Raises UsageError for a map that holds what isn't JSON."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case os.PathLike():
            return str(os.fspath(value))
        case Mapping():
            return plain(value)
        case tuple():
            return [to_json(each, get_args(declared)[0]) for each in value]
        case Portable():
            return value.to_json()
    members = {
        name: _member_to_json(name, getattr(value, name), hint)
        for name, hint in _hints(cast("Any", type(value))).items()
    }
    return {_TYPE: type(value).__name__, **members} if len(_classes(declared)) > 1 else members


def _member_to_json(name: str, value: object, declared: Any) -> Json:
    if name in _DESCRIPTORS:
        match value:
            case int():
                return -1
            case (int(), *_):
                return [-1] * len(value)
    return to_json(value, declared)


# --- in ---------------------------------------------------------------------------------------------------------------


def from_json(value: object, declared: Any, path: str) -> Any:
    """The value of the `declared` type that `to_json` wrote. Raises UsageError, with the path of the culprit."""
    origin = get_origin(declared)
    if declared == StrPath:
        return _from_plain(value, Path, path)
    if origin in (typing.Union, types.UnionType):
        return _from_union(value, declared, path)
    if origin is Literal:
        if value in get_args(declared):
            return value
        raise _wrong(value, " or ".join(map(repr, get_args(declared))), path)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(value, "a list", path)
        return tuple(from_json(each, get_args(declared)[0], f"{path}[{index}]") for index, each in enumerate(value))
    if isinstance(declared, type) and issubclass(declared, Portable):
        try:
            return declared.from_json(value)
        except UsageError as error:
            raise within(path, error) from error
    if is_dataclass(declared):
        return _from_members(cast("type[Any]", declared), value, path)
    return _from_plain(value, declared, path)


def _from_plain(value: object, declared: Any, path: str) -> Any:
    match declared:
        case _ if declared is object:
            return value
        case _ if declared is Path and isinstance(value, str) and "\0" not in value:
            return Path(value)
        case _ if declared is bool and isinstance(value, bool):
            return value
        case _ if declared in (int, float) and isinstance(value, int) and not isinstance(value, bool):
            return value
        case _ if declared in (str, float) and isinstance(value, declared):
            return value
        case _ if declared is Mapping and isinstance(value, dict):
            return value
    raise _wrong(value, _WORDS.get(declared, "something else"), path)


_WORDS: Mapping[Any, str] = {
    Path: "a path",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Mapping: "a mapping",
}


def _from_union(value: object, declared: Any, path: str) -> Any:
    if value is None and type(None) in get_args(declared):
        return None
    classes = _classes(declared)
    if not classes:
        (only,) = (each for each in get_args(declared) if each is not type(None))
        return from_json(value, only, path)
    if len(classes) == 1:
        return _from_members(next(iter(classes.values())), value, path)
    if not isinstance(value, dict):
        raise _wrong(value, "a mapping", path)
    members = dict(value)
    name = members.pop(_TYPE, None)
    if not isinstance(name, str) or name not in classes:
        raise _wrong(name, f"one of {', '.join(classes)}", f"{path}.{_TYPE}")
    return _from_members(classes[name], members, path)


def _from_members(kind: type[T], value: object, path: str) -> T:
    if not isinstance(value, dict):
        raise _wrong(value, "a mapping", path)
    hints = _hints(cast("Any", kind))
    for key in value:
        if key not in hints:
            raise UsageError(f"{kind.__name__} has no {key!r}", path=f"{path}.{key}")
    for field in fields(cast("Any", kind)):
        if field.name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise UsageError(f"{kind.__name__} lacks {field.name!r}", path=f"{path}.{field.name}")
    return kind(**{name: from_json(item, hints[name], f"{path}.{name}") for name, item in value.items()})


def _wrong(value: object, wanted: str, path: str) -> UsageError:
    return UsageError(f"{reprlib.repr(value)} is not {wanted}", path=path)


# --- the classes ------------------------------------------------------------------------------------------------------


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """The type that each field declares."""
    hints = typing.get_type_hints(kind, localns=dict(_NAMES))
    return {field.name: hints[field.name] for field in fields(cast("Any", kind))}


def _classes(declared: Any) -> Mapping[str, type]:
    """The dataclasses that a type stands for, by name."""
    several: Sequence[Any] = get_args(declared) if get_origin(declared) in (typing.Union, types.UnionType) else ()
    return {each.__name__: each for each in several if is_dataclass(each) and isinstance(each, type)}
