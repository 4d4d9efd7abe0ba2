"""A machine file while it is rewritten."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Final, Literal

from gavotte.compat import override
from gavotte.qemu.imports.lossless import is_pc
from gavotte.qemu.imports.options import Option, split_argv
from gavotte.qemu.props import Json
from gavotte.qemu.sections import SECTIONS, Document

__all__ = ["Change", "Draft", "Pc", "Place"]

Pc = Literal["pc", "q35"]

Place = Literal["board", "ordered", "late"]
"""Where a device comes: with those of the board, before all; among the options that were devices; or behind those."""


@dataclass(frozen=True, slots=True)
class Change:
    """One option rewritten: `after` says what it became, and is empty for what stays as it was."""

    before: tuple[str, ...]
    after: str
    why: str

    @override
    def __str__(self) -> str:
        after = f"is now {self.after}" if self.after else "stays as it is"
        return f"{shlex.join(self.before)} {after}: {self.why}"


class Draft:
    """The sections, what is left of the options, and what was done.

    Devices that options stand for have places: QEMU makes the board's own, then what the command line gives as
    `key=value` (`ordered`), then what other options added to those (`late`), then the JSON ones, which are in the file.
    """

    def __init__(self, document: Document) -> None:
        self.sections: dict[str, Any] = {
            key: list(value)
            if isinstance(value, list | tuple)
            else dict(value)
            if isinstance(value, Mapping)
            else value
            for key, value in document.items()
            if key != "options"
        }
        lines: Any = document.get("options", [])
        self.options = split_argv([word for line in lines for word in line])
        self.changes: list[Change] = []
        self.devices: dict[Place, list[dict[str, Any]]] = {"board": [], "ordered": [], "late": []}

    # --- what there is ------------------------------------------------------------------------------------------------

    def take(self, *names: str, remove: bool = True) -> list[Option]:
        """Gives the options of these names, in order; they are then the caller's."""
        found = [option for option in self.options if option.name in names]
        if remove:
            self.options = [option for option in self.options if option.name not in names]
        return found

    def pc(self) -> Pc | None:
        """Which of x86's PCs it is, as far as that is sure: their default devices are known here."""
        kind = self.sections.get("machine", {}).get("type")
        if kind is None:
            return "pc" if is_pc(self.sections.get("qemu", ""), None) else None
        if re.fullmatch("q35|pc-q35-.*", kind):
            return "q35"
        return "pc" if re.fullmatch(r"pc|pc-i440fx-.*|pc-\d+\.\d+", kind) else None

    def default_interface(self) -> str:
        """The interface of a drive that names none (the machine's `block_default_type`); empty where it isn't known."""
        if self.pc():
            return "ide"
        if "s390x" in self.sections.get("qemu", "") or re.fullmatch("virt(-.*)?", self.machine_type()):
            return "virtio"
        return ""

    def machine_type(self) -> str:
        """The machine's type, empty for the binary's default."""
        kind: str = self.sections.get("machine", {}).get("type", "")
        return kind

    def all_devices(self) -> list[dict[str, Any]]:
        """The devices so far, in the order in which QEMU makes them."""
        places: Final[tuple[Place, ...]] = ("board", "ordered", "late")
        present: list[dict[str, Any]] = self.sections.get("devices", [])
        return [device for place in places for device in self.devices[place]] + present

    def has_defaults(self) -> bool:
        """Whether QEMU adds devices that nobody asked for."""
        return not self.sections.get("nodefaults")

    def id_for(self, wanted: str) -> str:
        """Gives `wanted`, or with a number behind it where that is taken."""
        taken = {
            entry.get(key)
            for entries in self.sections.values()
            if isinstance(entries, list)
            for entry in entries
            if isinstance(entry, Mapping)
            for key in ("id", "node-name")
        }
        taken |= {device.get("id") for device in self.all_devices()}
        return next(name for name in chain([wanted], (f"{wanted}-{n}" for n in count(2))) if name not in taken)

    # --- what is done -------------------------------------------------------------------------------------------------

    def add(self, section: str, entry: dict[str, Any]) -> None:
        """Adds to a section that is a list of maps."""
        self.sections.setdefault(section, []).append(entry)

    def update(self, section: str, entries: dict[str, Any]) -> None:
        """Adds to a section that is a map."""
        self.sections[section] = {**self.sections.get(section, {}), **entries}

    def changed(self, option: Option, after: str, why: str) -> None:
        self.changes.append(Change(option.words, after, why))

    def keep(self, option: Option, why: str) -> None:
        """Puts an option back, at the end."""
        self.options.append(option)
        self.changes.append(Change(option.words, "", why))

    def keep_all(self, why: str) -> None:
        """Names what nobody took."""
        known = {change.before for change in self.changes if not change.after}
        self.changes += [Change(option.words, "", why) for option in self.options if option.words not in known]

    def finished(self) -> dict[str, Json]:
        """Gives the machine file."""
        if devices := self.all_devices():
            self.sections["devices"] = devices
        if self.options:
            self.sections["options"] = [list(option.words) for option in self.options]
        order: Sequence[str] = ("qemu", "fds", *SECTIONS)
        return {name: self.sections[name] for name in order if name in self.sections}
