"""The little that the image needs from ELF files: named sections and the libraries that a file asks for.

Format: System V ABI, "Object Files" (elf(5)). 64-bit only: that is what the supported architectures use.
"""

from __future__ import annotations

import struct

DT_NEEDED = 1
BYTE_ORDERS = {b"\x7fELF\x02\x01": "<", b"\x7fELF\x02\x02": ">"}  # by how a 64-bit file begins; `>` is s390x
MAGIC_LENGTH = 6


def is_elf(data: bytes) -> bool:
    """Whether `data` begins as a 64-bit ELF file."""
    return data[:MAGIC_LENGTH] in BYTE_ORDERS


def section(data: bytes, name: bytes) -> bytes:
    """The content of the section `name`, empty when there is none.

    Raises ValueError when `data` isn't a whole ELF file.
    """
    try:
        return _section(data, name)
    except struct.error as error:
        raise ValueError("the ELF file is cut off") from error


def needed(data: bytes) -> list[str]:
    """The sonames of the shared libraries that an executable or library asks for (DT_NEEDED).

    Raises ValueError when `data` isn't a whole ELF file.
    """
    dynamic, strings = section(data, b".dynamic"), section(data, b".dynstr")
    pairs = struct.iter_unpack(f"{BYTE_ORDERS[data[:MAGIC_LENGTH]]}QQ", dynamic[: len(dynamic) // 16 * 16])
    return [_string(strings, value).decode() for tag, value in pairs if tag == DT_NEEDED]


def interpreter(data: bytes) -> str:
    """The path of the dynamic loader that an executable asks for, empty when it is static.

    Raises ValueError when `data` isn't a whole ELF file.
    """
    return section(data, b".interp").rstrip(b"\0").decode()


def modinfo(data: bytes) -> dict[str, list[str]]:
    """What a kernel module says about itself: `depends`, `softdep`, `alias`, … as lists of values.

    Raises ValueError when `data` isn't a whole ELF file.
    """
    found: dict[str, list[str]] = {}
    for item in section(data, b".modinfo").split(b"\0"):
        key, equals, value = item.decode(errors="replace").partition("=")
        if equals:
            found.setdefault(key, []).append(value)
    return found


def _section(data: bytes, name: bytes) -> bytes:
    if not is_elf(data):
        raise ValueError("not a 64-bit ELF file")
    order = BYTE_ORDERS[data[:MAGIC_LENGTH]]
    (table,) = struct.unpack_from(f"{order}Q", data, 0x28)
    size, count, names_index = struct.unpack_from(f"{order}HHH", data, 0x3A)
    headers = [struct.unpack_from(f"{order}IIQQQQ", data, table + size * index) for index in range(count)]
    if not names_index < len(headers):
        return b""
    names_at, names_size = headers[names_index][4:6]
    names = data[names_at : names_at + names_size]
    for name_at, _type, _flags, _address, at, length in headers:
        if _string(names, name_at) == name:
            return data[at : at + length]
    return b""


def _string(table: bytes, at: int) -> bytes:
    return table[at : table.find(b"\0", at)]
