"""A machine file made inert: what would write, listen, connect or claim something of the host is replaced or left out.

Images are opened read-only and without locks; the devices that would write to them get an empty disk. Back ends of
characters, networks and sound do nothing. What can't be replaced is left out, with the devices that need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from gavotte.qemu.check.names import Names
from gavotte.qemu.check.scalars import is_on
from gavotte.qemu.check.words import open_names
from gavotte.qemu.process import CONFINED
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.sections import SECTIONS, Document, Section
from gavotte.qemu.shape import entries_of

__all__ = ["Entry", "make_inert"]


class Entry(NamedTuple):
    """One option, as the machine file of its section alone, and where it stands in the user's own."""

    path: str
    document: Document


# Sections that aren't tried: what they start, listen on, load or become isn't for a trial.
_LEFT_OUT: Final = frozenset(
    {
        "chroot",
        "gdb",
        "incoming",
        "loadvm",
        "mem-path",
        "options",
        "plugins",
        "run-with",
        "runas",
        "spice",
        "tpmdevs",
        "vncs",
    }
)
# Sections of no concern to the machine: the trial has its own, or none.
_OF_NO_CONCERN: Final = frozenset(
    {"D", "S", "d", "daemonize", "dfilter", "display", "fds", "mem-prealloc", "msg", "pidfile", "preconfig", "qemu"}
    | {"sandbox", "traces"}
)

# Words without a section that only say something of the machine.
_HARMLESS: Final = frozenset(
    {"accel", "acpitable", "boot", "cpu", "enable-kvm", "global", "m", "machine", "M", "name", "no-acpi", "no-hpet"}
    | {"numa", "rtc", "smbios", "smp", "usb", "vga"}
)

# Devices that claim something of the host or speak to another process, and those that need a real disk behind them.
_DEVICES: Final = (
    *("ccid-card-emulated", "ipmi-bmc-extern", "ivshmem-doorbell", "scsi-block", "scsi-generic", "tpm-", "u2f-"),
    *("usb-host", "usb-redir", "vfio-", "vhost-", "virtio-input-host", "x-pci-proxy", "xen-"),
)
_OBJECTS: Final = (
    *("can-host", "colo-compare", "cryptodev-vhost", "dbus-", "filter-", "input-", "pr-manager", "qtest", "rng-egd"),
    *("vfio-user", "x-remote", "x-vfio"),
)
_INERT_CHARDEVS: Final = frozenset({"null", "ringbuf"})
_INERT_AUDIO: Final = frozenset({"none"})

# Block drivers that open something other than a file or a disk of this host.
_REMOTE: Final = frozenset(
    {"blkio", "ftp", "ftps", "gluster", "http", "https", "io_uring", "iscsi", "nbd", "nfs", "nvme", "nvme-io_uring"}
    | {"rbd", "sheepdog", "ssh", "vvfat", "virtio-blk-vfio-pci", "virtio-blk-vhost-user", "virtio-blk-vhost-vdpa"}
    | {"vxhs"}
)
_OWN: Final = ("auto-read-only", "locking", "read-only")
_SIZE: Final = 1 << 30
_FILE_KEYS: Final = ("align", "discard-data", "mem-path", "offset", "pmem", "readonly", "rom")


def make_inert(document: Document) -> tuple[list[Entry], list[str]]:
    """Gives the options of the trial, in order, and the paths of what isn't tried as it stands."""
    inert = _Inert(document)
    entries = [Entry("", {"display": {"type": "none"}, "S": True, "sandbox": CONFINED["sandbox"]})]
    entries += inert.entries()
    return entries, inert.untried


