"""Byte streams: named ports and consoles, on the bus of a virtio-serial controller."""

from __future__ import annotations

from gavotte.hypervisor.devices import Console, Port
from gavotte.hypervisor.qemu.plan.wire import Wire
from gavotte.qemu.props import PropertyMap, Recipe, Step

__all__ = ["plan_serial"]


def plan_serial(device: Port | Console, place: PropertyMap, wire: Wire) -> Recipe:
    """The chardev that `wire` says, and the port on it."""
    named = {"name": device.name} if isinstance(device, Port) else {}
    driver = "virtserialport" if isinstance(device, Port) else "virtconsole"
    return (
        Step("chardev", {**wire.props, "id": device.id}, wire.fds),
        Step("device", {"driver": driver, "id": device.id, **place, "chardev": device.id, **named}),
    )
