"""Directories of the host."""

from __future__ import annotations

import os
from typing import Final

from gavotte.errors import Bug
from gavotte.hypervisor.devices import Share
from gavotte.hypervisor.qemu.plan.names import check_length
from gavotte.hypervisor.qemu.plan.wire import Wire
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import PropertyMap, Recipe, Step

__all__ = ["plan_share"]

_TAGS: Final = {"9p": 31, "virtiofs": 36}  # bytes (MAX_TAG_LEN in QEMU's 9p.h counts a NUL; virtio 1.2, section 5.11)

_QUEUE_SIZE: Final = 1024  # of virtiofs: requests under way


def plan_share(share: Share, row: Machine, place: PropertyMap, wire: Wire | None = None) -> Recipe:
    """The directory, and the device that shows it. Raises UsageError for a tag that is too long."""
    tag = share.tag or share.id
    check_length("tag", tag, _TAGS[share.kind])
    if share.kind == "9p":
        return _plan_9p(share, tag, row, place)
    if wire is None:
        raise Bug(f"the share {share.id!r} leads to no virtiofsd")
    return (
        Step("chardev", {**wire.props, "id": share.id}, wire.fds),
        Step(
            "device",
            {
                "driver": f"vhost-user-fs-{row.virtio}",
                "id": share.id,
                "chardev": share.id,
                "tag": tag,
                "queue-size": _QUEUE_SIZE,
                **place,
            },
        ),
    )


def _plan_9p(share: Share, tag: str, row: Machine, place: PropertyMap) -> Recipe:
    """With the security model `none`, files belong to whom QEMU runs as, root or not, and a guest's chown that isn't
    permitted does nothing. `remap` tells files of several file systems apart, which have the same inode numbers."""
    fsdev: PropertyMap = {
        "fsdriver": "local",
        "id": share.id,
        "path": os.fspath(share.path),
        "security_model": "none",
        "multidevs": "remap",
        **({"readonly": True} if share.read_only else {}),
    }
    driver = f"virtio-9p-{row.virtio}"
    return (
        Step("fsdev", fsdev),
        Step("device", {"driver": driver, "id": share.id, "fsdev": share.id, "mount_tag": tag, **place}),
    )
