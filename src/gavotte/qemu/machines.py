"""Machine types as rows of data: what has to be said differently for each.

The rows depend on nothing but themselves. Only `host_arch` looks at the host, for who names no architecture.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from gavotte.qemu.props import Json, PropertyMap
from gavotte.values import dataclass

__all__ = ["ARCHES", "EMULATORS", "MACHINES", "Machine", "canonical_arch", "find_machine", "host_arch", "machines_of"]


@dataclass(frozen=True)
class Machine:
    """One machine type of the emulator `qemu-system-ARCH`.

    `versioned` is what the names of its versioned types begin with, `emulated` the options that TCG needs beside
    `options`. `serial` is the kernel's name of the console,
    `driver` QEMU's of the device behind it; without a driver it is the first serial port that the machine has anyway.
    `cpus` names the model for each accelerator. `smallest` is the memory, in bytes, that a guest with its image boots
    in: with less, kernel and initramfs leave a command nothing to run in. Memory is added to a machine that runs by
    `virtio_mem`, where the binary has it too, or by DIMMs of multiples of `dimm` bytes (0: it takes none).
    Devices are added to a machine that runs by `hotplug`: behind PCI Express ports, on the PCI bus that it has anyway,
    by channel device numbers, or not at all. `clones`: copies of a machine that stands still were seen to run on.
    `cmdline` is how many bytes of a command line its Linux takes, the last one NUL (COMMAND_LINE_SIZE in its
    asm/setup.h); with more, a kernel ends without a word.
    """

    arch: str
    type: str
    versioned: str = ""
    options: PropertyMap = field(default_factory=dict)
    emulated: PropertyMap = field(default_factory=dict)
    cpus: Mapping[str, str] = field(default_factory=lambda: {"kvm": "host", "tcg": "max"})
    virtio: str = "pci"
    serial: str = "ttyS0"
    driver: str | None = "isa-serial"
    smallest: int = 128 << 20
    virtio_mem: bool = False
    dimm: int = 0
    hotplug: Literal["pcie", "pci", "ccw", ""] = "pcie"
    clones: bool = False
    cmdline: int = 2048


# What a sandbox has no use for costs start-up time under emulation: each device is probed by firmware and kernel.
_PC: dict[str, Json] = {"usb": False, "vmport": "off", "smbus": False, "hpet": False}

# Linux adds and removes memory in sections of this size on x86 (SECTION_SIZE_BITS).
_PC_DIMM = 128 << 20

# The first row of an architecture is its default.
MACHINES = (
    Machine("x86_64", "q35", "pc-q35-", {**_PC, "sata": False}, virtio_mem=True, dimm=_PC_DIMM, clones=True),
    Machine("x86_64", "pc", "pc-i440fx-", _PC, virtio_mem=True, dimm=_PC_DIMM, hotplug="pci"),
    # Debian's kernel has no virtio-mmio device tables there: without PCI it finds no virtio device at all
    Machine("x86_64", "microvm", options={"pcie": True, "isa-serial": False}, hotplug=""),
    # `max` has pointer authentication, whose emulation makes a boot four times as long
    Machine(
        "aarch64",
        "virt",
        "virt-",
        {"gic-version": "max"},  # the default one stops at eight processors
        cpus={"kvm": "host", "tcg": "cortex-a57"},
        serial="ttyAMA0",
        driver=None,
        virtio_mem=True,  # no DIMMs: those need ACPI, which needs firmware
    ),
    Machine(
        "ppc64",
        "pseries",
        "pseries-",
        {"usb": False},
        # the defaults are remedies for flaws of real processors: TCG warns that it has none of them
        emulated={"cap-cfpc": "broken", "cap-sbbc": "broken", "cap-ibs": "broken", "cap-ccf-assist": False},
        cpus={"kvm": "host", "tcg": "power9"},
        serial="hvc0",
        driver="spapr-vty",
        smallest=256 << 20,  # pages of 64 KiB
        dimm=256 << 20,  # SPAPR_MEMORY_BLOCK_SIZE
        hotplug="pci",
    ),
    Machine(
        "s390x",
        "s390-ccw-virtio",
        "s390-ccw-virtio-",
        virtio="ccw",
        serial="ttysclp0",
        driver="sclpconsole",
        virtio_mem=True,
        hotplug="ccw",
    ),
    Machine(
        "riscv64",
        "virt",
        "virt-",
        cpus={"kvm": "host", "tcg": "rv64"},
        driver=None,
        smallest=192 << 20,  # its kernel is a large one
        virtio_mem=True,
        cmdline=1024,
    ),
)

ARCHES = tuple(dict.fromkeys(row.arch for row in MACHINES))

# The emulators that Debian has, each with its package. Where that isn't the same in all releases, it is the name that
# the right one of them provides.
EMULATORS = {
    "aarch64": "qemu-system-arm",
    "arm": "qemu-system-arm",
    "i386": "qemu-system-x86",
    "mips": "qemu-system-mips",
    "mips64": "qemu-system-mips",
    "mips64el": "qemu-system-mips",
    "mipsel": "qemu-system-mips",
    "ppc": "qemu-system-ppc",
    "ppc64": "qemu-system-ppc",
    "ppc64le": "qemu-system-ppc",
    "sparc": "qemu-system-sparc",
    "sparc64": "qemu-system-sparc",
    "x86_64": "qemu-system-x86",
    **{
        arch: f"qemu-system-{arch}"
        for arch in (
            *("alpha", "avr", "cris", "hppa", "loongarch64", "m68k", "microblaze", "microblazeel", "nios2", "or1k"),
            *("riscv32", "riscv64", "rx", "s390x", "sh4", "sh4eb", "tricore", "xtensa", "xtensaeb"),
        )
    },
}

# What kernels and Debian call an architecture, where that isn't QEMU's name.
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64", "ppc64el": "ppc64"}


def canonical_arch(name: str) -> str:
    """QEMU's name of an architecture: `ppc64` for `ppc64le`. A name that isn't known stays as it is."""
    return _ALIASES.get(name, name)


def host_arch() -> str:
    """The architecture of this host's processor, by QEMU's name."""
    return canonical_arch(os.uname().machine)


def machines_of(arch: str) -> tuple[Machine, ...]:
    """The rows of an architecture, its default first; none for one that isn't known."""
    return tuple(row for row in MACHINES if row.arch == canonical_arch(arch))


def find_machine(arch: str, type: str) -> Machine | None:
    """The row for a QEMU machine type, versioned ones (`pc-q35-7.2`, `virt-9.0`) included."""
    for row in machines_of(arch):
        if type == row.type or (row.versioned and type.startswith(row.versioned) and type != row.versioned):
            return row
    return None
