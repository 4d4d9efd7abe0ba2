"""Disks: `-drive`, `-hda` to `-hdd`, `-cdrom`, `-pflash` and bare words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from gavotte.qemu.imports.maps import print_map
from gavotte.qemu.imports.modern.draft import Draft
from gavotte.qemu.imports.options import DISK_IMAGE, Option, words
from gavotte.qemu.imports.syntax import Unreadable, parse_opts

__all__ = ["rewrite_drives"]

_INDEX: Final = {"hda": 0, "hdb": 1, "cdrom": 2, "hdc": 2, "hdd": 3, DISK_IMAGE: 0}
_FORMAT_OF_SUFFIX: Final = {
    ".iso": "raw",
    ".raw": "raw",
    ".fd": "raw",
    ".qcow2": "qcow2",
    ".vmdk": "vmdk",
    ".vdi": "vdi",
}

# `cache=` as the file's own caching and the guest's view of it (`bdrv_parse_cache_mode` in block.c).
_CACHES: Final[dict[str, tuple[dict[str, str], bool]]] = {
    "writeback": ({}, True),
    "none": ({"direct": "on"}, True),
    "off": ({"direct": "on"}, True),
    "unsafe": ({"no-flush": "on"}, True),
    "writethrough": ({}, False),
    "directsync": ({"direct": "on"}, False),
}

_DISCARDS: Final = {"unmap": "unmap", "on": "unmap", "ignore": "ignore", "off": "ignore"}

_ON_ERROR: Final = words("auto enospc ignore report stop")

_FORMATS: Final = words("bochs cloop dmg parallels qcow qcow2 qed raw vdi vhdx vmdk vpc")

_UNDERSTOOD: Final = frozenset(
    {"file", "if", "format", "id", "index", "bus", "unit", "media", "cache", "aio", "discard", "detect-zeroes"}
    | {"readonly", "read-only", "werror", "rerror", "snapshot"}
)


@dataclass(frozen=True, slots=True)
class _Drive:
    option: Option
    props: dict[str, str]

    @property
    def is_cdrom(self) -> bool:
        return self.props.get("media") == "cdrom"


def rewrite_drives(draft: Draft) -> None:
    """All of one interface are rewritten or none: they are numbered together."""
    drives = []
    for option in draft.take("drive", "pflash", *_INDEX):
        try:
            drives.append(_Drive(option, _props(option)))
        except Unreadable as e:
            draft.keep(option, str(e))
    if draft.sections.get("snapshot"):
        for drive in drives:
            why = "-snapshot works on it, and doesn't on what it would become"
            draft.keep(drive.option, f"{why}; use an overlay, made by qemu-img create -b")
        return
    for interface in dict.fromkeys(_interface(draft, drive) for drive in drives):
        members = [drive for drive in drives if _interface(draft, drive) == interface]
        try:
            _rewrite(draft, interface, members)
        except Unreadable as e:
            for drive in members:
                draft.keep(drive.option, str(e))


def _props(option: Option) -> dict[str, str]:
    value = option.value or ""
    if option.name == "drive":
        return dict(parse_opts(value, None))
    if option.name == "pflash":
        return {"file": value, "if": "pflash"}
    media = {"media": "cdrom"} if option.name == "cdrom" else {}
    return {"file": value, "index": str(_INDEX[option.name]), **media}


def _interface(draft: Draft, drive: _Drive) -> str:
    return drive.props.get("if") or draft.default_interface()


def _rewrite(draft: Draft, interface: str, drives: list[_Drive]) -> None:
    """Raises Unreadable before anything is done."""
    names = _names(draft, interface, drives)
    nodes = [_node(drive, name) for drive, name in zip(drives, names, strict=True)]
    match interface:
        case "virtio":
            devices = [_virtio(draft, node) for node in nodes]
        case "ide":
            devices = _ide(draft, drives, nodes)
        case "pflash":
            devices = _pflash(draft, drives, nodes)
        case "none":
            devices = [_found(draft, name, node) for name, node in zip(names, nodes, strict=True)]
        case _:
            raise Unreadable("which device the board would make of it isn't known here; use if=none and a -device")
    for drive, node, device in zip(drives, nodes, devices, strict=True):
        _set_errors(drive, device)
        if node:
            draft.add("blockdevs", node)
        after = "blockdevs" if interface in ("none", "pflash") else f"blockdevs and a device {device['driver']}"
        draft.changed(drive.option, after, _why(drive, node))
    if interface == "virtio":
        draft.devices["late"] += devices
    elif interface == "ide":
        draft.devices["board"] += [*devices, *_default_cdrom(draft, devices)]
    elif interface == "pflash":
        draft.update("machine", {f"pflash{n}": node["node-name"] for n, node in enumerate(nodes)})


def _why(drive: _Drive, node: dict[str, Any]) -> str:
    if node and "format" not in drive.props:
        return f"by its name it is {node['driver']}, which is no longer found out by what is in it"
    return "it is the same disk, in two halves"


def _names(draft: Draft, interface: str, drives: list[_Drive]) -> list[str]:
    """The drive's id becomes the node's name, so that who refers to it finds it."""
    names: list[str] = []
    for number, drive in enumerate(drives):
        name = drive.props.get("id") or draft.id_for(f"{interface}{drive.props.get('index', number)}")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]{0,30}", name) or name in names:
            raise Unreadable(
                f"the id {name!r} can't be the name of a block node, or is there twice; give it another id"
            )
        names.append(name)
    return names


def _node(drive: _Drive, name: str) -> dict[str, Any]:
    """The block node, or nothing for a drive without a medium."""
    props = drive.props
    if unknown := props.keys() - _UNDERSTOOD:
        raise Unreadable(f"{min(unknown)}= has no rule here; say it in a -blockdev or on its -device")
    if unknown := {props.get("werror", "report"), props.get("rerror", "report")} - _ON_ERROR:
        raise Unreadable(f"{min(unknown)!r} is nothing to do on an error; QEMU has {', '.join(sorted(_ON_ERROR))}")
    if props.get("snapshot", "off") != "off":
        raise Unreadable("it is opened as a snapshot; use an overlay, made by qemu-img create -b")
    file = props.get("file", "")
    if not file:
        if drive.is_cdrom:
            return {}
        raise Unreadable("it has no file; add file=, or media=cdrom for a drive without a disc")
    driver = props.get("format") or _FORMAT_OF_SUFFIX.get(PurePath(file).suffix.lower())
    if driver is None:
        raise Unreadable("its format is found out by what is in it; add format=raw, or what qemu-img info says")
    if driver not in _FORMATS:
        raise Unreadable(f"{driver} is no format of a file alone; write it as a -blockdev with driver={driver}")
    cache, _ = _cache(props)
    shared: dict[str, Any] = {"detect-zeroes": props["detect-zeroes"]} if "detect-zeroes" in props else {}
    shared |= {"discard": _discard(props["discard"])} if "discard" in props else {}
    if shared.get("detect-zeroes") == "unmap" != shared.get("discard"):  # which -drive takes, and a block node doesn't
        raise Unreadable("detect-zeroes=unmap does nothing without discard=unmap; add that, or say detect-zeroes=on")
    shared |= {"cache": cache} if cache else {}
    if drive.is_cdrom or props.get("readonly", props.get("read-only", "off")) in ("on", "yes", "true", "y"):
        shared["read-only"] = "on"
    below: dict[str, Any] = {key: value for key, value in shared.items() if key != "detect-zeroes"}
    below |= {"aio": props["aio"]} if "aio" in props else {}
    if "read-only" not in shared:  # -drive says so of its file, a node of itself doesn't (blockdev_init in blockdev.c)
        shared["auto-read-only"] = "on"
    node = {"driver": driver, "node-name": name, **shared, "file": {**_protocol(file), **below}}
    print_map("blockdev", node)
    return node


def _discard(word: str) -> str:
    """-drive has two words for each (`bdrv_parse_discard_flags` in block.c)."""
    if word not in _DISCARDS:
        raise Unreadable(f"discard={word} is unknown; QEMU has unmap and ignore")
    return _DISCARDS[word]


def _protocol(file: str) -> dict[str, Any]:
    if re.match(r"[A-Za-z][A-Za-z0-9+._-]*:", file):
        raise Unreadable("its file is reached by a protocol; write it as a -blockdev with that driver")
    if file.startswith("/dev/") and not file.startswith("/dev/fdset/"):
        raise Unreadable(
            "what kind of device file it is isn't known here; write a -blockdev with driver=host_device or host_cdrom"
        )
    return {"driver": "file", "filename": file}


def _cache(props: dict[str, str]) -> tuple[dict[str, str], bool]:
    mode = props.get("cache", "writeback")
    if mode not in _CACHES:
        raise Unreadable(f"cache={mode} is unknown; QEMU has {', '.join(_CACHES)}")
    return _CACHES[mode]


def _set_errors(drive: _Drive, device: dict[str, Any]) -> None:
    """What -drive holds for its device."""
    device |= {key: drive.props[key] for key in ("werror", "rerror") if key in drive.props}
    if device and not _cache(drive.props)[1]:
        device["write-cache"] = "off"


def _virtio(draft: Draft, node: dict[str, Any]) -> dict[str, Any]:
    is_s390 = "s390x" in draft.sections.get("qemu", "")
    return {"driver": "virtio-blk-ccw" if is_s390 else "virtio-blk-pci", "drive": node["node-name"]}


def _found(draft: Draft, name: str, node: dict[str, Any]) -> dict[str, Any]:
    """The device that uses a drive without an interface. Without a medium there is nothing to use.

    A SCSI disk tells its guest the drive's id unless it has a serial number (scsi_realize in hw/scsi/scsi-disk.c); the
    guest finds it by that in /dev/disk/by-id. A block node has no such name, so the device gets it.
    """
    users = [device for device in draft.all_devices() if device.get("drive") == name]
    if not node:
        for device in users:
            del device["drive"]
    for device in users if node else ():
        if device.get("driver") in ("scsi-cd", "scsi-hd") and not device.keys() & {"serial", "device_id"}:
            device["device_id"] = name
    return users[0] if users else {}


def _pflash(draft: Draft, drives: list[_Drive], nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    units = [
        _number(drive.props.get("unit", drive.props.get("index", str(number)))) for number, drive in enumerate(drives)
    ]
    if units != list(range(len(drives))) or len(drives) > 2 or not (draft.pc() or _is_virt(draft)):
        raise Unreadable(
            "how many flash chips the board has isn't known here; name them as machine.pflash0 and pflash1"
        )
    return [{} for _ in nodes]


def _is_virt(draft: Draft) -> bool:
    return bool(re.fullmatch("virt(-.*)?", draft.machine_type()))


def _ide(draft: Draft, drives: list[_Drive], nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The i440fx has two disks on a bus, q35 has one (`units_per_default_bus` in pc_q35.c)."""
    per_bus = 2 if draft.pc() == "pc" else 1
    taken: set[int] = set()
    devices = []
    for drive, node in zip(drives, nodes, strict=True):
        index = _ide_index(drive.props, per_bus, taken)
        taken.add(index)
        place = {"bus": f"ide.{index // per_bus}", "unit": str(index % per_bus)}
        kind = "ide-cd" if drive.is_cdrom else "ide-hd"
        devices.append({"driver": kind, **place, **({"drive": node["node-name"]} if node else {})})
    return devices


def _ide_index(props: dict[str, str], per_bus: int, taken: set[int]) -> int:
    if "index" in props:
        index = _number(props["index"])
    elif "unit" in props or "bus" in props:
        index = _number(props.get("bus", "0")) * per_bus + _number(props.get("unit", "0"))
    else:
        index = next(number for number in range(64) if number not in taken)
    if index in taken:
        raise Unreadable("two drives have the same place; give each an index of its own")
    return index


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text):
        raise Unreadable(f"{text!r} is not the number of a place")
    return int(text)


def _default_cdrom(draft: Draft, devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The drive without a disc that PCs have, unless a device on the command line is a disk (vl.c: default_list)."""
    place = ("ide.1", "0") if draft.pc() == "pc" else ("ide.2", "0")
    others = {device.get("driver") for device in draft.all_devices()}
    if (
        not draft.has_defaults()
        or others & {"ide-cd", "ide-hd", "scsi-cd", "scsi-hd"}
        or any((device["bus"], device["unit"]) == place for device in devices)
    ):
        return []
    return [{"driver": "ide-cd", "bus": place[0], "unit": place[1]}]
