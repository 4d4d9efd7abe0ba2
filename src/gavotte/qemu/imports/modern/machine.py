"""Options that set properties of the machine, of its processors, and how it is shown."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any, Final

from gavotte.qemu.imports.maps import print_map, read_map
from gavotte.qemu.imports.modern.draft import Draft
from gavotte.qemu.imports.options import Option
from gavotte.qemu.imports.syntax import Unreadable, merge

__all__ = ["rewrite_machine"]

_PROPERTIES: Final = {
    "enable-kvm": ("accel", "kvm"),
    "no-acpi": ("acpi", "off"),
    "no-hpet": ("hpet", "off"),
    "usb": ("usb", "on"),
}

# None is the option's value.
_ACTIONS: Final[dict[str, dict[str, Any]]] = {
    "no-reboot": {"reboot": "shutdown"},
    "no-shutdown": {"shutdown": "pause"},
    "watchdog-action": {"watchdog": None},
}

_SHOWN: Final = {"curses": "curses", "sdl": "sdl"}


_USB: Final = {"tablet": "usb-tablet", "mouse": "usb-mouse", "keyboard": "usb-kbd", "wacom-tablet": "usb-wacom-tablet"}
_OFF: Final = frozenset({"off", "no", "false", "n"})


def rewrite_machine(draft: Draft, *, devices: bool = True) -> None:
    """All of these write into one map, of which the last word counts, so they are gone through in order.

    Without `devices`, what stands for a device stays.
    """
    _machine(draft, devices=devices)
    _display(draft)
    for option in draft.take("cpu"):
        _cpu(draft, option)
    _words(draft)


def _machine(draft: Draft, *, devices: bool) -> None:
    usb: list[Option] = []
    for option in draft.take(
        "machine", "M", "kernel", "initrd", "append", "dtb", "shim", "bios", "smp", "boot", "usbdevice", *_PROPERTIES
    ):
        if option.name == "usbdevice":
            draft.update("machine", {"usb": "on"})
            usb.append(option)
        elif option.name in _PROPERTIES:
            key, value = _PROPERTIES[option.name]
            _set(draft, option, key, value)
        elif option.name in ("machine", "M"):
            _merge(draft, option, "machine", "machine")
        elif option.name in ("smp", "boot"):
            _merge(draft, option, option.name, option.name)
        else:
            section = "firmware" if option.name == "bios" else option.name
            draft.update("machine", {})
            draft.sections["machine"].pop(section, None)
            draft.sections[section] = option.value
            draft.changed(option, section, "the last word on it counts")
    _usb(draft, usb, devices=devices)


def _usb(draft: Draft, options: list[Option], *, devices: bool) -> None:
    """QEMU makes the devices only where the last word on the machine's `usb` is on (`machine_usb` in vl.c)."""
    known = devices and draft.pc() is not None and all(option.value in _USB for option in options)
    for option in options:
        if draft.sections["machine"]["usb"] in _OFF:
            draft.changed(option, "gone", "usb=off comes later, so QEMU doesn't make the device")
        elif not known:
            draft.keep(option, "which device it means, or on which bus, isn't known here; -usb and -device say both")
        else:
            driver = _USB[option.value or ""]
            draft.devices["board"].append({"driver": driver})
            draft.changed(
                option, f"machine.usb=on and a device {driver}", "it is made before all other devices, as it was"
            )


def _set(draft: Draft, option: Option, key: str, value: str) -> None:
    if key == "accel" and ("accels" in draft.sections or draft.take("accel", remove=False)):
        draft.keep(option, "QEMU refuses it beside -accel; remove one of the two")
    else:
        draft.update("machine", {key: value})
        draft.changed(option, f"machine.{key}={value}", "the option is short for this property")


def _merge(draft: Draft, option: Option, section: str, name: str) -> None:
    try:
        draft.sections[section] = merge(draft.sections.get(section, {}), read_map(name, option.value or ""))
    except Unreadable as e:
        draft.keep(option, f"it can't be read as a map: {e}")
    else:
        draft.changed(option, section, "the last word on each key counts")


