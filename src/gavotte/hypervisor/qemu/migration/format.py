"""What stands before and after QEMU's own stream in a saved machine.

Before it, enough to make another machine just like it; after it, what tells whether all of it is there.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from gavotte.errors import SaveFailed, StateTooNew, UsageError
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.serialization import from_json, to_json
from gavotte.qemu.machines import find_machine
from gavotte.qemu.props import Json, Recipe
from gavotte.values import dataclass

__all__ = ["HEAD_SIZE", "TAIL_SIZE", "VERSION", "Head", "Saved", "Tail", "differences"]

VERSION: Final = 1

_MAGIC = b"gavotte machine\n"
_END = b"the end\n"
_HEAD = struct.Struct(">16sIII")  # magic, version, bytes of JSON, their CRC-32
_TAIL = struct.Struct(">QI8s")  # bytes of the stream, their CRC-32, magic
_MAX_JSON = 16 << 20

HEAD_SIZE: Final = _HEAD.size
TAIL_SIZE: Final = _TAIL.size

_MAKE_ANOTHER = "save the machine again; this one can't be had back"

# Where things are on the host, and what only matters at the start: a machine may be loaded with others.
_FREE = frozenset({"name", "kernel", "initrd", "append", "dump", "memory_file"})
_FREE_IN_DEVICES = frozenset({"path", "filename", "fd", "fds", "vhost_fds", "options", "hostfwd", "throttle"})


@dataclass(frozen=True)
class Head:
    """The first bytes: how much JSON follows, and how to tell that it is whole."""

    json: int
    crc: int

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> Head:
        """Raises SaveFailed for what isn't a saved machine, StateTooNew for one of a later version."""
        if not data.startswith(_MAGIC[: len(data)]) or not data:
            raise SaveFailed(f"{what} is not a saved machine", hint="give what `save` wrote")
        if len(data) < _HEAD.size:
            raise SaveFailed(f"{what} ends after {len(data)} bytes", hint=_MAKE_ANOTHER)
        _, version, length, crc = _HEAD.unpack(data)
        if version > VERSION:
            raise StateTooNew(what, version, VERSION)
        if version < 1 or length > _MAX_JSON:
            raise SaveFailed(f"{what} is damaged in its first bytes", hint=_MAKE_ANOTHER)
        return cls(length, crc)


@dataclass(frozen=True)
class Tail:
    """The last bytes: how long the stream before them is, and its CRC-32."""

    length: int
    crc: int

    def to_bytes(self) -> bytes:
        return _TAIL.pack(self.length, self.crc, _END)

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> Tail:
        """Raises SaveFailed where the end is missing."""
        length, crc, end = _TAIL.unpack(data) if len(data) == _TAIL.size else (0, 0, b"")
        if end != _END:
            raise SaveFailed(f"{what} is cut off: its end is missing", hint=_MAKE_ANOTHER)
        return cls(length, crc)


@dataclass(frozen=True)
class Saved:
    """A machine as it was saved. `machine` is its versioned type, `qemu` the version that ran it, `cpu` the model.

    `growth` are the processors and DIMMs that were added.
    """

    config: MachineConfig
    machine: str
    cpu: str
    qemu: tuple[int, ...]
    table: Table
    growth: Recipe

    def to_bytes(self) -> bytes:
        """What stands before the stream."""
        text = json.dumps(to_json(self, Saved), separators=(",", ":")).encode()
        return _HEAD.pack(_MAGIC, VERSION, len(text), zlib.crc32(text)) + text

    @classmethod
    def from_bytes(cls, text: bytes, head: Head, what: str) -> Saved:
        """Raises SaveFailed, with the path of the culprit, for what `to_bytes` doesn't give."""
        if len(text) < head.json:
            raise SaveFailed(f"{what} ends after {HEAD_SIZE + len(text)} bytes", hint=_MAKE_ANOTHER)
        if zlib.crc32(text) != head.crc:
            raise SaveFailed(f"{what} is damaged: its description doesn't fit its checksum", hint=_MAKE_ANOTHER)
        try:
            return cast("Saved", from_json(json.loads(text), cls, ""))
        except (ValueError, RecursionError, UsageError) as error:
            raise SaveFailed(f"{what} is damaged: {error}", hint=_MAKE_ANOTHER) from error


def differences(saved: Saved, config: MachineConfig) -> list[str]:
    """What of `config` would make another machine than the saved one, each as "path: theirs, not ours"."""
    theirs, ours = (dict(_leaves(cast("Any", to_json(each, MachineConfig)))) for each in (saved.config, config))
    row = find_machine(saved.config.arch, saved.machine)
    if ours["machine"] == saved.machine or (row and ours["machine"] == row.type):  # that name stands for the latest
        ours["machine"] = theirs["machine"]
    keys = [key for key in {**theirs, **ours} if _matters(key)]
    return [
        f"{key}: {_word(theirs, key)} when it was saved, {_word(ours, key)} here"
        for key in keys
        if theirs.get(key) != ours.get(key)
    ]


def _leaves(value: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    match value:
        case Mapping():
            for key, item in value.items():
                yield from _leaves(item, f"{path}.{key}" if path else key)
        case list():
            yield f"{path}.length", len(value)
            for index, item in enumerate(value):
                yield from _leaves(item, f"{path}[{index}]")
        case _:
            yield path, value


def _matters(path: str) -> bool:
    names = path.replace("[", ".").split(".")
    return names[0] not in _FREE and not _FREE_IN_DEVICES & set(names[1:])


def _word(leaves: Mapping[str, Json], path: str) -> str:
    return json.dumps(leaves[path]) if path in leaves else "nothing"
