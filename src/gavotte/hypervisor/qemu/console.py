"""A guest's console: its tail for errors, a log file, and streams to attach to, all at once and all bounded."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from pathlib import Path

from gavotte.compat import override
from gavotte.qemu.fds import socketpair
from gavotte.qemu.rotation import RotatedFile
from gavotte.qemu.tail import Tail

__all__ = ["LOG_LIMIT", "Console"]

LOG_LIMIT = 4 << 20  # bytes of a log file; there are two, the older one with .1 behind its name

_HELD = 256 << 10  # bytes that wait for a slow viewer
_TYPED = 4096  # bytes that wait for a guest that doesn't read its console
_GREETING = 2048  # bytes of the past that a new viewer is shown
_PIECE = 64 << 10


class Console(Tail):
    """Reads the console's socket on the loop, and passes on what comes. Takes `fd` over.

    What the guest writes is kept as by `Tail`, appended to the file `log`, and sent to all that are attached; none of
    them can hold up the guest or each other.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, log: Path | None = None) -> None:
        super().__init__(loop, fd)
        self._log = None if log is None else _Log(log)
        self._viewers: set[_Viewer] = set()
        self._typed = bytearray()

    @property
    def log_problem(self) -> str:
        """Why there is no log any more; empty while there is one, and where none was asked for."""
        return self._log.problem if self._log else ""

    def attach(self) -> socket.socket:
        """A stream of the console, the caller's to read, write and close: first the last lines, then what comes.

        What is written to it is typed into the guest's console. A reader that is too slow misses the oldest, and finds
        a line in its place that says how much. The stream ends with the console. Raises HostError without a free fd.
        """
        theirs, ours = socketpair()
        ours.setblocking(False)
        viewer = _Viewer(self, self._loop, ours)
        past = self._kept[-_GREETING:]
        viewer.offer(bytes(past if len(past) == len(self._kept) else past.partition(b"\n")[2] or past))
        if self._fd < 0:
            viewer.finish()
        else:
            self._viewers.add(viewer)
        return theirs

    @override
    def close(self) -> None:
        """Take in what still comes, and close the log and all streams. A second call does nothing."""
        super().close()
        for viewer in [*self._viewers]:
            viewer.close()
        if self._log is not None:
            self._log.close()

    # --- from the guest -----------------------------------------------------------------------------------------------

    @override
    def _read(self) -> int:
        size = super()._read()
        if size:
            self._pass_on(bytes(self._kept[-size:]))
        return size

    def _pass_on(self, data: bytes) -> None:
        if self._log is not None and not self._log.problem:
            self._log.write(data)
            if self._log.problem:
                data += f"\r\n[gavotte: the console is logged no more: {self._log.problem}]\r\n".encode()
        for viewer in [*self._viewers]:
            viewer.offer(data)

    @override
    def _close(self) -> None:
        if self._fd >= 0 and not self._loop.is_closed():
            self._loop.remove_writer(self._fd)
        super()._close()
        for viewer in [*self._viewers]:
            viewer.finish()

    # --- to the guest -------------------------------------------------------------------------------------------------

    def room(self) -> int:
        """How many bytes may be typed now."""
        return 0 if self._fd < 0 else _TYPED - len(self._typed)

    def type(self, data: bytes) -> None:
        """Send to the guest, as fast as it reads; at most `room()` bytes."""
        self._typed += data
        self._send()

    def forget(self, viewer: _Viewer) -> None:
        """Send nothing more to that viewer."""
        self._viewers.discard(viewer)

    def _send(self) -> None:
        try:
            del self._typed[: os.write(self._fd, self._typed)]
        except BlockingIOError:
            pass  # the guest doesn't read now
        except OSError:
            self._typed.clear()  # the console is gone; the reader sees its end
        if self._typed:
            self._loop.add_writer(self._fd, self._send)
        else:
            self._loop.remove_writer(self._fd)
            for viewer in self._viewers:
                viewer.listen()


class _Viewer:
    """Our end of one attached stream."""

    def __init__(self, console: Console, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._console = console
        self._loop = loop
        self._sock = sock
        self._waiting = bytearray()
        self._sending = b""
        self._lost = 0
        self._ending = False
        self._hung_up = False
        self.listen()

    def offer(self, data: bytes) -> None:
        """Send it when the reader takes it, dropping the oldest of what waits when that is too much."""
        self._waiting += data
        excess = max(0, len(self._waiting) - _HELD)
        self._lost += excess
        del self._waiting[:excess]
        self._flush()

    def finish(self) -> None:
        """Close as soon as the reader has taken what waits."""
        self._ending = True
        self._flush()

    def listen(self) -> None:
        """Go on with reading what is typed."""
        if not self._hung_up and self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._on_typed)

    def close(self) -> None:
        """Close now. A second call does nothing."""
        self._console.forget(self)
        if self._sock.fileno() >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._sock)
                self._loop.remove_writer(self._sock)
            self._sock.close()

    def _on_typed(self) -> None:
        room = self._console.room()
        if room <= 0:
            self._loop.remove_reader(self._sock)  # until the guest has read
            return
        try:
            data = self._sock.recv(room)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._console.type(data)
        elif self._is_closed():
            self.close()
        else:  # it may still read: if it closes later, the next thing sent finds out
            self._hung_up = True
            self._loop.remove_reader(self._sock)
            self._flush()

    def _is_closed(self) -> bool:
        """Whether the other end has gone, and didn't just end what it types (poll(2), POLLHUP)."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def _flush(self) -> None:
        if self._sock.fileno() < 0:
            return
        try:
            while piece := self._next_piece():
                self._sending = piece[self._sock.send(piece) :]
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._flush)
        except OSError:
            self.close()
        else:
            self._loop.remove_writer(self._sock)
            if self._ending:
                self.close()

    def _next_piece(self) -> bytes:
        """What is to be sent next; the mark for what was lost is never cut."""
        if not self._sending:
            if self._lost:
                self._sending = f"\r\n[gavotte: {self._lost} bytes of the console were lost here]\r\n".encode()
                self._lost = 0
            else:
                self._sending = bytes(self._waiting[:_PIECE])
                del self._waiting[: len(self._sending)]
        return self._sending


class _Log:
    """A file that gets all that comes, until one day it can't."""

    def __init__(self, path: Path) -> None:
        self._file = RotatedFile(path, LOG_LIMIT)
        self.problem = ""
        try:
            self._file.open()  # now, so that there is a file though nothing comes, and no fd appears later
        except OSError as error:
            self.problem = error.strerror or str(error)

    def write(self, data: bytes) -> None:
        """Append it. When that fails, `problem` says why, and nothing more is ever written."""
        try:
            self._file.write(data)
        except OSError as error:
            self.problem = error.strerror or str(error)
            self.close()

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._file.close()
