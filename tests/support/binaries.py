"""The QEMU binaries that tests compare: the one on PATH, and a newer one beside it where somebody put it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["BINARIES", "QEMU10", "newer_qemu"]

_UNPACKED = Path(__file__).parents[2] / ".qemu10/usr/bin/qemu-system-x86_64"


def newer_qemu() -> Path | None:
    """QEMU 10 where the variable GAVOTTE_QEMU10 says, else where `make setup-qemu10` unpacks it; None if not there."""
    path = Path(os.environ.get("GAVOTTE_QEMU10") or _UNPACKED)
    return path if path.is_file() else None


QEMU10 = newer_qemu()

# For `parametrize("qemu", BINARIES)`: None is the binary that `find_qemu` finds.
BINARIES = [
    pytest.param(None, id="installed"),
    pytest.param(
        QEMU10,
        id="qemu10",
        marks=pytest.mark.skipif(QEMU10 is None, reason="QEMU 10 isn't unpacked beside: make setup-qemu10"),
    ),
]
