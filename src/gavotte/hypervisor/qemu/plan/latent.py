"""Latent devices: what a template has where its clones have a disk, a share or a card of their own.

The stream of a machine's state names no back end, so another may be behind the same device. A `user` network couldn't:
its own state is in the stream; a hub's port has none.
"""

from __future__ import annotations

import zlib

from gavotte.hypervisor.devices import Latent
from gavotte.hypervisor.qemu.plan.names import check_length
from gavotte.hypervisor.qemu.plan.nic import default_mac
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import PropertyMap, Recipe, Step

__all__ = ["plan_latent"]

_LONGEST = 31  # bytes: of a block node's name, and of a mount tag


def plan_latent(latent: Latent, row: Machine, place: PropertyMap, *, machine: str = "") -> Recipe:
    """An empty back end and the device on it. `machine` is the machine's name, as for a card."""
    id = latent.id
    check_length("id", id, _LONGEST)
    match latent.kind:
        case "disk":
            back = Step("blockdev", {"driver": "null-co", "node-name": id, "size": 1 << 20, "read-zeroes": True})
            device: PropertyMap = {"driver": f"virtio-blk-{row.virtio}", "id": id, "drive": id}
        case "share":
            back = Step("fsdev", {"fsdriver": "synth", "id": id})
            device = {"driver": f"virtio-9p-{row.virtio}", "id": id, "fsdev": id, "mount_tag": id}
        case "nic":
            hub = zlib.crc32(id.encode()) & 0x7FFFFFFF  # one of its own
            back = Step("netdev", {"type": "hubport", "id": id, "hubid": hub})
            device = {"driver": f"virtio-net-{row.virtio}", "id": id, "netdev": id, "mac": default_mac(machine, id)}
    return (back, Step("device", {**device, **place}))
