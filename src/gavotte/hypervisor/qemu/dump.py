"""The memory of a guest that panicked, as an ELF file that crash and gdb read."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gavotte.errors import QemuError
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.text import rough_size

__all__ = ["dump_memory"]

_MARGIN = 64 << 20  # bytes: headers, video memory and firmware are dumped too, and a host needs some air
_FD = "gavotte-dump"


async def dump_memory(name: str, directory: Path, client: QmpClient) -> Path:
    """Write the guest's memory to a file of `directory` that only its owner may read, and give its path.

    QEMU gets a descriptor, so it needs no right to the path; the file has its name when it is complete. Raises OSError,
    also when there is no room for all of it, and QemuError when QEMU can't dump this machine.
    """
    size: Any = await client.execute("query-memory-size-summary", deadline=Deadline.QUICK)
    needed = size["base-memory"] + size.get("plugged-memory", 0) + _MARGIN
    disk = os.statvfs(directory)
    if disk.f_bavail * disk.f_frsize < needed:
        free = disk.f_bavail * disk.f_frsize
        raise OSError(f"{directory} has {rough_size(free)} free, and a dump of this guest takes {rough_size(needed)}")
    path = directory / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.elf"
    part = path.with_name(f"{path.name}.part")
    with ExitStack() as undo:
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        undo.callback(part.unlink, missing_ok=True)
        try:
            await client.execute("getfd", {"fdname": _FD}, fds=[number], deadline=Deadline.QUICK)
        finally:
            os.close(number)
        await _dump(client)
        part.rename(path)
        undo.pop_all()
    return path


async def _dump(client: QmpClient) -> None:
    """QEMU writes in a thread, so that it answers meanwhile. Raises QemuError."""
    with client.events("DUMP_COMPLETED") as completed:
        await client.execute(
            "dump-guest-memory", {"paging": False, "protocol": f"fd:{_FD}", "detach": True, "format": "elf"}
        )
        try:
            async with asyncio.timeout(Deadline.SLOW):
                event = await anext(completed)
        except TimeoutError:
            raise QemuError(f"the dump took longer than {Deadline.SLOW:g} s") from None
        except StopAsyncIteration:
            raise QemuError("QEMU ended during the dump") from None
    if "error" in event.data:
        raise QemuError(f"QEMU couldn't dump the memory: {event.data['error']}")
