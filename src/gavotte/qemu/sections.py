"""The sections of a machine file: each is one of QEMU's options, in one of five shapes.

A machine file is one mapping. Its keys are the names below; what stands in a section is QEMU's own: the keys and values
of the option, or its one word (QEMU's qemu-options.hx; which parser reads what: system/vl.c). Options that are
shorthands for others (`-drive`, `-hda`, `-net`, `-nic`, `-serial`, `-monitor`, `-qmp`, `-usb`, `-nographic`, ...) have
no section: they are words in `options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from gavotte.qemu.props import Json, Kind
from gavotte.values import dataclass

__all__ = ["SECTIONS", "Document", "Section", "Shape"]

Document: TypeAlias = Mapping[str, Json]

Shape: TypeAlias = Literal["map", "maps", "word", "flag", "words"]


@dataclass(frozen=True, slots=True)
class Section:
    """One section.

    `map`: one property map, one option. `maps`: a list of them, an option each. `word`: text that QEMU takes literally.
    `flag`: true or false, an option without a value. `words`: a list of lists of arguments, passed as they are.
    `kind` is set where QMP can do the same while the machine runs.
    """

    name: str
    option: str
    shape: Shape
    kind: Kind | None = None


def _table(*sections: Section) -> dict[str, Section]:
    return {section.name: section for section in sections}


# In the order of the command line. QEMU collects nearly all options before it acts on any, so that order matters only
# within a section, and in these places: `compat` governs how what follows it is read; `action` says more than
# `no-reboot` and `no-shutdown`, which are shorthands for two of its keys, so it comes after them and holds; `options`
# come last, since what is given last holds. Only `fds` (descriptors to pass) and `qemu` (which binary) aren't options.
SECTIONS: Final = _table(
    Section("name", "name", "map"),
    Section("uuid", "uuid", "word"),
    Section("nodefaults", "nodefaults", "flag"),
    Section("no-user-config", "no-user-config", "flag"),
    Section("compat", "compat", "map"),
    Section("sandbox", "sandbox", "map"),
    Section("run-with", "run-with", "map"),
    Section("runas", "runas", "word"),
    Section("chroot", "chroot", "word"),
    Section("daemonize", "daemonize", "flag"),
    Section("pidfile", "pidfile", "word"),
    Section("msg", "msg", "map"),
    Section("display", "display", "map"),
    Section("vga", "vga", "word"),
    Section("g", "g", "word"),
    Section("k", "k", "word"),
    Section("vncs", "vnc", "maps"),
    Section("spice", "spice", "map"),
    Section("no-reboot", "no-reboot", "flag"),
    Section("no-shutdown", "no-shutdown", "flag"),
    Section("action", "action", "map"),
    Section("S", "S", "flag"),
    Section("preconfig", "preconfig", "flag"),
    Section("only-migratable", "only-migratable", "flag"),
    Section("machine", "machine", "map"),
    Section("accels", "accel", "maps"),
    Section("cpu", "cpu", "map"),
    Section("smp", "smp", "map"),
    Section("memory", "m", "map"),
    Section("mem-path", "mem-path", "word"),
    Section("mem-prealloc", "mem-prealloc", "flag"),
    Section("overcommit", "overcommit", "map"),
    Section("rtc", "rtc", "map"),
    Section("icount", "icount", "map"),
    Section("seed", "seed", "word"),
    Section("boot", "boot", "map"),
    Section("firmware", "bios", "word"),
    Section("kernel", "kernel", "word"),
    Section("shim", "shim", "word"),
    Section("initrd", "initrd", "word"),
    Section("append", "append", "word"),
    Section("dtb", "dtb", "word"),
    Section("option-roms", "option-rom", "maps"),
    Section("globals", "global", "maps"),
    Section("objects", "object", "maps", "object"),
    Section("numa", "numa", "maps"),
    Section("fw_cfg", "fw_cfg", "maps"),
    Section("smbios", "smbios", "maps"),
    Section("acpitable", "acpitable", "maps"),
    Section("audio", "audio", "map"),
    Section("audiodevs", "audiodev", "maps"),
    Section("chardevs", "chardev", "maps", "chardev"),
    Section("monitors", "mon", "maps"),
    Section("tpmdevs", "tpmdev", "maps"),
    Section("fsdevs", "fsdev", "maps", "fsdev"),
    Section("netdevs", "netdev", "maps", "netdev"),
    Section("iscsi", "iscsi", "maps"),
    Section("blockdevs", "blockdev", "maps", "blockdev"),
    Section("snapshot", "snapshot", "flag"),
    Section("devices", "device", "maps", "device"),
    Section("incoming", "incoming", "word"),
    Section("loadvm", "loadvm", "word"),
    Section("semihosting", "semihosting", "flag"),
    Section("semihosting-config", "semihosting-config", "map"),
    Section("gdb", "gdb", "word"),
    Section("traces", "trace", "maps"),
    Section("plugins", "plugin", "maps"),
    Section("d", "d", "word"),
    Section("D", "D", "word"),
    Section("dfilter", "dfilter", "word"),
    Section("options", "", "words"),
)
