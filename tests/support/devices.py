"""One device of each class, with all that it can be told, and where it leads in a plan that nobody starts."""

from __future__ import annotations

from pathlib import Path

from gavotte.hypervisor.devices import (
    Balloon,
    Console,
    Device,
    Disk,
    Nic,
    Passt,
    Port,
    PvPanic,
    Raw,
    Rng,
    Share,
    Stream,
    Tap,
    Throttle,
    User,
    VmGenId,
    Vsock,
    Watchdog,
)
from gavotte.hypervisor.qemu.plan import Wire
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import Step

__all__ = ["DEVICES", "WIRES", "devices_for"]

_SOCKET = Wire({"backend": "socket", "fd": "30"})
_STREAM = Wire({"fd": "31"})

DEVICES: tuple[Device, ...] = (
    Disk("plain", Path("/images/a,b c.raw")),
    Disk(
        "full", Path("/images/full.qcow2"), "no-0815", "qcow2", "virtio-blk", False, True, True, Throttle(100, 1 << 20)
    ),
    Disk("block", Path("/dev/vg/lv"), read_only=True),
    Disk("lun", Path("/images/lun.qcow2"), "of twenty characters", "qcow2", "virtio-scsi", discard=True),
    Disk("slow-lun", Path("/images/slow.raw"), bus="virtio-scsi", read_only=True, throttle=Throttle(bps=4096)),
    Nic("user", User(restrict=True, hostfwd=("tcp:127.0.0.1:8022-:22", "udp::53-:53"))),
    Nic("tap", Tap((3,)), "52:54:00:00:00:01"),
    Nic("queues", Tap((3, 4), (5, 6))),
    Nic("stream", Stream(7)),
    Nic("passt", Passt(("--no-map-gw",))),
    Share("p9", Path("/srv/a,b"), "a tag", read_only=True),
    Share("fs", Path("/srv/a,b"), kind="virtiofs"),
    Port("port", "com.example.port"),
    Console("hvc"),
    Rng("entropy"),
    Rng("slow-entropy", Path("/dev/hwrng"), 1024, 1000),
    Balloon("balloon", deflate_on_oom=False, free_page_reporting=False),
    Balloon("watched", statistics=2),
    Watchdog("dog", "poweroff"),
    VmGenId("generation", "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"),
    PvPanic("panic"),
    Vsock("vsock", 42),
    Raw(
        "raw",
        {"driver": "virtio-rng-pci", "rng": "raw-back"},
        (Step("object", {"qom-type": "rng-builtin", "id": "raw-back"}),),
    ),
)

WIRES = {
    "block": Wire({"driver": "host_device"}),
    "tap": Wire({"fds": "32"}),
    "queues": Wire({"fds": "33:34", "vhost": True, "vhostfds": "35:36"}),
    "stream": _STREAM,
    "passt": _STREAM,
    "fs": _SOCKET,
    "port": _SOCKET,
    "hvc": _SOCKET,
    "vsock": Wire({"vhostfd": "37"}),
}


def devices_for(row: Machine) -> tuple[Device, ...]:
    """Those that a machine of that row can have."""
    missing = {*(() if row.arch == "x86_64" else (VmGenId,)), *((PvPanic, Raw) if row.virtio == "ccw" else ())}
    return tuple(device for device in DEVICES if type(device) not in missing)
