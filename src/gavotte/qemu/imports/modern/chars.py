"""Character devices: `-serial`, `-parallel`, `-monitor`, `-qmp`, `-debugcon` and their one-word backends."""

from __future__ import annotations

import re
from typing import Any, Final

from gavotte.qemu.imports.modern.draft import Draft, Place
from gavotte.qemu.imports.options import Option
from gavotte.qemu.imports.syntax import Unreadable, last_ones, parse_opts

__all__ = ["read_backend", "rewrite_chars"]

_DRIVERS: Final = {"serial": "isa-serial", "parallel": "isa-parallel", "debugcon": "isa-debugcon"}
_PLAIN: Final = ("braille", "msmouse", "null", "pty", "stdio", "vc", "wctablet")


def rewrite_chars(draft: Draft) -> None:
    """The backends keep the names that QEMU gave them: serial0, parallel0, compat_monitor0, debugcon."""
    for name in ("serial", "parallel", "debugcon"):
        for number, option in enumerate(_used(draft, name)):
            _port(draft, option, name if name == "debugcon" else f"{name}{number}")
    for number, option in enumerate(_used(draft, "monitor", "qmp", "qmp-pretty")):
        _monitor(draft, option, f"compat_monitor{number}")


def _used(draft: Draft, *names: str) -> list[Option]:
    """The options that make something. `none` means that there shall be nothing by default."""
    used = []
    for option in draft.take(*names):
        if option.value != "none" and not (option.name == "monitor" and (option.value or "").startswith("none")):
            used.append(option)
        elif draft.has_defaults():
            draft.keep(option, "it keeps QEMU from adding one by itself; with nodefaults it can go")
        else:
            draft.changed(option, "gone", "with nodefaults there is none anyway")
    return used


def _port(draft: Draft, option: Option, label: str) -> None:
    text = option.value or ""
    try:
        chardev = _backend(draft, text.removeprefix("mon:"), label, mux=text.startswith("mon:"))
    except Unreadable as e:
        draft.keep(option, str(e))
        return
    if text.startswith("mon:"):
        draft.add("monitors", {"chardev": chardev, "mode": "readline"})
    if draft.pc():
        place: Place = "late" if option.name == "debugcon" else "board"
        device = {"driver": _DRIVERS[option.name], "chardev": chardev}
        draft.devices[place].append({**device, "id": "debugcon"} if option.name == "debugcon" else device)
        draft.changed(option, f"chardevs and a device {device['driver']}", "the guest sees the same port")
        return
    word = f"chardev:{chardev}"
    draft.options.append(Option(option.name, word, (f"-{option.name}", word)))
    draft.changed(option, f"chardevs and -{option.name} {word}", "the port is the board's own, which has no other name")


def _monitor(draft: Draft, option: Option, label: str) -> None:
    try:
        chardev = _backend(draft, option.value or "", label, mux=False)
    except Unreadable as e:
        draft.keep(option, str(e))
        return
    monitor = {"chardev": chardev, "mode": "readline" if option.name == "monitor" else "control"}
    if option.name == "qmp-pretty":
        monitor["pretty"] = "on"
    draft.add("monitors", monitor)
    draft.changed(option, "chardevs and monitors", "these are its two halves")


def _backend(draft: Draft, text: str, label: str, *, mux: bool) -> str:
    """Adds the backend and gives its id. Raises Unreadable for what isn't known here."""
    if text.startswith("chardev:"):
        return text.removeprefix("chardev:")
    props = read_backend(text)
    backend = props.pop("backend")
    draft.add("chardevs", {"backend": backend, "id": label, **props, **({"mux": "on"} if mux else {})})
    return label


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
    raise Unreadable("its backend has no form here that is surely the same")
