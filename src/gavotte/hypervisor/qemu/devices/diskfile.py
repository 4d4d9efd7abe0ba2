"""Whether a disk's file can be what its device says: seen here first, where the error can name the way out."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path
from typing import Final

from gavotte.errors import HostError, UsageError
from gavotte.hypervisor.devices import Disk

__all__ = ["check_disk"]

_NOT_WRITABLE: Final = (errno.EROFS, errno.ETXTBSY, errno.EPERM)
_MAGIC: Final = b"QFI\xfb"
_HEADER: Final = struct.Struct(">4sIQIIQIIQQ")  # up to the refcount table's offset (QEMU's docs/interop/qcow2.txt)


def check_disk(disk: Disk) -> bool:
    """Whether the file is a block device of the host.

    Raises UsageError for a path that isn't absolute, HostError for a file that can't be opened as the disk says, is no
    file, or isn't a whole image of its format. It is a look, not a promise: QEMU finds what is left.
    """
    path = os.fspath(disk.path)
    if not Path(path).is_absolute():
        raise UsageError(f"{path} is relative, and QEMU's directory is another", path="path", hint="make it absolute")
    try:
        file = os.open(path, (os.O_RDONLY if disk.read_only else os.O_RDWR) | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as e:
        hints = {
            FileNotFoundError: "is the path right?",
            IsADirectoryError: "a directory of the host is for a Share",
            PermissionError: "QEMU runs as you do: give yourself access, or use read_only=True",
        }
        read_only = "with read_only=True it needs not be writable"
        hint = hints.get(type(e), read_only if e.errno in _NOT_WRITABLE and not disk.read_only else "")
        raise HostError(f"can't open the file of disk {disk.id!r}, {path}: {e.strerror}", hint=hint) from e
    try:
        return _check(disk, path, file)
    finally:
        os.close(file)


def _check(disk: Disk, path: str, file: int) -> bool:
    mode = os.fstat(file).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        what = "a directory" if stat.S_ISDIR(mode) else "neither a file nor a block device"
        hint = "a directory of the host is for a Share" if stat.S_ISDIR(mode) else ""
        raise HostError(f"disk {disk.id!r} can't be on {path}: it is {what}", hint=hint)
    if disk.format == "qcow2":
        _check_qcow2(disk, path, file)
    return stat.S_ISBLK(mode)


def _check_qcow2(disk: Disk, path: str, file: int) -> None:
    size = os.lseek(file, 0, os.SEEK_END)
    head = os.pread(file, _HEADER.size, 0)
    if not head.startswith(_MAGIC):
        raise HostError(
            f"{path} is not a qcow2 image, as disk {disk.id!r} says",
            hint="use format='raw' if it is the disk's very contents; `qemu-img info` tells its format",
        )
    if len(head) == _HEADER.size:
        *_, l1_size, l1_offset, refcounts = _HEADER.unpack(head)
        if l1_offset + 8 * l1_size <= size and refcounts < size:
            return
    raise HostError(
        f"{path} is truncated: its {size} bytes don't hold the tables that a qcow2 image begins with",
        hint="copy it anew; `qemu-img check` tells more",
    )
