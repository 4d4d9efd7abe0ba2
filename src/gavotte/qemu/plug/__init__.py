"""One recipe, told to QEMU at its start or while it runs, and taken back.

Knows: QEMU's options, and the QMP commands that add and remove the same things.
Doesn't know: what the things are for.
"""

from __future__ import annotations

from gavotte.qemu.plug.cold import cold
from gavotte.qemu.plug.hot import plug, unplug
from gavotte.qemu.plug.presence import has_step
from gavotte.qemu.plug.removal import remove_device

__all__ = ["cold", "has_step", "plug", "remove_device", "unplug"]
