"""Disks: block nodes, and the device that shows the topmost to the guest."""

from __future__ import annotations

import os
from typing import Final

from gavotte.hypervisor.devices import Disk
from gavotte.hypervisor.qemu.plan.names import check_length, part
from gavotte.hypervisor.qemu.plan.wire import Wire
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import Json, PropertyMap, Recipe, Step

__all__ = ["plan_disk"]

_NODE_NAME: Final = 31  # bytes (`node_name` in QEMU's block_int-common.h)
_SERIAL: Final = 20  # bytes: VIRTIO_BLK_ID_BYTES, and where scsi-disk.c makes a device id of it


def plan_disk(disk: Disk, row: Machine, place: PropertyMap, wire: Wire | None = None) -> Recipe:
    """The block node with the disk's id, and the device on it.

    `wire` may say that the file is a block device of the host (`driver`: `host_device`). Raises UsageError for an id or
    a serial number that QEMU would refuse or cut.
    """
    check_length("id", disk.id, _NODE_NAME)
    check_length("serial", disk.serial, _SERIAL)
    return (*_plan_throttle(disk), *_plan_iothread(disk), _plan_node(disk, wire), _plan_device(disk, row, place))


def _plan_node(disk: Disk, wire: Wire | None) -> Step:
    """One step for all nodes: those below the topmost have no names, and go with it."""
    common: dict[str, Json] = {"read-only": disk.read_only, **({"discard": "unmap"} if disk.discard else {})}
    node: dict[str, Json] = {
        "driver": disk.format,
        **common,
        "file": {"driver": "file", "filename": os.fspath(disk.path), **common, **(wire.props if wire else {})},
    }
    if disk.throttle is not None:
        node = {"driver": "throttle", "throttle-group": part(disk.id, "throttle"), **common, "file": node}
    return Step("blockdev", {"driver": node.pop("driver"), "node-name": disk.id, **node})


def _plan_throttle(disk: Disk) -> Recipe:
    if disk.throttle is None:
        return ()
    limits: PropertyMap = {
        key: value for key, value in (("iops-total", disk.throttle.iops), ("bps-total", disk.throttle.bps)) if value
    }
    id = part(disk.id, "throttle")
    return (Step("object", {"qom-type": "throttle-group", "id": id, "limits": limits}),)


def _plan_iothread(disk: Disk) -> Recipe:
    if not disk.iothread:
        return ()
    return (Step("object", {"qom-type": "iothread", "id": part(disk.id, "iothread")}),)


def _plan_device(disk: Disk, row: Machine, place: PropertyMap) -> Step:
    scsi = disk.bus == "virtio-scsi"
    props: dict[str, Json] = {
        "driver": "scsi-hd" if scsi else f"virtio-blk-{row.virtio}",
        "id": disk.id,
        "drive": disk.id,
        **({"serial": disk.serial} if disk.serial else {}),
        **({"iothread": part(disk.id, "iothread")} if disk.iothread else {}),
    }
    return Step("device", {**props, **place})
