"""What another process needs to know of a kept sandbox, beside what its machine's own record says."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from gavotte.errors import HostError, NoSuchSandbox, StateTooNew
from gavotte.sandbox.spec import Spec
from gavotte.values import dataclass

__all__ = ["Kept"]

_FILE = "sandbox.json"
_VERSION = 1
_PATHS = ("kernel", "initrd")


@dataclass(frozen=True)
class Kept:
    """A sandbox's request, what became of it, and the token by which its agent knows a new listener.

    `template` is the key of the one that it is a copy of, else `cold_reason` says why it booted.
    """

    spec: Spec
    accel: str
    accel_reason: str
    root_size: int
    token: str
    template: str
    cold_reason: str

    def write(self, directory: Path) -> None:
        """Put it into the sandbox's directory. Raises HostError."""
        spec = {field.name: getattr(self.spec, field.name) for field in fields(Spec) if field.name != "devices"}
        spec |= {name: os.fspath(spec[name]) for name in _PATHS if spec[name] is not None}
        value = {"version": _VERSION, **vars(self), "spec": spec}
        draft = directory / f"{_FILE}.new"
        try:
            draft.write_text(json.dumps(value))
            draft.replace(directory / _FILE)
        except OSError as error:
            raise HostError(f"can't write {draft}: {error.strerror}", hint="is the disk full?") from error

    @classmethod
    def read(cls, directory: Path) -> Self:
        """What is in the sandbox's directory. Raises NoSuchSandbox, HostError for a damaged one, StateTooNew."""
        path = directory / _FILE
        try:
            value = {"template": "", "cold_reason": "", **json.loads(path.read_bytes())}  # not in all of version 1
            if value["version"] > _VERSION:
                raise StateTooNew(str(path), value["version"], _VERSION)
            rest = {field.name: value[field.name] for field in fields(cls) if field.name != "spec"}
            return cls(spec=_spec(value["spec"]), **rest)
        except FileNotFoundError:
            raise NoSuchSandbox(directory.name) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HostError(f"{path} is damaged: {error}", hint=f"gavotte rm --force {directory.name}") from error


def _spec(value: dict[str, Any]) -> Spec:
    """The request; the machine's own record knows its devices."""
    paths = {name: Path(value[name]) for name in _PATHS if value[name] is not None}
    return Spec(**{"cold": False, **value, **paths, "devices": ()})
