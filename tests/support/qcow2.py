"""An empty qcow2 image, without qemu-img (QEMU's docs/interop/qcow2.txt)."""

from __future__ import annotations

import struct

__all__ = ["empty_qcow2"]

_BITS = 16  # of a cluster
_CLUSTER = 1 << _BITS


def empty_qcow2(size: int) -> bytes:
    """An image of `size` bytes, at most 512 MiB: header, refcount table, refcount block, L1 table."""
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, _BITS, size, 0, 1, 3 * _CLUSTER, _CLUSTER, 1, 0, 0)
    clusters = (header, struct.pack(">Q", 2 * _CLUSTER), struct.pack(">4H", 1, 1, 1, 1), bytes(8))
    return b"".join(cluster.ljust(_CLUSTER, b"\0") for cluster in clusters)
