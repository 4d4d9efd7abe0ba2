"""`-set`, options that stand for one device, and what stayed words only because of other options."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from gavotte.qemu.imports.lossless import GROUPS
from gavotte.qemu.imports.maps import READABLE, print_map, read_map
from gavotte.qemu.imports.modern.draft import Draft
from gavotte.qemu.imports.options import Option
from gavotte.qemu.imports.syntax import Unreadable, last_ones, parse_opts
from gavotte.qemu.sections import SECTIONS

__all__ = ["rewrite_devices", "rewrite_rest", "rewrite_sets"]

_FSDEV_KEYS: Final = ("writeout", "path", "security_model", "socket", "sock_fd", "readonly", "multidevs")
_TOGETHER = "its kind comes together; a map of it comes after all that are words"


def rewrite_sets(draft: Draft) -> None:
    """`-set group.id.key=value` is the same as `,key=value` at the end of that option.

    Raises Unreadable, with the draft half done, if one can't be placed.
    """
    for option in draft.take("set"):
        found = re.fullmatch(r"([^.]+)\.([^.]+)\.([^=]+)=(.*)", option.value or "", re.DOTALL)
        target = _target(draft, GROUPS.get(found[1], found[1]), found[2]) if found else None
        if not found or target is None:
            raise Unreadable(f"nothing before -set {option.value} has this id; write the property where it belongs")
        old = draft.options[target]
        text = f"{old.value},{found[3]}={found[4].replace(',', ',,')}"
        draft.options[target] = Option(old.name, text, (old.words[0], text))
        draft.changed(option, f"a key of {old.words[0]}", "it is put where it belongs")


def _target(draft: Draft, name: str, wanted: str) -> int | None:
    for index, option in enumerate(draft.options):
        if option.name == name:
            try:
                if last_ones(parse_opts(option.value or "", None)).get("id") == wanted:
                    return index
            except Unreadable:
                continue
    return None


def rewrite_devices(draft: Draft) -> None:
    """The options that add to the list of keyval devices, each in its place. Raises Unreadable if one can't."""
    for option in draft.take("balloon", "device", "virtfs", "watchdog"):
        try:
            entries = _DEVICES[option.name](option.value or "")
            for section, props in entries:
                print_map(SECTIONS[section].option, props)
        except Unreadable as e:
            raise Unreadable(f"{' '.join(option.words)} can't be read as a map: {e}") from e
        for section, props in entries:
            if section == "devices":
                draft.devices["ordered"].append(props)
            else:
                draft.add(section, props)
        after = " and ".join(f"{section} {props.get('driver', props.get('id', ''))}" for section, props in entries)
        draft.changed(option, after or "gone", "as a map it keeps its place among the devices")


def _balloon(text: str) -> list[tuple[str, dict[str, Any]]]:
    kind, _, rest = text.partition(",")
    if kind == "none":
        return []
    return [("devices", read_map("device", f"virtio-balloon-pci,{rest}"))]


def _virtfs(text: str) -> list[tuple[str, dict[str, Any]]]:
    """As `QEMU_OPTION_virtfs` in vl.c takes it apart."""
    props = last_ones(parse_opts(text, "fsdriver"))
    tag = props.get("mount_tag")
    if tag is None or "fsdriver" not in props:
        raise Unreadable("it has no mount_tag")
    name = props.get("id", tag)
    kept: dict[str, Any] = {key: props[key] for key in _FSDEV_KEYS if key in props}
    return [
        ("fsdevs", {"fsdriver": props["fsdriver"], "id": name, **kept}),
        ("devices", {"driver": "virtio-9p-pci", "fsdev": name, "mount_tag": tag}),
    ]


_DEVICES: Final[dict[str, Callable[[str], list[tuple[str, dict[str, Any]]]]]] = {
    "balloon": _balloon,
    "device": lambda text: [("devices", read_map("device", text))],
    "virtfs": _virtfs,
    "watchdog": lambda text: [("devices", {"driver": text})],
}


def rewrite_rest(draft: Draft) -> None:
    """What can be a map after all, now that what it depended on is one too."""
    for section in SECTIONS.values():
        if section.option not in READABLE or section.shape != "maps":
            continue
        options = draft.take(section.option)
        try:
            maps = [read_map(option.name, option.value or "") for option in options]
        except Unreadable:
            for option in options:
                draft.keep(option, _TOGETHER)
            continue
        for option, props in zip(options, maps, strict=True):
            draft.add(section.name, props)
            draft.changed(option, section.name, "nothing that is left depends on its being a word")