def _display(draft: Draft) -> None:
    """`-nographic` says three things: no window, a firmware that talks to the serial port, and stdio behind that."""
    for option in draft.take("display", "nographic", *_SHOWN):
        if option.name == "display":
            _merge(draft, option, "display", "display")
        elif option.name in _SHOWN:
            draft.sections["display"] = {"type": _SHOWN[option.name]}
            draft.changed(option, "display", "newer QEMUs know only this")
        else:
            draft.sections["display"] = {"type": "none"}
            draft.update("machine", {"graphics": "off"})
            added = _stdio_options(draft)
            draft.options = [*draft.options, *added]
            rest = "".join(f", {' '.join(one.words)}" for one in added)
            draft.changed(option, f"display, machine.graphics=off{rest}", "these are what it stands for")


def _stdio_options(draft: Draft) -> list[Option]:
    """What `-nographic` connects where nothing else was said (`qemu_create_default_devices` in vl.c)."""
    if not draft.has_defaults():
        return []
    drivers = {device.get("driver") for device in draft.all_devices()}
    drivers |= {re.split("[,=]", option.value or "")[0] for option in draft.take("device", remove=False)}
    serial = not draft.take("serial", remove=False) and "isa-serial" not in drivers
    parallel = not draft.take("parallel", remove=False) and "isa-parallel" not in drivers
    talks = [*draft.take("monitor", "qmp", "qmp-pretty", "mon", remove=False), *draft.sections.get("monitors", [])]
    mixed = any((one.value or "").startswith("mon:") for one in draft.take("serial", "parallel", remove=False))
    monitor = not talks and not mixed
    words = [("-parallel", "null")] if parallel else []
    if serial:
        words.append(("-serial", "mon:stdio" if monitor else "stdio"))
    elif monitor:
        words.append(("-monitor", "stdio"))
    return [Option(word[1:], value, (word, value)) for word, value in words]


def _cpu(draft: Draft, option: Option) -> None:
    """On x86, `x` and `+x` are `x=on`; signs are applied after all others (`x86_cpu_parse_featurestr` in cpu.c)."""
    binary = PurePath(draft.sections.get("qemu", "")).name
    model, *features = (option.value or "").split(",")
    written = [re.fullmatch(r"([+-]?)([^+=-][^=]*)(?:=(.*))?", feature) for feature in features]
    found = [(one[1], one[2].replace("_", "-"), one[3]) for one in written if one]
    names = {name for _, name, _ in found}
    if "model" in names:
        draft.keep(option, "it has a feature named 'model', which in a map is the name of the CPU, so it has to stay")
        return
    if (
        len(names) < len(features)
        or any(sign and value is not None for sign, _, value in found)
        or not re.fullmatch("qemu-system-(x86_64|i386).*|kvm|qemu-kvm|qemu", binary)
    ):
        why = "a feature is given twice, or its flags mean something only to its own processor"
        draft.keep(option, f"{why}; give each once, as NAME=on or NAME=off")
        return
    texts = {name: ("off" if sign == "-" else "on") if value is None else value for sign, name, value in found}
    try:
        print_map("cpu", {"model": model, **texts})
    except Unreadable as e:
        draft.keep(option, f"it has no form as a map: {e}")
        return
    draft.sections["cpu"] = {"model": model, **texts}
    draft.changed(option, "cpu", "a flag is a feature that is on or off")


def _words(draft: Draft) -> None:
    """Options that were given several times: the last counts."""
    for name in ("uuid", "vga", "incoming"):
        for option in draft.take(name):
            draft.sections[name] = option.value
            draft.changed(option, name, "the last counts")
    for option in draft.take("action", *_ACTIONS):
        try:
            words = _ACTIONS.get(option.name) or read_map("action", option.value or "")
            said = {key: option.value if value is None else value for key, value in words.items()}
            print_map("action", said)
        except Unreadable as e:
            draft.keep(option, f"it can't be read as a map: {e}")
            continue
        draft.update("action", said)
        draft.changed(option, "action", "it is one of its keys")
