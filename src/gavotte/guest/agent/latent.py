"""Latent devices: those that a template has for its clones, and that no driver has looked at before.

A driver that binds to one after the copy sees what the clone's hypervisor has put there. So the virtio bus is kept from
binding anything while the template is made ready, but for the disk with the root.
Interface: Linux, Documentation/driver-api/driver-model/binding.rst.
"""

from __future__ import annotations

import errno
import os

from gavotte.guest.agent.devices import Devices, find_device
from gavotte.guest.agent.system import read_file, write_file

BUS = "/sys/bus/virtio"
DISK = "disk"
KINDS = {  # by what the host calls it: the virtio device's number, its driver, and the modules that are needed
    "nic": (1, "virtio_net", ("virtio_net",)),
    DISK: (2, "virtio_blk", ("virtio_blk",)),
    "share": (9, "9pnet_virtio", ("9p", "9pnet_virtio")),
}


def hold_back() -> None:
    """Have drivers bind to nothing by themselves."""
    write_file(f"{BUS}/drivers_autoprobe", "0")


def let_go() -> None:
    """Have drivers bind to what appears from now on. They leave alone what is there."""
    write_file(f"{BUS}/drivers_autoprobe", "1")


def load_drivers(devices: Devices) -> None:
    """Load the drivers of all kinds, which binds none while it is held back."""
    for _number, _driver, modules in KINDS.values():
        for module in modules:
            devices.load(module)


def unbound(kind: str) -> list[str]:
    """The latent devices of that kind, by their names on the bus, in the order of their places."""
    number = KINDS[kind][0]
    found = []
    for name in os.listdir(f"{BUS}/devices"):
        device = f"{BUS}/devices/{name}"
        if not os.path.exists(f"{device}/driver") and int(read_file(f"{device}/device"), 16) == number:
            found.append(name)
    return sorted(found, key=lambda name: int(name.removeprefix("virtio")))


def bind(kind: str, name: str) -> None:
    write_file(f"{BUS}/drivers/{KINDS[kind][1]}/bind", name)


def bind_root(serial: str) -> str:
    """Bind the disk with that serial number, and no other; gives its node. It comes before those that are latent."""
    for name in unbound(DISK):
        bind(DISK, name)
        found = find_device("/sys/block", "serial", serial)
        if found is not None:
            return found
        write_file(f"{BUS}/drivers/{KINDS[DISK][1]}/unbind", name)
    raise OSError(errno.ENODEV, f"no disk has the serial number {serial!r}")


def bind_first(kind: str, count: int) -> None:
    """Bind so many of the latent devices of that kind."""
    names = unbound(kind)[:count]
    if len(names) < count:
        raise OSError(errno.ENODEV, f"there are {len(names)} latent devices of the kind {kind!r}, not {count}")
    for name in names:
        bind(kind, name)
