"""What no binary tells of its options and devices, as rows of data.

Each row is an error that QEMU makes when it acts on the option. A row holds for every version: of the keys that a
binary doesn't know, it asks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gavotte.qemu.check.inspection import Inspection
from gavotte.qemu.check.rule import Rule, check_rule
from gavotte.qemu.props import PropertyMap
from gavotte.qemu.schema.model import DeviceType

__all__ = ["CHARDEV_ALIASES", "DEVICES", "OPTIONS", "WORDS", "check_device_rules", "check_option_rules"]


def _same(rule: Rule, *names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, rule)


# By the device's name without what says which bus it is for.
DEVICES: Final[Mapping[str, Rule]] = {
    **_same(Rule(needs=("drive",)), "ide-hd", "scsi-block", "scsi-generic", "scsi-hd", "usb-storage", "virtio-blk"),
    **_same(Rule(needs=("memdev",)), "acpi-erst", "ivshmem-plain", "nvdimm", "pc-dimm", "virtio-mem", "virtio-pmem"),
    **_same(Rule(needs=("tpmdev",)), "tpm-crb", "tpm-tis"),
    **_same(Rule(needs=("bmc",)), "isa-ipmi-bt", "isa-ipmi-kcs", "pci-ipmi-bt", "pci-ipmi-kcs", "smbus-ipmi"),
    **_same(
        Rule(needs=("chardev",)),
        "ccid-card-passthru",
        "ipmi-bmc-extern",
        "isa-debugcon",
        "isa-parallel",
        "ivshmem-doorbell",
        "usb-braille",
        "usb-redir",
        "usb-serial",
        "vhost-user-blk",
        "vhost-user-gpio",
        "vhost-user-i2c",
        "vhost-user-rng",
        "vhost-user-scsi",
        "vhost-user-vsock",
    ),
    "cxl-type3": Rule(needs=("memdev|persistent-memdev|volatile-memdev",)),
    "isa-serial": Rule(ranges={"index": (0, 3)}),
    "nvme": Rule(needs=("serial",)),
    "nvme-ns": Rule(ranges={"nsid": (0, 256)}),
    "pci-bridge": Rule(needs=("chassis_nr",), ranges={"chassis_nr": (1, 255)}),
    "usb-mtp": Rule(needs=("rootdir",)),
    "vfio-ap": Rule(needs=("sysfsdev|fd",)),
    "vfio-ccw": Rule(needs=("sysfsdev|fd",)),
    "vfio-pci": Rule(needs=("host|sysfsdev|fd",)),
    "vhost-scsi": Rule(needs=("wwpn",)),
    "vhost-user-fs": Rule(needs=("chardev", "tag")),
    "vhost-vsock": Rule(needs=("guest-cid",), ranges={"guest-cid": (3, 2**32 - 1)}),
    "virtio-9p": Rule(needs=("fsdev", "mount_tag")),
    "virtio-crypto": Rule(needs=("cryptodev",)),
    "virtio-input-host": Rule(needs=("evdev",)),
    "virtio-rng": Rule(ranges={"max-bytes": (0, 2**63 - 1), "period": (1, 2**32 - 1)}),
}

# By an ancestor of the device's type.
_FAMILIES: Final[Mapping[str, Rule]] = {
    # QEMU aborts: such a device has two BARs, and no room for a ROM (pci_register_bar in its hw/pci/pci.c).
    "base-pci-bridge": Rule(never=("romfile",)),
    # css_devid_set in QEMU's hw/core/qdev-properties-system.c
    "usb-device": Rule(forms={"port": (r"\d+(\.\d+)*", "a port such as '1', or '1.2' behind a hub")}),
    "ccw-device": Rule(
        forms={"devno": (r"(?i)(?!ff)[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}", "an address such as fe.0.0001")}
    ),
}

_INPUT = ("accept", "reject", "crash")
_OUTPUT = ("accept", "hide")
_DENY = ("allow", "deny")
_COMPAT: Final[Mapping[str, tuple[str, ...]]] = {
    "deprecated-input": _INPUT,
    "deprecated-output": _OUTPUT,
    "unstable-input": _INPUT,
    "unstable-output": _OUTPUT,
}
_AUDIO = "none", "alsa", "coreaudio", "dbus", "dsound", "jack", "oss", "pa", "pipewire", "sdl", "sndio", "spice", "wav"
_LEVELS = "cpus", "maxcpus", "drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads"
_ACPI_TABLE = "sig", "rev", "oem_id", "oem_table_id", "oem_rev", "asl_compiler_id", "asl_compiler_rev"
_ACPI_KEYS = *_ACPI_TABLE, "file", "data"
_PROCESSOR = "type", "sock_pfx", "part", "max-speed", "current-speed", "processor-id", "processor-family"
_BOARD = ("manufacturer", "version", "serial", "asset")

_UUID: Final = (r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "a UUID")


def _keys(*keys: str, needs: tuple[str, ...] = ()) -> Rule:
    return Rule(keys=frozenset(keys), needs=needs)


# What a word is made a chardev of (qemu_chr_parse_compat in QEMU's chardev/char.c, and what stands before it).
_CHARDEV_WORD: Final = (
    r"(mon:)?(none|null|pty(:.*)?|msmouse|wctablet|braille|testdev|stdio|vc(:.*)?|con:|COM\d+|/dev/.*"
    r"|(chardev|file|pipe|tcp|telnet|tn3270|websocket|udp|unix):.*)(,.*)?",
    "a back end such as stdio, or chardev:ID",
)
# QEMU's util/keyval.c takes no key without a value. A doubled comma is one of the value's own.
_KEYVAL_WORD: Final = (r"\{.*|([^,]|,,)*(,[^,=]+=([^,]|,,)*)*,?", "each key with its value, as in key=value,")

# By the option: what has no section of its own, and is passed on as it is.
WORDS: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(("debugcon", "monitor", "parallel", "qmp", "qmp-pretty", "serial"), _CHARDEV_WORD),
    **dict.fromkeys(("M", "audiodev", "boot", "compat", "display", "machine", "smp"), _KEYVAL_WORD),
}

# By the option, and the value of the key in _TAGS where there is one. QEMU's chardev/, hw/9pfs/, hw/smbios/smbios.c,
# hw/acpi/core.c, system/vl.c, system/rtc.c.
OPTIONS: Final[Mapping[tuple[str, str], Rule]] = {
    ("accel", ""): Rule(needs=("accel",)),
    ("accel", "tcg"): Rule(words={"thread": ("single", "multi")}),
    ("acpitable", ""): Rule(
        one_of=("file", "data"),
        keys=frozenset(_ACPI_KEYS),
    ),
    ("audiodev", ""): Rule(needs=("id", "driver"), words={"driver": _AUDIO}),
    ("boot", ""): Rule(
        ranges={"reboot-timeout": (-1, 65535), "splash-time": (0, 65535)},
        forms=dict.fromkeys(("once", "order"), (r"(?!.*(.).*\1)[a-p]*", "letters from a to p, each once,")),
    ),
    ("chardev", "file"): Rule(needs=("path",)),
    ("chardev", "mux"): Rule(needs=("chardev",)),
    ("chardev", "parallel"): Rule(needs=("path",)),
    ("chardev", "pipe"): Rule(needs=("path",)),
    ("chardev", "serial"): Rule(needs=("path",)),
    ("chardev", "socket"): Rule(one_of=("path", "host", "fd"), brings={"host": "port"}),
    ("chardev", "spiceport"): Rule(needs=("name",)),
    ("chardev", "spicevmc"): Rule(needs=("name",)),
    ("chardev", "udp"): Rule(needs=("port",)),
    ("compat", ""): Rule(words=_COMPAT, keys=frozenset(_COMPAT)),
    ("fsdev", ""): Rule(words={"fsdriver": ("local", "proxy", "synth")}),
    ("fsdev", "local"): Rule(
        needs=("path", "security_model"),
        words={"security_model": ("passthrough", "mapped", "mapped-xattr", "mapped-file", "none")},
    ),
    ("fsdev", "proxy"): Rule(one_of=("socket", "sock_fd")),
    ("fw_cfg", ""): Rule(needs=("name",), one_of=("file", "string", "gen_id")),
    ("m", ""): Rule(brings={"slots": "maxmem"}),
    ("machine", "kvm"): Rule(words=dict.fromkeys(("kernel-irqchip", "kernel_irqchip"), ("on", "off", "split"))),
    ("mon", ""): Rule(needs=("chardev",), words={"mode": ("readline", "control")}),
    ("option-rom", ""): Rule(needs=("romfile",)),
    ("rtc", ""): Rule(
        words={"clock": ("host", "rt", "vm"), "driftfix": ("none", "slew")},
        forms={
            "base": (r"utc|localtime|\d+-\d+-\d+(T\d+:\d+:\d+)?", "utc, localtime or a time as 2006-06-17T16:01:21")
        },
    ),
    ("sandbox", ""): Rule(
        words={
            "obsolete": _DENY,
            "elevateprivileges": (*_DENY, "children"),
            "spawn": _DENY,
            "resourcecontrol": _DENY,
        }
    ),
    ("seed", ""): Rule(forms={"seed": (r"\s*[+-]?(0[xX][0-9a-fA-F]+|\d+)", "a number")}),
    ("smbios", ""): Rule(needs=("file|type",), words={"type": ("0", "1", "2", "3", "4", "8", "9", "11", "17", "41")}),
    ("smbios", "0"): _keys("type", "vendor", "version", "date", "release", "uefi", "vm"),
    ("smbios", "1"): Rule(
        keys=frozenset({"type", "manufacturer", "product", "version", "serial", "uuid", "sku", "family"}),
        forms={"uuid": _UUID},
    ),
    ("smbios", "2"): _keys("type", *_BOARD, "product", "location"),
    ("smbios", "3"): _keys("type", *_BOARD, "sku"),
    ("smbios", "4"): Rule(
        keys=frozenset({*_BOARD, *_PROCESSOR}), ranges=dict.fromkeys(("max-speed", "current-speed"), (0, 65535))
    ),
    ("smbios", "8"): _keys("type", "internal_reference", "external_reference", "connector_type", "port_type"),
    ("smbios", "11"): _keys("type", "value", "path"),
    ("smbios", "17"): _keys("type", "loc_pfx", "bank", "manufacturer", "serial", "asset", "part", "speed"),
    ("smbios", "41"): _keys("type", "designation", "kind", "instance", "pcidev"),
    ("smp", ""): Rule(ranges=dict.fromkeys(_LEVELS, (0, 2**31 - 1))),
    ("tpmdev", ""): Rule(needs=("id", "type")),
    ("uuid", ""): Rule(forms={"uuid": _UUID}),
    ("vga", ""): Rule(
        words={"vga": ("none", "std", "cirrus", "vmware", "xenfb", "qxl", "tcx", "cg3", "virtio")},
    ),
}

# The key whose value says which row of an option holds.
_TAGS: Final = {
    "accel": "accel",
    "chardev": "backend",
    "fsdev": "fsdriver",
    "machine": "accel",
    "smbios": "type",
}

# Other spellings that -chardev of some versions knows (chardev_alias_table in QEMU's chardev/char.c).
CHARDEV_ALIASES: Final = {"tty": "serial", "parport": "parallel"}

_BUS = re.compile(r"(-pci|-ccw|-device|-nohotplug|-seat)?((-non)?-transitional)?")


def check_device_rules(device: DeviceType, props: PropertyMap, path: str, inspection: Inspection) -> None:
    """Reports where a device breaks a row that it falls under."""
    for stem, rule in DEVICES.items():
        if device.name.startswith(stem) and _BUS.fullmatch(device.name, len(stem)):
            check_rule(rule, device.name, props, path, inspection, device.properties)
    for ancestor, rule in _FAMILIES.items():
        if ancestor in device.parents:
            check_rule(rule, device.name, props, path, inspection, device.properties)


def check_option_rules(option: str, props: PropertyMap, path: str, inspection: Inspection) -> None:
    """Reports where an option's map breaks a row; a word is a map from the option's name to it."""
    tag = str(props.get(_TAGS.get(option, ""), ""))
    for variant in dict.fromkeys(("", CHARDEV_ALIASES.get(tag, tag))):
        if rule := OPTIONS.get((option, variant)):
            check_rule(rule, f"-{option} {tag}".strip(), props, path, inspection)
