"""Network cards: the network that a card leads to, and the card."""

from __future__ import annotations

import hashlib
from typing import Final

from gavotte.hypervisor.devices import Nic, Passt, Stream, Tap, User
from gavotte.hypervisor.qemu.plan.wire import Wire
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import Json, PropertyMap, Recipe, Step

__all__ = ["default_mac", "plan_nic"]

# Not `stream`: while QEMU runs, that looks for a descriptor's name where there are none (a thread, without a monitor),
# says nothing, and leaves the card without its network. `socket` carries the same frames.
_TYPES: Final = {User: "user", Tap: "tap", Stream: "socket", Passt: "socket"}


def plan_nic(nic: Nic, row: Machine, place: PropertyMap, wire: Wire | None = None, *, machine: str = "") -> Recipe:
    """The network and the card on it. `machine` is the machine's name, for an address that nobody else has."""
    card: dict[str, Json] = {
        "driver": f"virtio-net-{row.virtio}",
        "id": nic.id,
        "netdev": nic.id,
        "mac": nic.mac or default_mac(machine, nic.id),
    }
    queues = len(nic.net.fds) if isinstance(nic.net, Tap) else 1
    if queues > 1:
        card["mq"] = True
        if row.virtio == "pci":  # an interrupt for each queue in each direction, for control and for changes
            card["vectors"] = 2 * queues + 2
    return (_plan_net(nic, wire), Step("device", {**card, **place}))


def _plan_net(nic: Nic, wire: Wire | None) -> Step:
    props: dict[str, Json] = {"type": _TYPES[type(nic.net)], "id": nic.id}
    if isinstance(nic.net, User):
        if nic.net.restrict:
            props["restrict"] = True
        if nic.net.hostfwd:
            props["hostfwd"] = [{"str": rule} for rule in nic.net.hostfwd]
    return Step("netdev", {**props, **(wire.props if wire else {})}, wire.fds if wire else ())


def default_mac(machine: str, id: str) -> str:
    """An address that depends on both names alone. 52:54:00 is what QEMU's cards have: administered locally."""
    found = hashlib.sha256(f"{machine}\0{id}".encode()).digest()
    return "52:54:00:" + found[:3].hex(":")