class _Inert:
    """One walk. `gone` are the ids of what was left out; `scratch` counts the empty disks."""

    def __init__(self, document: Document) -> None:
        self.untried: list[str] = []
        self._document = document
        self._gone: set[str] = set()
        self._remote: set[str] = set()
        self._read_only: set[str] = set()
        self._scratch = 0
        names = Names()
        open_names(document.get("options"), names)
        self._gone |= {name for _, name in names.defined}

    def entries(self) -> Iterator[Entry]:
        for name, section in SECTIONS.items():
            if name not in self._document or name in _OF_NO_CONCERN:
                continue
            for path, entry in entries_of(section, self._document[name]):
                yield from self._entry(section, path, entry)

    def _entry(self, section: Section, path: str, entry: Json) -> Iterator[Entry]:
        if section.name == "options" and isinstance(entry, Sequence) and str(entry[0]).lstrip("-") in _HARMLESS:
            yield Entry(path, {"options": [entry]})
        elif section.name in _LEFT_OUT:
            self._leave_out(path, entry)
        elif not isinstance(entry, Mapping):
            yield Entry(path, {section.name: entry})
        else:
            yield from self._map(section, path, entry)

    def _map(self, section: Section, path: str, props: PropertyMap) -> Iterator[Entry]:
        made: PropertyMap | None
        match section.name:
            case "chardevs":
                made = self._chardev(path, props)
            case "netdevs":
                made = self._netdev(path, props)
            case "audiodevs" | "audio":
                made = self._audiodev(path, props)
            case "objects":
                made = self._object(path, props)
            case "fsdevs":
                made = None if props.get("fsdriver") == "proxy" else props
            case "blockdevs":
                made = self._blockdev(path, props)
            case "devices":
                disk, made = self._device(path, props)
                if disk:
                    yield Entry(path, {"blockdevs": [disk]})
            case _:
                made = props
        if made is None:
            self._leave_out(path, props)
        else:
            yield Entry(path, {section.name: [made] if section.shape == "maps" else made})

    def _leave_out(self, path: str, entry: Json) -> None:
        self.untried.append(path)
        if isinstance(entry, Mapping) and isinstance(name := entry.get("id"), str):
            self._gone.add(name)

    def _replaced(self, path: str, props: PropertyMap) -> PropertyMap:
        self.untried.append(path)
        return props

    def _chardev(self, path: str, props: PropertyMap) -> PropertyMap:
        if props.get("backend") in _INERT_CHARDEVS and "logfile" not in props:
            return props
        return self._replaced(path, {"backend": "null", **{key: props[key] for key in ("id", "mux") if key in props}})

    def _netdev(self, path: str, props: PropertyMap) -> PropertyMap:
        if props.get("type") == "hubport":
            return props
        return self._replaced(path, {"type": "hubport", "id": props["id"], "hubid": len(self.untried)})

    def _audiodev(self, path: str, props: PropertyMap) -> PropertyMap:
        if props.get("driver") in _INERT_AUDIO:
            return props
        return self._replaced(path, {"driver": "none", **{key: props[key] for key in ("id", "model") if key in props}})

    def _object(self, path: str, props: PropertyMap) -> PropertyMap | None:
        kind = str(props.get("qom-type"))
        if kind.startswith(_OBJECTS):
            return None
        made = {**props, "prealloc": False} if "prealloc" in props else props
        if kind != "memory-backend-file":
            return made
        kept = {key: value for key, value in made.items() if key not in _FILE_KEYS}
        return self._replaced(path, {**kept, "qom-type": "memory-backend-ram"})

    def _blockdev(self, path: str, props: PropertyMap) -> PropertyMap:
        name = str(props.get("node-name"))
        if is_on(props.get("read-only")):
            self._read_only.add(name)
        if _reaches_out(props, self._remote | self._gone):
            self._remote.add(name)
            return self._replaced(path, {**_empty_disk(name), "read-only": True})
        return _opened_for_reading(props)

    def _device(self, path: str, props: PropertyMap) -> tuple[PropertyMap | None, PropertyMap | None]:
        """Gives the empty disk that the device gets, and the device; None for it where it isn't tried."""
        words = {value.partition(".")[0] for value in props.values() if isinstance(value, str)}
        if str(props.get("driver")).startswith(_DEVICES) or words & self._gone:
            return None, None
        node = props.get("drive")
        if not isinstance(node, str) or node in self._read_only:
            return None, props
        self._scratch += 1
        disk = _empty_disk(f"gavotte-empty-{self._scratch}")
        return disk, {**props, "drive": disk["node-name"]}


def _empty_disk(name: str) -> dict[str, Json]:
    return {"driver": "null-co", "node-name": name, "size": _SIZE, "read-zeroes": True}


def _reaches_out(value: Json, remote: set[str]) -> bool:
    """Whether a block device, or what it is made of, isn't a file or a disk of this host; `remote` are ids of such."""
    if isinstance(value, Mapping):
        name = value.get("filename")
        is_passed = isinstance(name, str) and name.startswith("/dev/fdset/")
        return is_passed or value.get("driver") in _REMOTE or any(_reaches_out(item, remote) for item in value.values())
    return isinstance(value, str) and value in remote


def _opened_for_reading(props: PropertyMap) -> PropertyMap:
    made: dict[str, Json] = {
        key: _opened_for_reading(value) if isinstance(value, Mapping) and "driver" in value else value
        for key, value in props.items()
        if key not in _OWN
    }
    return {**made, "read-only": True, "force-share": True}
