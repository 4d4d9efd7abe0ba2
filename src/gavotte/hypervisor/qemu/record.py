"""What a kept machine's directory says about it, so that another process can take over: the file `state.json`."""

from __future__ import annotations

import json
import os
from dataclasses import field
from errno import ENOSPC
from pathlib import Path
from typing import Any, Final, Literal, cast

from gavotte.errors import HostError, StateError, StateTooNew, UsageError
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.durable import put_in_place
from gavotte.hypervisor.serialization import from_json, to_json
from gavotte.qemu.pids import ProcessId, boot_id
from gavotte.qemu.props import Recipe
from gavotte.text import size_text
from gavotte.values import dataclass

__all__ = [
    "STATE",
    "VERSION",
    "Pending",
    "Record",
    "Running",
    "read_record",
    "write_record",
]

STATE: Final = "state.json"
VERSION: Final = 1

_MAX_FILE = 16 << 20  # bytes; a machine has some kilobytes

_BEYOND_HELP = "nobody can take this machine over; `gavotte rm` ends it and removes what it left"


@dataclass(frozen=True)
class Running:
    """A process of the machine's: QEMU under the id "qemu", or what serves the device `id`."""

    id: str
    program: str
    pid: int
    started: int

    @property
    def process(self) -> ProcessId:
        return ProcessId(self.pid, self.started)


@dataclass(frozen=True)
class Pending:
    """A change that is being made: `recipe` is added or taken away, and then `table` is right."""

    change: Literal["plug", "unplug"]
    id: str
    recipe: Recipe
    table: Table


@dataclass(frozen=True)
class Record:
    """All that another process has to know. `boot` tells this start of the host from others.

    `qemu` is None before QEMU was started. `saving` tells of a guest that runs and is being saved: it may stand still
    for that, and is to go on.
    """

    binary: Path
    identity: str
    config: MachineConfig
    table: Table
    qemu: Running | None = None
    helpers: tuple[Running, ...] = ()
    pending: Pending | None = None
    saving: bool = False
    boot: str = field(default_factory=boot_id)

    @property
    def processes(self) -> tuple[Running, ...]:
        """All processes that the record names."""
        return (*((self.qemu,) if self.qemu else ()), *self.helpers)


def write_record(record: Record, directory: Path) -> None:
    """Put `state.json` into place, whole or not at all, and on disk when this returns. Raises HostError."""
    text = json.dumps({"version": VERSION, **_as_mapping(to_json(record, Record))}, separators=(",", ":"))
    draft = directory / f"{STATE}.new"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
            file.flush()
            put_in_place(fd, draft, directory / STATE)
    except OSError as error:
        hint = "make room there" if error.errno == ENOSPC else ""
        raise HostError(f"can't write {directory / STATE}: {error.strerror}", hint=hint) from error


def read_record(directory: Path) -> Record:
    """What `write_record` wrote there.

    Raises StateError when there is nothing; UsageError, with the path of the culprit, for what isn't a record;
    StateTooNew for one of a later version.
    """
    members = _as_mapping(_load(directory / STATE))
    version = members.pop("version", None)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UsageError(f"{version!r} is not a version", path=f"{STATE}: version", hint=_BEYOND_HELP)
    if version > VERSION:
        raise StateTooNew(str(directory / STATE), version, VERSION)
    try:
        record = cast("Record", from_json(members, Record, ""))
        if record.pending and record.pending.change == "plug" and record.pending.id not in record.pending.table.placed:
            raise UsageError(f"{record.pending.id!r} is not in its table", path="pending.id")
        return record
    except UsageError as error:
        path = f"{STATE}: {error.path.lstrip('.')}"
        raise UsageError(error.problem, path=path, hint=error.hint or _BEYOND_HELP) from error


def _load(path: Path) -> object:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        raise StateError(
            f"{path.parent} holds no kept machine", hint="only one that was started with keep=True can be taken over"
        ) from None
    except OSError as error:
        raise HostError(f"can't read {path}: {error.strerror}") from error
    if len(data) > _MAX_FILE:
        raise UsageError(f"more than {size_text(_MAX_FILE)}", path=STATE, hint=_BEYOND_HELP)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"it is damaged: {error}", path=STATE, hint=_BEYOND_HELP) from error


def _as_mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError("it is damaged: not a mapping", path=STATE, hint=_BEYOND_HELP)
    return value
