"""Devices that a user gives, each value looked at by the type that its field declares.

`hypervisor.devices` believes what it is given: most devices are Gavotte's own, and a start has no time to spare.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from gavotte.arguments import StrPath, check_flag, check_number, check_path, check_text, wrong
from gavotte.hypervisor.devices import Device
from gavotte.places import absolute

__all__ = ["check_device", "check_devices"]

T = TypeVar("T")


def check_devices(devices: object) -> tuple[Device, ...]:
    """Those that a sandbox is to have from the start. Raises UsageError, with the path to the culprit."""
    if not isinstance(devices, Iterable) or isinstance(devices, str | bytes | Mapping):
        raise wrong(devices, "a list of devices", "devices")
    return tuple(check_device(device, f"devices[{number}]") for number, device in enumerate(devices))


def check_device(device: object, path: str = "device") -> Device:
    """A device with the values that its fields want, and its paths absolute: a relative one is the caller's.

    Raises UsageError for what is none, such as a map, and for a value that its field can't have.
    """
    if not isinstance(device, Device):
        hint = "give one such as gavotte.Disk; gavotte.Raw(id, {'driver': …}) is any device in QEMU's own words"
        raise wrong(device, "a device", path, hint=hint)
    return _check_fields(device, path)


def _check_fields(value: T, path: str) -> T:
    """A dataclass with each of its values checked."""
    found: Any = value
    declared = _declared(cast("Any", type(found)))
    checked = {name: _check(getattr(found, name), kind, f"{path}.{name}") for name, kind in declared.items()}
    changes = {name: each for name, each in checked.items() if each is not getattr(found, name)}
    return replace(found, **changes) if changes else value


@cache
def _declared(kind: type) -> Mapping[str, Any]:
    """The type that each field declares."""
    hints = typing.get_type_hints(kind, localns={"PropertyMap": Mapping})
    return {field.name: hints[field.name] for field in fields(cast("Any", kind))}


def _check(value: object, declared: Any, path: str) -> Any:
    """A value that a field may have, in its own form."""
    choices = get_args(declared)
    if declared == StrPath:
        return Path(absolute(check_path(value, path)))
    if get_origin(declared) is Literal:
        if value not in choices:
            raise wrong(value, f"one of {', '.join(map(repr, choices))}", path)
        return value
    if get_origin(declared) is tuple:
        if not isinstance(value, list | tuple):
            raise wrong(value, "a tuple", path)
        return tuple(_check(each, choices[0], f"{path}[{number}]") for number, each in enumerate(value))
    if isinstance(declared, UnionType):
        if value is None and type(None) in choices:
            return None
        return _check_one_of(value, [each for each in choices if each is not type(None)], path)
    return _check_one_of(value, [declared], path)


def _check_one_of(value: object, kinds: list[Any], path: str) -> Any:
    if all(is_dataclass(kind) for kind in kinds):
        if not isinstance(value, tuple(kinds)):
            raise wrong(value, f"a {' or '.join(kind.__name__ for kind in kinds)}", path)
        return _check_fields(value, path)
    match kinds:
        case [kind] if kind is bool:
            return check_flag(value, path)
        case [kind] if kind is int:
            return check_number(value, 0, None, path)
        case [kind] if kind is str:
            return check_text(value, path)
    if not isinstance(value, Mapping):
        raise wrong(value, "a mapping of QEMU's properties", path)
    return value
