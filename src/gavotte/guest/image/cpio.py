"""The newc cpio format, as the Linux kernel reads it: written and read without root rights.

Format: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. Device nodes are entries like any other, and
several archives one after the other count as one.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
HEADER_LENGTH = 110
MAX_NAME = 4096
MAX_FILE = 256 << 20  # far above any file of ours: a damaged length must not become an allocation


class Entry(NamedTuple):
    """One file of an archive: `mode` with its type bits, its content (or link target), and a device's numbers."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


Tree = dict[str, Entry]  # name without a leading slash -> entry


def file(data: bytes, *, executable: bool = False) -> Entry:
    """A regular file."""
    return Entry(stat.S_IFREG | (0o755 if executable else 0o644), data)


def symlink(target: str) -> Entry:
    """A symbolic link to `target`."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def directory(permissions: int = 0o755) -> Entry:
    """A directory."""
    return Entry(stat.S_IFDIR | permissions)


def character_device(major: int, minor: int, permissions: int = 0o600) -> Entry:
    """A character device node."""
    return Entry(stat.S_IFCHR | permissions, device=(major, minor))


def write(out: BinaryIO, tree: Mapping[str, Entry]) -> int:
    """Write `tree` as one archive with its missing parent directories, sorted; gives its length in bytes.

    Everything belongs to root and has time 0, so equal trees are equal archives.
    """
    length = 0
    for number, (name, entry) in enumerate(sorted(_with_parents(tree).items()), start=1):
        length += out.write(_record(name, entry, number))
    length += out.write(_record(TRAILER, Entry(0), 0))
    return length + out.write(bytes(-length % 512))


def read(source: BinaryIO) -> Iterator[tuple[str, Entry]]:
    """The entries of one archive up to its trailer.

    Raises ValueError when it is damaged or cut off.
    """
    while True:
        name, entry = _read_record(source)
        if name == TRAILER:
            return
        yield name, entry


def _with_parents(tree: Mapping[str, Entry]) -> Tree:
    full: Tree = {}
    for name in tree:
        parts = name.split("/")
        if "" in parts or "." in parts or ".." in parts:
            raise ValueError(f"not a plain relative name: {name!r}")
        for depth in range(1, len(parts)):
            full.setdefault("/".join(parts[:depth]), directory())
    full.update(tree)
    return full


def _record(name: str, entry: Entry, inode: int) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (
        inode,
        entry.mode,
        0,  # uid
        0,  # gid
        2 if stat.S_ISDIR(entry.mode) else 1,
        0,  # mtime
        len(entry.data),
        0,  # device of the file system, major and minor
        0,
        *entry.device,
        len(encoded),
        0,  # checksum: only in the 070702 format
    )
    head = MAGIC + b"".join(b"%08X" % field for field in fields) + encoded
    return head + bytes(-len(head) % 4) + entry.data + bytes(-len(entry.data) % 4)


def _read_record(source: BinaryIO) -> tuple[str, Entry]:
    header = _exactly(source, HEADER_LENGTH)
    if header[:6] != MAGIC:
        raise ValueError("not a newc cpio archive")
    field = [int(header[at : at + 8], 16) for at in range(6, HEADER_LENGTH, 8)]
    mode, size, name_length = field[1], field[6], field[11]
    if not 1 <= name_length <= MAX_NAME or size > MAX_FILE:
        raise ValueError("a length in the cpio archive is out of bounds")
    name = _exactly(source, name_length)[:-1].decode()
    _exactly(source, -(HEADER_LENGTH + name_length) % 4)
    data = _exactly(source, size)
    _exactly(source, -size % 4)
    return name, Entry(mode, data, (field[9], field[10]))


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise ValueError("the cpio archive is cut off")
    return data
