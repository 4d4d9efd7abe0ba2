"""A log that is bounded: two files in turns, and no error when the disk is full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["BoundedLog", "read_log"]


class BoundedLog:
    """Appends to a file; at `limit` bytes that becomes the older one, whose name ends in `.1`, and a new one is begun.

    What can't be written is dropped, and counted in `dropped`: a full disk mustn't end who writes.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._fd = -1
        self._size = 0
        self.dropped = 0

    def write(self, data: bytes) -> None:
        """Append it, in whole or as much as there is room for."""
        written = 0
        with suppress(OSError):
            self._open()
            if self._size + len(data) > self._limit:
                self.close()
                self._path.replace(older(self._path))
                self._open()
            written = os.write(self._fd, data)
            self._size += written
        self.dropped += len(data) - written

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close the file. It is opened again when it is written to again."""
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def older(path: Path) -> Path:
    """The file that was full."""
    return path.with_name(f"{path.name}.1")


def read_log(path: Path, chunk: int = 64 << 10) -> Iterator[bytes]:
    """All that is left of a log, the oldest first."""
    for part in (older(path), path):
        with suppress(FileNotFoundError), part.open("rb") as file:
            while data := file.read(chunk):
                yield data
