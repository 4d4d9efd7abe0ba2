"""The schemas of real binaries, each learnt once for all tests of a process."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path

from gavotte.qemu.binary import find_qemu
from gavotte.qemu.schema import Schema, learn_schema

__all__ = ["schema_for"]


@cache
def schema_for(qemu: Path | None = None) -> Schema:
    """Gives the schema of the binary at `qemu`, of the installed one for None; learnt afresh, not from a cache."""
    return asyncio.run(learn_schema(find_qemu(path=os.fspath(qemu) if qemu else None)))
