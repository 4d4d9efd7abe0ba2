"""One device, checked by the properties that its type has in this binary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gavotte.qemu.check.buses import check_hot_bus
from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.names import Space
from gavotte.qemu.check.qom import convert_property, find_property, is_settable
from gavotte.qemu.check.rules import check_device_rules
from gavotte.qemu.check.scalars import Misfit, is_on
from gavotte.qemu.check.slots import pci_address
from gavotte.qemu.props import Json, PropertyMap
from gavotte.qemu.schema.model import DeviceType, Property

__all__ = ["check_device"]

# What every device takes and none lists (qdev_device_add_from_qdict in QEMU's system/qdev-monitor.c).
_UNLISTED: Final = ("driver", "id", "bus")

# Text that is an id, by the property's name.
_SPACES: Final[dict[str, tuple[Space, ...]]] = {
    "audiodev": ("audiodev",),
    "chardev": ("chardev",),
    "drive": ("block",),
    "fsdev": ("fsdev",),
    "netdev": ("netdev",),
    "tpmdev": ("tpmdev",),
}

# Links to what a user makes. Others lead to parts of the machine itself.
_LINKS: Final = frozenset(
    f"link<{kind}>"
    for kind in (
        "can-bus",
        "cryptodev-backend",
        "iommufd",
        "iothread",
        "ipmi-bmc",
        "memory-backend",
        "nvme-subsys",
        "rng-backend",
    )
)

# One front end each; others may share.
_SOLE: Final = frozenset({"chardev", "cryptodev", "drive", "memdev", "netdev", "tpmdev"})

_MAC = re.compile(r"[0-9a-fA-F]{2}(?:([:-])[0-9a-fA-F]{2})(?:\1[0-9a-fA-F]{2}){4}")


def check_device(props: PropertyMap, path: str, inspection: Inspection) -> dict[str, Json]:
    """Gives the device's properties in their own types; reports what doesn't fit."""
    device = _find_type(props, path, inspection)
    _check_id(props, path, inspection)
    if device is None or device.properties is None:
        return dict(props)
    if device.creatable is False:
        inspection.report(inside(path, "driver"), f"{device.name} is a part of boards, and no user can make one")
    if inspection.hot and device.pluggable is False:
        inspection.report(inside(path, "driver"), f"{device.name} can't be plugged while the machine runs")
    if inspection.hot:
        check_hot_bus(props, path, inspection)
    known = device.properties
    checked = dict(_check_property(device, known, key, value, path, inspection) for key, value in props.items())
    check_device_rules(device, checked, path, inspection)
    _refer(device, known, checked, path, inspection)
    return checked


def _find_type(props: PropertyMap, path: str, inspection: Inspection) -> DeviceType | None:
    driver = props.get("driver")
    if not isinstance(driver, str):
        inspection.report(path, "a device needs a 'driver'")
        return None
    device = inspection.schema.device(driver)
    if device is None:
        inspection.report_unknown(
            inside(path, "driver"), f"this QEMU has no device {shown(driver)}", driver, inspection.schema.devices
        )
    return device


def _check_id(props: PropertyMap, path: str, inspection: Inspection) -> None:
    if "id" not in props:
        return
    name, where = props["id"], inside(path, "id")
    if not isinstance(name, str) or not name or "/" in name:
        inspection.report(where, f"{shown(name)} can't be a device's id")
    else:
        inspection.names.define("device", name, where)


def _check_property(
    device: DeviceType,
    properties: Mapping[str, Property],
    key: str,
    value: Json,
    path: str,
    inspection: Inspection,
) -> tuple[str, Json]:
    where = inside(path, key)
    prop = find_property(properties, key)
    if prop is None:
        if key not in _UNLISTED:
            known = [name for name, prop in properties.items() if is_settable(prop)]
            inspection.report_unknown(where, f"{device.name} has no property '{key}'", key, (*known, *_UNLISTED))
        return key, value
    if key == "addr" and "pci-device" in device.parents:
        try:
            pci_address(value)
        except Misfit as misfit:
            inspection.report(where, f"{device.name} wants {misfit} not {shown(value)}")
        return key, value
    value = convert_property(prop, device.name, value, where, inspection)
    if key == "mac" and "netdev" in properties and isinstance(value, str) and not _MAC.fullmatch(value):
        inspection.report(where, f"{shown(value)} isn't a hardware address such as '52:54:00:12:34:56'")
    return key, value


def _refer(
    device: DeviceType, properties: Mapping[str, Property], props: PropertyMap, path: str, inspection: Inspection
) -> None:
    """Writes down which ids the device wants, and which of those for itself alone."""
    sharing = is_on(props.get("share-rw")) or device.name.endswith("-cd")
    for key, value in props.items():
        spaces = _spaces(properties.get(key))
        if spaces and isinstance(value, str) and "/" not in value:
            front = key in _SOLE and not sharing
            inspection.names.refer(spaces, value, inside(path, key), front=front)


def _spaces(prop: Property | None) -> tuple[Space, ...]:
    if prop is None:
        return ()
    if prop.type in _LINKS:
        return "object", "device"
    return _SPACES.get(prop.name, ()) if prop.type in ("str", "string") else ()
