"""A file that is appended to and stays bounded: two files in turns."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["RotatedFile", "older"]


class RotatedFile:
    """At `limit` bytes the file becomes the older one, in the place of the one before, and a new one is begun."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._fd = -1
        self._size = 0

    def open(self) -> None:
        """Have the file there, though nothing is written yet. A second call does nothing. Raises OSError."""
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
            self._size = os.fstat(self._fd).st_size

    def make_room(self, count: int) -> tuple[int, int]:
        """Have room for so many bytes; the inode and the size of the file that they go to. Raises OSError."""
        self.open()
        if self._size + count > self._limit:
            self.close()
            self._path.replace(older(self._path))
            self.open()
        return os.fstat(self._fd).st_ino, self._size

    def write(self, data: bytes) -> int:
        """Append it, or as much as there is room for; gives how much that was. Raises OSError."""
        self.make_room(len(data))
        written = os.write(self._fd, data)
        self._size += written
        return written

    def close(self) -> None:
        """Close it, until it is written to again. A second call does nothing."""
        if self._fd >= 0:
            with suppress(OSError):  # such as a quota that is found at the end
                os.close(self._fd)
            self._fd = -1


def older(path: Path) -> Path:
    """The file that was full."""
    return path.with_name(f"{path.name}.1")
