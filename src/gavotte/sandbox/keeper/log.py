"""Logs that are bounded: two files in turns, and no error when the disk is full."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
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
        self._is_known = True
        self.stored = {STDOUT: 0, STDERR: 0}

    def write(self, stream: int, data: bytes) -> None:
        """Append what comes next of that stream, or as much of it as there is room for."""
        if self._missing:
            self._tell()
        self._missing += len(data) - self._append(stream, data)
        self.stored[stream] += len(data)

    def go_on(self, offsets: Mapping[int, int | None]) -> None:
        """What comes next of each stream begins at these offsets, None if that is unknown; what is between is lost."""
        if not self._is_known or None in offsets.values():
            self._append(_NEITHER, self._line("some bytes of output may be missing here, or be here twice"))
            self.stored |= {stream: offset for stream, offset in offsets.items() if offset is not None}
            return
        for stream, offset in offsets.items():
            if offset is not None:
                self._missing += max(0, offset - self.stored[stream])
                self.stored[stream] = offset
        if self._missing:
            self._tell()

    def begin(self) -> None:
        """Have it there, with nothing in it: whoever recovers it then knows that."""
        self._append(_NEITHER, b"")

    def recover(self) -> bool:
        """Know what another process had written here; False when nobody can say."""
        inode, size = self._look()
        try:
            of, before, out, err, missing, stream, length = _MARK.unpack(self._mark_path.read_bytes())
        except (OSError, struct.error):
            self._is_known = False
            return False
        self.stored, self._missing = {STDOUT: out, STDERR: err}, missing
        if stream in self.stored:  # in another file, that write was over
            self.stored[stream] += min(length, max(0, size - before)) if inode == of else length
        return True

    def _look(self) -> tuple[int, int]:
        """Inode and size of the file; whether it ends in a line is known then."""
        with suppress(OSError), self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            self._in_line = file.read(1) not in (b"", b"\n")
            return os.fstat(file.fileno()).st_ino, size
        return 0, 0

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
        line = self._line(f"{self._missing} bytes of output are missing here")
        if self._append(_NEITHER, line) == len(line):
            self._missing = 0

    def _line(self, words: str) -> bytes:
        return f"{'' if not self._in_line else chr(10)}[gavotte: {words}]\n".encode()

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
