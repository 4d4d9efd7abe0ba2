"""The back ends without which a device doesn't start: the one thing about devices that no binary tells."""

from __future__ import annotations

import re
from typing import Final

from gavotte.qemu.props import PropertyMap
from gavotte.qemu.schema.model import DeviceType

__all__ = ["NEEDS", "needed_backend"]

# By the device's name without what says which bus it is for.
NEEDS: Final[dict[str, str]] = {
    "ide-hd": "drive",
    "nvdimm": "memdev",
    "pc-dimm": "memdev",
    "scsi-block": "drive",
    "scsi-generic": "drive",
    "scsi-hd": "drive",
    "tpm-crb": "tpmdev",
    "tpm-tis": "tpmdev",
    "usb-serial": "chardev",
    "usb-storage": "drive",
    "vhost-user-blk": "chardev",
    "vhost-user-fs": "chardev",
    "vhost-user-scsi": "chardev",
    "virtio-9p": "fsdev",
    "virtio-blk": "drive",
    "virtio-crypto": "cryptodev",
    "virtio-mem": "memdev",
    "virtio-pmem": "memdev",
}

_BUS = re.compile(r"(-pci|-ccw|-device)?((-non)?-transitional)?")


def needed_backend(device: DeviceType, props: PropertyMap) -> str:
    """Gives the name of the back end's property that isn't there and has to be; empty when all is well."""
    for stem, backend in NEEDS.items():
        if device.name.startswith(stem) and _BUS.fullmatch(device.name, len(stem)):
            return backend if backend not in props and backend in (device.properties or ()) else ""
    return ""
