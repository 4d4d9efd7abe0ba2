"""The buses that a machine has before any device is added to it: a row for each machine type that is well known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from gavotte.qemu.props import PropertyMap
from gavotte.values import dataclass

__all__ = ["ROOTS", "Roots", "find_roots"]


@dataclass(frozen=True, slots=True)
class Roots:
    """`buses` by name, with their kinds; the empty kind isn't compared. `taken` is what the machine itself has on
    `first_pci`: slots and functions. `ide_units` is how many disks one IDE bus has room for.
    """

    target: str = ""
    prefix: str = ""
    buses: Mapping[str, str] = field(default_factory=dict)
    first_pci: str = ""
    taken: tuple[tuple[int, int], ...] = ()
    ide_units: int = 2


def _named(name: str, kind: str, count: int) -> dict[str, str]:
    return {f"{name}.{n}": kind for n in range(count)}


ROOTS: Final = (
    Roots(
        "x86_64",
        "pc-q35-",
        {"pcie.0": "pci", "isa.0": "isa", "i2c": "i2c", **_named("ide", "ide", 6)},
        "pcie.0",
        ((0x00, 0), (0x1F, 0)),
        ide_units=1,
    ),
    Roots(
        "x86_64",
        "pc-i440fx-",
        {"pci.0": "pci", "isa.0": "isa", "i2c": "i2c", "floppy-bus.0": "floppy", **_named("ide", "ide", 2)},
        "pci.0",
        ((0x00, 0), (0x01, 0)),
    ),
    Roots("x86_64", "microvm", {"isa.0": "isa", **_named("virtio-mmio-bus", "virtio", 24)}),
    Roots("aarch64", "virt-", {"pcie.0": "pci", **_named("virtio-mmio-bus", "virtio", 32)}, "pcie.0", ((0, 0),)),
    Roots("riscv64", "virt", {"pcie.0": "pci", **_named("virtio-mmio-bus", "virtio", 8)}, "pcie.0", ((0, 0),)),
    Roots("ppc64", "pseries-", {"pci.0": "pci", "spapr-vio": "vio"}, "pci.0"),
    Roots(
        "s390x",
        "s390-ccw-virtio",
        {"virtual-css": "ccw", "pci.0": "pci", "s390-pcibus.0": "", "s390-sclp-events-bus.0": ""},
        "pci.0",
    ),
)

# Properties that give a machine buses beyond those.
_MORE: Final = ("cxl", "pcie", "usb")


def find_roots(machine: str, target: str, props: PropertyMap) -> Roots | None:
    """Gives the row for a machine type; None where its buses aren't known, or its properties may add some."""
    if any(props.get(name) not in (None, False, "off") for name in _MORE):
        return None
    return next((row for row in ROOTS if row.target == target and row.prefix and machine.startswith(row.prefix)), None)
