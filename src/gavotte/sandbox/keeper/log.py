"""Logs that are bounded: two files in turns, and no error when the disk is full."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gavotte.guest.agent import STDERR, STDOUT
from gavotte.qemu.rotation import RotatedFile, older

__all__ = ["BoundedLog", "CommandLog", "read_log"]


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


# Inode and size of the log, bytes of stdout, of stderr and of missing ones; stream and length of what is about to come
_MARK = struct.Struct(">QQQQQBQ")
_NEITHER = 0  # as a stream: words of ours


class CommandLog:
    """A command's stdout and stderr in one bounded log, with how much of each stream is there.

    Before each write, a mark says what is about to be written, and behind what: so another process knows what there is
    although this one was killed in the middle (what write(2) took survives a process). Where bytes are missing, for
    want of room or since they are lost, a line says how many.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._file = RotatedFile(path, limit)
        self._mark = -1
        self._missing = 0  # that no line tells of yet
        self._in_line = False
        self.stored = {STDOUT: 0, STDERR: 0}

    def write(self, stream: int, data: bytes) -> None:
        """Append what comes next of that stream, or as much of it as there is room for."""
        if self._missing:
            self._tell()
        self._missing += len(data) - self._append(stream, data)
        self.stored[stream] += len(data)

    def skip_to(self, stream: int, offset: int) -> None:
        """What comes next begins there: what is between is lost."""
        if offset > self.stored[stream]:
            self._missing += offset - self.stored[stream]
            self._tell()
        self.stored[stream] = offset

    def recover(self) -> bool:
        """Know what another process had written here; False when nobody can say."""
        try:
            mark = self._mark_path.read_bytes()
            inode, size, out, err, self._missing, stream, length = _MARK.unpack(mark)
        except (OSError, struct.error):
            return False
        self.stored = {STDOUT: out, STDERR: err}
        with suppress(OSError), self._path.open("rb") as file:
            now = os.fstat(file.fileno())
            if now.st_ino == inode:  # else a new file was begun behind that write
                length = min(length, max(0, now.st_size - size))
            if now.st_size:
                file.seek(-1, os.SEEK_END)
                self._in_line = file.read(1) != b"\n"
        if stream in self.stored:
            self.stored[stream] += length
        return True

    def close(self) -> None:
        """Close the file. What is missing at the end of it is told there."""
        if self._missing:
            self._tell()
        self._file.close()
        if self._mark >= 0:
            os.close(self._mark)
            self._mark = -1

    @property
    def _mark_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.mark")

    def _tell(self) -> None:
        line = f"{'' if not self._in_line else chr(10)}[gavotte: {self._missing} bytes of output are missing here]\n"
        if self._append(_NEITHER, line.encode()) == len(line):
            self._missing = 0

    def _append(self, stream: int, data: bytes) -> int:
        """How much of it was written."""
        try:
            inode, size = self._file.make_room(len(data))
            self._note(inode, size, stream, len(data))
            written = self._file.write(data)
        except OSError:
            return 0
        self._in_line = data[:written][-1:] not in (b"", b"\n") if written else self._in_line
        return written

    def _note(self, inode: int, size: int, stream: int, length: int) -> None:
        if self._mark < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._mark = os.open(self._mark_path, flags, 0o600)
        mark = _MARK.pack(inode, size, self.stored[STDOUT], self.stored[STDERR], self._missing, stream, length)
        os.pwrite(self._mark, mark, 0)


def read_log(path: Path, chunk: int = 64 << 10) -> Iterator[bytes]:
    """All that is left of a log, the oldest first."""
    for part in (older(path), path):
        with suppress(FileNotFoundError), part.open("rb") as file:
            while data := file.read(chunk):
                yield data
