"""Character devices: `-serial`, `-parallel`, `-monitor`, `-qmp`, `-debugcon` and their one-word backends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from gavotte.qemu.imports.maps import print_map
from gavotte.qemu.imports.modern.draft import Draft, Place
from gavotte.qemu.imports.options import Option
from gavotte.qemu.imports.syntax import Unreadable, last_ones, parse_opts

__all__ = ["read_backend", "rewrite_chars"]

_DRIVERS: Final = {"serial": "isa-serial", "parallel": "isa-parallel", "debugcon": "isa-debugcon"}
_PLAIN: Final = ("braille", "msmouse", "null", "pty", "stdio", "vc", "wctablet")


def rewrite_chars(draft: Draft) -> None:
    """The backends keep the names that QEMU gave them: serial0, parallel0, compat_monitor0, debugcon."""
    for name in ("serial", "parallel", "debugcon"):
        _all_or_none(draft, draft.take(name), _ports)
    _all_or_none(draft, draft.take("monitor", "qmp", "qmp-pretty"), _monitors)


def _all_or_none(draft: Draft, options: list[Option], rewrite: Callable[[Draft, list[Option]], None]) -> None:
    """They are numbered together, so all of a kind stay if one has to."""
    try:
        rewrite(draft, options)
    except Unreadable as e:
        for option in options:
            draft.keep(option, str(e))


def _is_none(option: Option) -> bool:
    return option.value == "none" or (option.name == "monitor" and (option.value or "").startswith("none"))


def _none(draft: Draft, option: Option) -> None:
    """It means that there shall be nothing by default."""
    if draft.has_defaults():
        draft.keep(option, "it keeps QEMU from adding one by itself; with -nodefaults it can go")
    else:
        draft.changed(option, "gone", "with nodefaults there is none anyway")


def _ports(draft: Draft, options: list[Option]) -> None:
    """A serial port that is none takes a number, a parallel port doesn't (`serial_parse`, `parallel_parse` in vl.c)."""
    ports = options if options and options[0].name == "serial" else [one for one in options if not _is_none(one)]
    numbers = {id(option): number for number, option in enumerate(ports)}
    names = {key: f"{options[0].name}{number}" for key, number in numbers.items()}
    found = [
        None if _is_none(one) else _read(draft, one, "debugcon" if one.name == "debugcon" else names[id(one)])
        for one in options
    ]
    skipped = False
    for option, chardev in zip(options, found, strict=True):
        if chardev is not None:
            _port(draft, option, chardev, index=numbers[id(option)] if skipped else None)
        elif draft.pc():
            skipped |= option.name == "serial"
            _none(draft, option)
        else:  # it holds its place among those that are words
            draft.keep(option, "the board's ports go by the order of these options")


def _port(draft: Draft, option: Option, chardev: dict[str, Any], *, index: int | None) -> None:
    name = _add(draft, chardev)
    if (option.value or "").startswith("mon:"):
        draft.add("monitors", {"chardev": name, "mode": "readline"})
    if draft.pc():
        place: Place = "late" if option.name == "debugcon" else "board"
        device = {"driver": _DRIVERS[option.name], "chardev": name}
        if option.name == "debugcon":
            device["id"] = "debugcon"
        if index is not None:
            device["index"] = str(index)
        draft.devices[place].append(device)
        draft.changed(option, f"chardevs and a device {device['driver']}", "the guest sees the same port")
        return
    word = f"chardev:{name}"
    draft.options.append(Option(option.name, word, (f"-{option.name}", word)))
    draft.changed(option, f"chardevs and -{option.name} {word}", "the port is the board's own, which has no other name")


def _monitors(draft: Draft, options: list[Option]) -> None:
    used = [option for option in options if not _is_none(option)]
    found = [_read(draft, option, f"compat_monitor{number}") for number, option in enumerate(used)]
    for option in options:
        if _is_none(option):
            _none(draft, option)
    for option, chardev in zip(used, found, strict=True):
        mode = "readline" if option.name == "monitor" else "control"
        pretty = {"pretty": "on"} if option.name == "qmp-pretty" else {}
        draft.add("monitors", {"chardev": _add(draft, chardev), "mode": mode, **pretty})
        draft.changed(option, "chardevs and monitors", "these are its two halves")


def _read(draft: Draft, option: Option, label: str) -> dict[str, Any]:
    """Gives the backend, or only its id where it is there already. Raises Unreadable for what isn't known here."""
    text = option.value or ""
    multiplexed = option.name in _DRIVERS and text.startswith("mon:")
    text = text.removeprefix("mon:") if multiplexed else text
    if text.startswith("chardev:"):
        return {"id": text.removeprefix("chardev:")}
    props = read_backend(text)
    chardev = {"backend": props.pop("backend"), "id": label, **props, **({"mux": "on"} if multiplexed else {})}
    print_map("chardev", chardev)
    if any(label == other.get("id") for other in draft.sections.get("chardevs", [])):
        raise Unreadable(f"there is another chardev {label}; give that another id")
    return chardev


def _add(draft: Draft, chardev: dict[str, Any]) -> str:
    if "backend" in chardev:
        draft.add("chardevs", chardev)
    return str(chardev["id"])


def read_backend(text: str) -> dict[str, Any]:
    """Gives the properties of a backend written in one word (`qemu_chr_parse_compat` in chardev/char.c).

    Raises Unreadable for what isn't known here.
    """
    kind, _, rest = text.partition(":")
    if text in _PLAIN:
        return {"backend": text}
    if text.startswith("/dev/"):
        return {"backend": "parallel" if text.startswith("/dev/parport") else "serial", "path": text}
    if kind in ("file", "pipe"):
        return {"backend": kind, "path": rest}
    if kind == "unix":
        return {"backend": "socket", **last_ones(parse_opts(rest, "path"))}
    if kind in ("tcp", "telnet", "tn3270", "websocket"):
        found = re.fullmatch(r"([^:,]{0,64}):([^,]{1,32})(?:,(.*))?", rest, re.DOTALL)
        if found:
            kind_key = {} if kind == "tcp" else {kind: "on"}
            address = {"host": found[1], "port": found[2]}
            return {"backend": "socket", **address, **kind_key, **last_ones(parse_opts(found[3] or "", None))}
    raise Unreadable("its backend has no form here that is surely the same; write a -chardev and chardev:ID")
