"""Kernels of some bytes, for machines whose guest needn't do much: they are up as soon as the firmware has run.

They are multiboot images for x86 (Multiboot Specification 0.6.96, section 3.1, with the addresses in the header), which
QEMU takes as -kernel.
"""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["FLOODS", "HALTS", "OBEYS", "WRITES", "write_kernel"]

_ADDRESS = 0x100000

# Stands still: costs the host nothing.
HALTS = "fa f4 eb fd"

# Writes lines of 79 x to its first serial port, as fast as it can, for ever.
FLOODS = "fa ba f8030000 b9 4f000000 b0 78 ee e2 fd b0 0a ee eb f1"

# Counts, in the first word of each page from 2 MiB to 28 MiB, as fast as it can, for ever.
WRITES = "fa bf 00002000 ff07 81c7 00100000 81ff 0000c001 72f0 ebe9"

# Echoes what is typed into its first serial port, and does it: p panics (by a byte for the PCI device 1b36:0011), o
# powers off (port 0x604 of q35), h stands still for good. Meanwhile it lets each PCI device go that it is asked for
# (ports 0xcc0 to 0xcd3 of q35). In QEMU's docs/specs: acpi_pci_hotplug, pvpanic.
OBEYS = (
    "fa"
    "ba fd030000 ec a8 01 74 13"  # is there a byte? else go on at the buses
    "ba f8030000 ec ee"  # read it, echo it
    "3c 70 74 27 3c 6f 74 5a 3c 68 74 67"  # p, o, h
    "b9 3f000000"  # for each of 64 buses
    "89 c8 ba d00c0000 ef"  # select it
    "b2 c4 ed 85 c0 74 06"  # which devices are to go?
    "ba c80c0000 ef"  # let them go
    "49 79 e8 eb c4"
    "b9 1f000000"  # p: for each of 32 slots
    "89 c8 c1 e0 0b 0d 00000080"  # its address in configuration space
    "ba f80c0000 ef b2 fc 89 c3 ed"  # what is there?
    "3d 361b1100 74 05 49 79 e1 eb 9e"
    "8d 43 10 b2 f8 ef b2 fc ed"  # where is its first region?
    "83 e0 f0 c6 00 01 eb 8d"  # say so there
    "ba 04060000 b8 00200000 66 ef e9 7cffffff"  # o
    "f4 eb fd"  # h
)


def write_kernel(folder: Path, code: str) -> Path:
    """Gives the path of the image that does this."""
    program = bytes.fromhex(code)
    magic, flags = 0x1BADB002, 0x10000  # the addresses below are to be used
    entry, end = _ADDRESS + 32, _ADDRESS + 32 + len(program)
    checksum = -(magic + flags) & 0xFFFFFFFF
    path = folder / "kernel"
    path.write_bytes(struct.pack("<8I", magic, flags, checksum, _ADDRESS, _ADDRESS, end, end, entry) + program)
    return path
