"""What has to be said of a device once it is there, since no property says it beforehand."""

from __future__ import annotations

from typing import TypeAlias

from gavotte.hypervisor.devices import Balloon, Device, Watchdog
from gavotte.qemu.props import PropertyMap

__all__ = ["Tuning", "tune"]

Tuning: TypeAlias = tuple[tuple[str, PropertyMap], ...]
"""QMP commands with their arguments, to be sent in order."""


def tune(device: Device) -> Tuning:
    """The commands for a device that has just been plugged, or that a machine has started with."""
    match device:
        case Watchdog():  # there is one action for all
            return (("set-action", {"watchdog": device.action}),)
        case Balloon() if device.statistics:
            arguments: PropertyMap = {
                "path": f"/machine/peripheral/{device.id}",
                "property": "guest-stats-polling-interval",
                "value": device.statistics,
            }
            return (("qom-set", arguments),)
    return ()
