"""The end of what a child wrote: all of it is read, the last part is kept."""

from __future__ import annotations

import asyncio
import os

from gavotte.text import harmless

__all__ = ["QUOTED", "Tail"]

_KEPT = 64 * 1024
_SHOWN = 2048  # characters
QUOTED = 300  # characters that an error quotes of it, which has to say what failed and what to do as well
_PIPE = 1024 * 1024  # the most that a pipe holds unless root says otherwise (pipe(7))


class Tail:
    """Reads a pipe on the loop, and keeps the last 64 KiB. Takes `fd` over."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._kept = bytearray()
        self._some = asyncio.Event()
        os.set_blocking(fd, False)
        loop.add_reader(fd, self._on_readable)

    @property
    def text(self) -> str:
        """What is kept, as it was written; what is not UTF-8 is replaced."""
        return self._kept.decode(errors="replace")

    async def wait_for_some(self) -> None:
        """Wait until anything was written."""
        await self._some.wait()

    def last_lines(self, most: int = _SHOWN) -> str:
        """Gives the last lines, whole ones if possible and harmless to a terminal, with `most` characters."""
        text = self.text.strip().replace("\r\n", "\n")
        if len(text) > most:
            text = text[-most:]
            text = text.partition("\n")[2] or text
        return "\n".join(map(harmless, text.split("\n")))

    def drain(self) -> None:
        """Reads what is in the pipe now."""
        left = _PIPE  # bounded: a grandchild may hold the pipe and go on writing
        while self._fd >= 0 and left > 0 and (got := self._read()):
            left -= got

    def close(self) -> None:
        """Reads what still is in the pipe, and closes it. A second call does nothing."""
        self.drain()
        self._close()

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> int:
        """Takes in one piece, giving its size; 0 when there is nothing now, or ever."""
        try:
            data = os.read(self._fd, _KEPT)
        except BlockingIOError:
            return 0
        except ConnectionResetError:  # a socket's other end went with something unread
            data = b""
        if not data:
            self._close()
            return 0
        self._kept += data
        self._some.set()
        del self._kept[:-_KEPT]
        return len(data)

    def _close(self) -> None:
        if self._fd >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
