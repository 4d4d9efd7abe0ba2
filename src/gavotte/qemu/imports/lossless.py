"""From a command line to a machine file that makes the same VM.

What is a map already becomes one. The rest stays as it was written, in order, in the section `options`, which is
printed last. So an option may only leave its place when nothing else depends on it, and these keep theirs, as words:

- Of one kind all or none become maps: among themselves their order counts. QEMU makes JSON devices behind all keyval
  ones, and modern network backends before all others, wherever they stand; in their sections they are in that order.
- Keyval `-device`s, when another option adds devices of its own to them (`-drive if=virtio`, `-virtfs`, `-debugcon`).
  QEMU makes keyval devices first, in order, with the added ones among or behind them, and JSON ones after all of those
  (`qemu_create_cli_devices` in vl.c): as maps they would get other addresses. Which interface a drive without `if=`
  has is the machine's affair; on the PCs of x86 it isn't virtio.
- What `-set` names: it finds keyval options only, and only those before it. With `-readconfig`, all that a
  configuration file could add to: its place among them counts.
- Options that write the same thing, of which the last counts: `-no-acpi` and `-machine acpi=on`, `-nographic` and
  `-display`, `-no-reboot` and `-action`; and a kind that is given twice where QEMU doesn't merge them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gavotte.errors import UsageError
from gavotte.qemu.imports.launchers import is_qemu
from gavotte.qemu.imports.maps import MERGED, READABLE, is_json, is_modern_netdev, read_map
from gavotte.qemu.imports.options import DISK_IMAGE, FLAGS, VALUED, Option, check_passable, split_argv, words
from gavotte.qemu.imports.syntax import Unreadable, last_ones, merge, parse_opts
from gavotte.qemu.props import Json
from gavotte.qemu.sections import SECTIONS, Section

__all__ = ["GROUPS", "adds_devices", "import_argv", "is_pc"]

_SECTION_OF: Final[dict[str, Section]] = {section.option: section for section in SECTIONS.values() if section.option}

GROUPS: Final = {"acpi": "acpitable", "memory": "m"}
"""The names that `-set` and configuration files have for options, where they differ."""

# Not QemuOpts: no configuration file adds to them.
_BEYOND_READCONFIG = words(
    """
    D S audio audiodev blockdev chroot compat cpu d daemonize dfilter display g gdb incoming k loadvm mem-path
    mem-prealloc no-user-config nodefaults only-migratable pidfile preconfig runas seed semihosting snapshot uuid vga
    """
)

_ADDS_DEVICES = words("balloon debugcon readconfig virtfs virtioconsole watchdog")
_DRIVES = frozenset({"hda", "hdb", "hdc", "hdd", "cdrom", DISK_IMAGE})

# Which of the machine's properties other options set (`machine_opts_dict` in vl.c).
_MACHINE_KEYS: Final = {
    "append": "append",
    "bios": "firmware",
    "boot": "boot",
    "dtb": "dtb",
    "dumpdtb": "dumpdtb",
    "enable-kvm": "accel",
    "initrd": "initrd",
    "kernel": "kernel",
    "m": "memory",
    "no-acpi": "acpi",
    "no-hpet": "hpet",
    "nographic": "graphics",
    "shim": "shim",
    "smp": "smp",
    "usb": "usb",
    "usbdevice": "usb",
}

# Each first one is overridden by any of the others, or overrides them.
_RIVALS: Final = (
    ("display", frozenset({"nographic", "full-screen", "curses", "sdl", "no-frame", "no-quit"})),
    ("action", frozenset({"no-reboot", "no-shutdown", "watchdog-action"})),
    ("audiodev", frozenset({"audio", "soundhw"})),
    ("semihosting-config", frozenset({"semihosting"})),
    ("gdb", frozenset({"s"})),
)


def import_argv(argv: Sequence[str]) -> dict[str, Json]:
    """Gives the machine file of a command line, whose first word is the binary. All scalars are strings.

    `document_to_argv` makes of it a command line with the same meaning: the same devices with the same properties at
    the same addresses. Importing that gives the same machine file.

    Raises UsageError for what isn't the command line of a QEMU system emulator, and for one that is cut off.
    """
    binary = _binary(argv)
    options = [_canonical(option) for option in split_argv(argv[1:])]
    return {"qemu": binary, **_Import(binary, options).document()}


def _binary(argv: Sequence[str]) -> str:
    hint = "gavotte qemu import -- qemu-system-x86_64 ARGS…"
    if not argv or not argv[0]:
        raise UsageError("there is no command line", path="argv", hint=hint)
    word, name = argv[0], argv[0].rpartition("/")[2]
    check_passable(word, "argv[0]")
    if word.startswith("-"):
        raise UsageError(f"{word!r} is an option, where QEMU's name is wanted", path="argv[0]", hint=hint)
    if is_qemu(word):
        return word
    if re.match("qemu-(img|io|nbd|ga|storage-daemon|pr-helper|bridge-helper)", name):
        raise UsageError(f"{name} is a tool of QEMU and runs no machine", path="argv[0]", hint=hint)
    if "qemu" in name or ("=" not in word and _all_known(argv[1:])):
        return word
    raise UsageError(f"{word!r} doesn't look like a QEMU system emulator", path="argv[0]", hint=hint)


def _all_known(words: Sequence[str]) -> bool:
    """Whether all options are QEMU's, and one is not of those single letters that many programs have.

    None is, where a bare word names QEMU itself: what comes before it is a program that starts it, such as timeout.
    """
    try:
        options = split_argv(words)
    except UsageError:
        return False
    if any(is_qemu(option.value or "") for option in options if option.name == DISK_IMAGE):
        return False
    names = {option.name for option in options} - {DISK_IMAGE}
    return names <= FLAGS | VALUED and any(len(name) > 1 for name in names)


def _canonical(option: Option) -> Option:
    return Option("machine", option.value, option.words) if option.name == "M" else option


def _texts(options: Sequence[Option], name: str) -> list[str]:
    return [option.value or "" for option in options if option.name == name]


def is_pc(binary: str, machine: str | None) -> bool:
    """Tells whether it is surely one of x86's PCs, whose drives are IDE by default."""
    if machine is not None:
        return bool(re.fullmatch("pc|q35|isapc|pc-.*", machine))
    return bool(re.fullmatch(r"(.*/)?(qemu-system-(x86_64|i386)[^/]*|kvm|qemu-kvm|qemu)", binary, re.DOTALL))


