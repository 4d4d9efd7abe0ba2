"""Second names of device types, which QEMU takes and no query tells.

They are a table of QEMU's own (`qdev_alias_table` in its system/qdev-monitor.c), which is meant never to grow.
"""

from __future__ import annotations

from typing import Final

__all__ = ["type_behind"]

_TYPES: Final = {
    "ac97": "AC97",
    "ahci": "ich9-ahci",
    "e1000-82540em": "e1000",
    "es1370": "ES1370",
    "lsi": "lsi53c895a",
}

# These stand for the kind of virtio device that the architecture's machines usually have.
_KINDS = ("9p", "balloon", "blk", "gpu", "gpu-gl", "gpu-rutabaga", "input-host", "iommu", "keyboard", "mouse", "net")
_VIRTIO: Final = frozenset(f"virtio-{kind}" for kind in (*_KINDS, "rng", "scsi", "serial", "tablet"))
_TRANSPORTS: Final = {"m68k": "device", "s390x": "ccw"}


def type_behind(alias: str, target: str) -> str:
    """Gives the device type that `alias` stands for in a QEMU for `target`; `alias` itself where it is none."""
    if alias in _VIRTIO:
        return f"{alias}-{_TRANSPORTS.get(target, 'pci')}"
    return _TYPES.get(alias, alias)
