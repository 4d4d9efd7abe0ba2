"""Which device types a user may make at all; the others are parts of boards.

No query tells it, so `-device` itself is tried, in a process without a machine and on a bus that isn't there. QEMU
looks at the class before it looks for the bus (qdev_get_device_class in its system/qdev-monitor.c): when its refusal
names our bus, a user may make the class. A process tells it of one type, in 30 ms, so this is asked only of the types
that somebody names, and remembered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Sequence

from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema.probe import refusal

__all__ = ["learn_creatable"]

_NO_BUS = "gavotte-no-such-bus"
_AT_ONCE = 4  # processes
_EXAMPLES = 16  # types of no bus: most of them are parts of boards


async def learn_creatable(
    binary: QemuBinary, names: Sequence[str], *, sysbus: Collection[str], busless: Iterable[str]
) -> dict[str, bool | None]:
    """Gives whether a user may make each of these device types; None where it is the machine that decides, and no
    entry where QEMU didn't answer.

    A type of `sysbus` that may be made is refused here as well, since there is no machine that would take it. QEMU then
    says something else than of a part of a board, of which there is an example among `busless`.

    Raises HostError when no process can be started.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(name: str) -> str:
        async with turns:
            return await _refusal(binary, name)

    told = {name: text for name, text in zip(names, await asyncio.gather(*map(ask, names)), strict=True) if text}
    found: dict[str, bool | None] = {name: _NO_BUS in text for name, text in told.items()}
    if doubtful := [name for name in found if not found[name] and name in sysbus]:
        parts = {text for name, text in told.items() if not found[name] and name not in sysbus}
        parts |= await _words_for_parts(binary, busless) if not parts else set()
        found |= {name: False if told[name] in parts else None for name in doubtful}
    return found


async def _words_for_parts(binary: QemuBinary, busless: Iterable[str]) -> set[str]:
    for name, _ in zip(busless, range(_EXAMPLES), strict=False):
        text = await _refusal(binary, name)
        if text and _NO_BUS not in text:
            return {text}
    return set()


async def _refusal(binary: QemuBinary, name: str) -> str:
    """Gives QEMU's words, without those of ours that it repeats."""
    device = json.dumps({"driver": name, "bus": _NO_BUS})
    return (await refusal(binary, ["-device", device])).replace(device, "")