def adds_devices(option: Option, *, default_is_ide: bool) -> bool:
    """Tells whether QEMU puts a device for this option among the keyval devices, or may do so."""
    if option.name == "drive":
        interface = _interface(option.value or "")
        return interface == "virtio" or (interface is None and not default_is_ide)
    return option.name in _ADDS_DEVICES or (option.name in _DRIVES and not default_is_ide)


class _Import:
    """One command line on its way: which options have a map, and which of them may use it."""

    def __init__(self, binary: str, options: Sequence[Option]) -> None:
        self.binary = binary
        self.options = options
        self.maps: dict[int, dict[str, Any]] = {}
        self.kept: set[int] = set()
        for index, option in enumerate(options):
            section = _SECTION_OF.get(option.name)
            if section is None or (section.shape in ("map", "maps") and option.name not in READABLE):
                self.kept.add(index)
            elif section.shape in ("map", "maps"):
                try:
                    self.maps[index] = read_map(option.name, option.value or "")
                except Unreadable:
                    self.kept.add(index)

    def document(self) -> dict[str, Json]:
        self._keep_touched()
        self._keep_rivals()
        self._keep_kinds_together()
        found: dict[str, Any] = {}
        for index, option in sorted(enumerate(self.options), key=self._comes_later):
            if index not in self.kept:
                self._add(found, _SECTION_OF[option.name], index)
        if self.kept:
            found["options"] = [list(self.options[index].words) for index in sorted(self.kept)]
        return {name: found[name] for name in SECTIONS if name in found}

    def _comes_later(self, item: tuple[int, Option]) -> bool:
        """QEMU makes modern network backends before all others, and JSON devices behind all others."""
        _, option = item
        if option.name == "device":
            return is_json("device", option.value or "")
        return option.name == "netdev" and not is_modern_netdev(option.value or "")

    def _add(self, found: dict[str, Any], section: Section, index: int) -> None:
        match section.shape:
            case "flag":
                found[section.name] = True
            case "word":
                found[section.name] = self.options[index].value
            case "maps":
                found.setdefault(section.name, []).append(self.maps[index])
            case _:
                found[section.name] = merge(found.get(section.name, {}), self.maps[index])

    # --- what stays ---------------------------------------------------------------------------------------------------

    def _keep(self, name: str) -> None:
        """Keeps the options of this name that aren't JSON, which nothing but their own kind touches."""
        for index, option in enumerate(self.options):
            if option.name == name and not is_json(name, option.value or ""):
                self.kept.add(index)

    def _keep_touched(self) -> None:
        for text in _texts(self.options, "set"):
            group = text.partition(".")[0]
            self._keep(GROUPS.get(group, group))
        if _texts(self.options, "readconfig"):
            for name in _SECTION_OF.keys() - _BEYOND_READCONFIG:
                self._keep(name)
        machines = [props for index, props in self.maps.items() if self.options[index].name == "machine"]
        types = [props["type"] for props in machines if "type" in props]
        is_ide = is_pc(self.binary, types[-1] if types else None)
        if any(adds_devices(option, default_is_ide=is_ide) for option in self.options):
            self._keep("device")

    def _keep_rivals(self) -> None:
        names = {option.name for option in self.options}
        for name, others in _RIVALS:
            if name in names and others & names:
                for one in (name, *others):
                    self._keep(one)
        machine = [props for index, props in self.maps.items() if self.options[index].name == "machine"]
        keys = {key.replace("_", "-") for props in machine for key in props}
        for name in names:
            if _MACHINE_KEYS.get(name) in keys:
                self._keep("machine")
                self._keep(name)

    def _keep_kinds_together(self) -> None:
        for name, members in self._kinds():
            shape = _SECTION_OF[name].shape
            alone = shape in ("maps", "flag") or len(members) == 1 or (name in MERGED and self._mergeable(members))
            if not alone or not self.kept.isdisjoint(members):
                self.kept.update(members)

    def _kinds(self) -> Iterator[tuple[str, list[int]]]:
        """Options whose order among themselves counts. JSON devices are made after the others, so they are a kind."""
        kinds: dict[tuple[str, bool], list[int]] = {}
        for index, option in enumerate(self.options):
            if option.name in _SECTION_OF:
                json_device = option.name == "device" and is_json("device", option.value or "")
                kinds.setdefault((option.name, json_device), []).append(index)
        return ((name, members) for (name, _), members in kinds.items())

    def _mergeable(self, members: Sequence[int]) -> bool:
        merged: Mapping[str, Any] = {}
        try:
            for index in members:
                merged = merge(dict(merged), self.maps.get(index, {}))
        except Unreadable:
            return False
        return True


def _interface(drive: str) -> str | None:
    """The `if=` of a `-drive`."""
    try:
        return last_ones(parse_opts(drive, None)).get("if")
    except Unreadable:
        return None
