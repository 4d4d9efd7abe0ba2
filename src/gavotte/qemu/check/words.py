"""What a machine file's `options` may define: words that are passed as they are, so their ids are looked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, get_args

from gavotte.qemu.check.inspection import Inspection, shown
from gavotte.qemu.check.names import Names, Space
from gavotte.qemu.check.rules import WORDS
from gavotte.qemu.props import Json

__all__ = ["check_words", "open_names", "options_of"]

# The options that define something, and where. What is made by a short form has an id that QEMU picks.
_DEFINES: Final[dict[str, tuple[Space, ...]]] = {
    "audiodev": ("audiodev",),
    "blockdev": ("block",),
    "cdrom": ("block",),
    "chardev": ("chardev",),
    "device": ("device",),
    "drive": ("block",),
    "fda": ("block",),
    "fdb": ("block",),
    "fsdev": ("fsdev",),
    "hda": ("block",),
    "hdb": ("block",),
    "hdc": ("block",),
    "hdd": ("block",),
    "mon": ("chardev",),
    "monitor": ("chardev",),
    "mtdblock": ("block",),
    "net": ("netdev",),
    "netdev": ("netdev",),
    "nic": ("netdev",),
    "object": ("object",),
    "parallel": ("chardev",),
    "pflash": ("block",),
    "qmp": ("chardev",),
    "qmp-pretty": ("chardev",),
    "sd": ("block",),
    "serial": ("chardev",),
    "tpmdev": ("tpmdev",),
    "virtfs": ("fsdev",),
}

# Those that may name a chardev, as `chardev:ID` (serial_parse and others in QEMU's system/vl.c).
_OF_CHARDEV: Final = frozenset({"debugcon", "monitor", "parallel", "qmp", "qmp-pretty", "serial"})

_ANYTHING: Final = frozenset({"readconfig", "set"})

_ID = re.compile(r"""(?:^|,)(?:id|node-name)=([^,]*)|"(?:id|node-name)"\s*:\s*"([^"\\]*)\"""")


def open_names(options: Json, names: Names) -> None:
    """Adds the ids that these words define and refer to.

    Where a word may define more than can be seen, its space is opened.
    """
    for index, (option, value) in enumerate(options_of(options)):
        if option in _OF_CHARDEV and value.startswith("chardev:"):
            names.refer("chardev", value.removeprefix("chardev:"), f"options[{index}]")
            continue
        spaces = _DEFINES.get(option, ())
        if option in _ANYTHING:
            names.open.update(get_args(Space))
        found = [first or second for first, second in _ID.findall(value)]
        for space in spaces:
            for name in found:
                names.defined.setdefault((space, name), "options")
            if not found:
                names.open.add(space)


def check_words(options: Json, inspection: Inspection) -> None:
    """Reports words that their option can't take, of the options that are known."""
    for index, (option, value) in enumerate(options_of(options)):
        form = WORDS.get(option)
        if form and not re.fullmatch(form[0], value, re.DOTALL):
            inspection.report(f"options[{index}]", f"-{option} wants {form[1]} not {shown(value)}")


def options_of(options: Json) -> Iterator[tuple[str, str]]:
    """Gives each option, without its dashes, with its value."""
    for words in options if isinstance(options, list | tuple) else ():
        if isinstance(words, list | tuple) and words and all(isinstance(word, str) for word in words):
            option, *values = (str(word) for word in words)
            yield option.lstrip("-"), values[0] if values else ""
