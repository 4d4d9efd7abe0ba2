"""Devices by purpose: what a machine may have, in no hypervisor's words.

Each has an `id`, by which it is removed again. Paths are the host's, as text or a `pathlib.Path`; a sandbox looks up a
relative one in the caller's directory. Descriptors stay the caller's: a driver lends copies.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Literal, TypeAlias

from gavotte.arguments import StrPath
from gavotte.qemu.props import PropertyMap, Recipe
from gavotte.values import dataclass

__all__ = [
    "Balloon",
    "Console",
    "Device",
    "Disk",
    "Latent",
    "Nic",
    "Passt",
    "Port",
    "PvPanic",
    "Raw",
    "Rng",
    "Share",
    "Stream",
    "Tap",
    "Throttle",
    "User",
    "VmGenId",
    "Vsock",
    "Watchdog",
]


@dataclass(frozen=True)
class Throttle:
    """Upper bounds of a disk's traffic: operations and bytes a second, reads and writes together. 0 is no bound."""

    iops: int = 0
    bps: int = 0


@dataclass(frozen=True)
class Disk:
    """A disk image or block device. `serial` is how the guest finds it: at most 20 bytes.

    On the bus `virtio-scsi` it is a LUN of a controller that all such disks share, made when it is first needed.
    `iothread` gives a virtio-blk disk a thread of its own; `discard` passes the guest's trim on to the file.
    """

    id: str
    path: StrPath
    serial: str = ""
    format: Literal["raw", "qcow2"] = "raw"
    bus: Literal["virtio-blk", "virtio-scsi"] = "virtio-blk"
    read_only: bool = False
    discard: bool = False
    iothread: bool = False
    throttle: Throttle | None = None


@dataclass(frozen=True)
class User:
    """A network that QEMU makes up itself, without privileges. `restrict` leaves the guest alone in it.

    `hostfwd` lists QEMU's forwarding rules, such as "tcp:127.0.0.1:8022-:22".
    """

    restrict: bool = False
    hostfwd: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tap:
    """A tap or macvtap interface, by one descriptor for each queue, with those of vhost-net where there are any."""

    fds: tuple[int, ...]
    vhost_fds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stream:
    """A connected stream socket that carries frames, each after its length: 4 bytes, the highest first."""

    fd: int


@dataclass(frozen=True)
class Passt:
    """The host's network without privileges, by a `passt` that is started for this NIC and ends with it.

    `options` are passt's own. Without "--no-map-gw", the gateway's address leads to the host's loopback interface.
    """

    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Nic:
    """A virtio-net card. Without `mac`, it gets one that depends on the machine's name and `id` alone."""

    id: str
    net: User | Tap | Stream | Passt
    mac: str = ""


@dataclass(frozen=True)
class Share:
    """A directory of the host, mounted in the guest by its `tag` (the id, unless given).

    `virtiofs` needs a `virtiofsd`, which is started for it, and a machine with `shared_memory`. `9p` needs neither, and
    can only be there from the start. New files belong to whom the hypervisor runs as; by `virtiofs` as root, to the
    user that made them in the guest.
    """

    id: str
    path: StrPath
    tag: str = ""
    kind: Literal["9p", "virtiofs"] = "9p"
    read_only: bool = False


@dataclass(frozen=True)
class Port:
    """A byte stream between the host and the guest: virtio-serial port `name`. `take_port` gives our end."""

    id: str
    name: str


@dataclass(frozen=True)
class Console:
    """A terminal of the guest's, `hvc0` and so on. `take_port` gives our end."""

    id: str


@dataclass(frozen=True)
class Rng:
    """Random numbers from a file of the host, at most `max_bytes` in each `period` of milliseconds (0: no bound)."""

    id: str
    filename: StrPath = Path("/dev/urandom")
    max_bytes: int = 0
    period: int = 0


@dataclass(frozen=True)
class Balloon:
    """Memory that the host can ask back for. `free_page_reporting` gives back by itself what the guest doesn't use.

    The guest reports its statistics every `statistics` seconds (0: never).
    """

    id: str
    deflate_on_oom: bool = True
    free_page_reporting: bool = True
    statistics: int = 0


@dataclass(frozen=True)
class Watchdog:
    """A timer that the guest has to wind up. `action` is what happens when it doesn't."""

    id: str
    action: Literal["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"] = "reset"


@dataclass(frozen=True)
class VmGenId:
    """Tells the guest that it is a copy, by a `guid` that differs: `auto` makes one up at each start (x86)."""

    id: str
    guid: str = "auto"


@dataclass(frozen=True)
class PvPanic:
    """Lets the guest's kernel report that it panicked."""

    id: str


@dataclass(frozen=True)
class Vsock:
    """The guest's end of vsock, with address `cid` (3 and up), where the host has vhost-vsock.

    `fd` is an open /dev/vhost-vsock; without it, the driver opens it.
    """

    id: str
    cid: int
    fd: int | None = None


@dataclass(frozen=True)
class Latent:
    """A place for a virtio device in a template: an empty one, which clones have their own in place of.

    The guest's drivers must leave it alone. Kinds: a Disk on virtio-blk, a Nic of one queue, a Share by 9p.
    """

    id: str
    kind: Literal["disk", "nic", "share"]


@dataclass(frozen=True)
class Raw:
    """Any other device, as a property map in QEMU's words with its `driver`; the id is added.

    `backends` are made before it and removed after it. Unless the map says `bus`, `addr` or `devno`, it gets a place.
    """

    id: str
    props: PropertyMap
    backends: Recipe = field(default=())


Device: TypeAlias = (
    Disk | Nic | Share | Port | Console | Rng | Balloon | Watchdog | VmGenId | PvPanic | Vsock | Latent | Raw
)
