"""A log that is bounded: two files in turns, and no error when the disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gavotte.qemu.rotation import RotatedFile, older

__all__ = ["BoundedLog", "read_log"]


class BoundedLog:
    """Appends to a file, and to a new one when that has `limit` bytes; the one before is kept.

    What can't be written is dropped, and counted in `dropped`: a full disk mustn't end who writes.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._file = RotatedFile(path, limit)
        self.dropped = 0

    def write(self, data: bytes) -> None:
        """Append it, in whole or as much as there is room for."""
        written = 0
        with suppress(OSError):
            written = self._file.write(data)
        self.dropped += len(data) - written

    def close(self) -> None:
        """Close the file. It is opened again when it is written to again."""
        self._file.close()


def read_log(path: Path, chunk: int = 64 << 10) -> Iterator[bytes]:
    """All that is left of a log, the oldest first."""
    for part in (older(path), path):
        with suppress(FileNotFoundError), part.open("rb") as file:
            while data := file.read(chunk):
                yield data
