"""A command's streams on the agent's side: its pipes or terminal, with the host's credit."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios

from gavotte.guest.agent import CHUNK, CLOSE, CREDIT, DATA, EOF, PAGE, STDIN, WINDOW, encode
from gavotte.guest.agent.loop import Backlog
from gavotte.guest.agent.packets import Refusal

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Json
    from gavotte.guest.agent.server import Agent
    from gavotte.guest.agent.terminal import TerminalEnd

MOST_OF_ARGV = 4096  # characters that are kept of a command's argv, to tell commands apart by


class Stream:
    """One end of a command's pipe or terminal; `fd` is -1 once it is closed."""

    def __init__(self, agent: Agent, channel: int, fd: int) -> None:
        self.agent, self.channel, self.fd = agent, channel, fd
        os.set_blocking(fd, False)

    def close(self) -> None:
        if self.fd >= 0:
            self.agent.loop.close(self.fd)
            self.fd = -1


class Outlet(Stream):
    """What a command writes; its bytes go to the host as far as there is credit.

    With `retain`, those that the host has had, and given no new credit for, are kept as well: another manager may ask
    for them. That is a window at most.
    """

    def __init__(
        self,
        agent: Agent,
        channel: int,
        stream: int,
        fd: int,
        credit: int,
        terminal: bool = False,
        retain: bool = False,
    ) -> None:
        super().__init__(agent, channel, fd)
        self.stream, self.credit, self.terminal = stream, credit, terminal
        self.left: int | None = None  # after the command's end: what it had written and is still to be read
        self.retained = bytearray() if retain else None
        self.released = 0  # bytes of the stream that came before the retained ones
        self.ended = False  # whether the host was told so
        self.update()

    def grant(self, count: int) -> None:
        self.credit += count
        self.release(count)
        self.update()

    def release(self, count: int) -> None:
        """So many of the retained bytes are the host's for good."""
        if self.retained:
            self.released += min(count, len(self.retained))
            del self.retained[:count]

    def update(self) -> None:
        """Watch the fd exactly when its bytes could be sent on."""
        drains = self.terminal and self.left is not None
        if self.fd >= 0:
            self.agent.loop.watch(self.fd, select.EPOLLIN if self.credit > 0 and not drains else 0, self.on_ready)
        while drains and self.fd >= 0 and self.credit > 0:  # until EAGAIN: no event would tell that nothing is left
            self.on_ready(0)

    def on_ready(self, _events: int) -> None:
        size = min(self.credit, CHUNK if self.left is None else min(CHUNK, self.left))
        try:
            data = os.read(self.fd, size) if size else b""
        except OSError as error:  # EIO: the last holder of a terminal's slave has gone
            if error.errno == errno.EAGAIN and self.left is None:
                return
            data = b""
        if not data:
            self.close()
            self.ended = True
            self.agent.send(encode(EOF, self.channel, stream=self.stream))
            self.agent.finish_if_done(self.channel)
            return
        self.credit -= len(data)
        if self.left is not None:
            self.left -= len(data)
        if self.retained is not None:
            self.retained += data
        self.agent.send(encode(DATA, self.channel, data, self.stream))
        if self.left == 0:  # not by waiting for an end: a process in the background may hold the pipe open
            self.on_ready(0)
        elif PAGE <= len(data) < CHUNK and self.left is None:
            self.agent.loop.rest(self.fd, self.update)
        elif self.left is None or not self.terminal:
            self.update()

    def end(self) -> None:
        """The command is over: what it wrote is still delivered; what others write from now on isn't waited for."""
        if self.fd >= 0:
            # A terminal has more on its way than FIONREAD counts (8 KiB, pty.c); read(2) waits for that, so ask it.
            waiting = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))[0]
            self.left = CHUNK if self.terminal else waiting
            self.update() if self.left else self.on_ready(0)


class Inlet(Stream):
    """What a command reads; the host's bytes wait here, never more than the window.

    A terminal's is held until the command has ended: the last one that holds it hangs it up (pty.c, pty_close).
    """

    def __init__(self, agent: Agent, channel: int, fd: int, terminal: TerminalEnd | None = None) -> None:
        super().__init__(agent, channel, fd)
        self.terminal = terminal
        self.backlog = Backlog()
        self.ended = False
        self.owed = 0  # written since the last CREDIT

    def feed(self, data: bytes) -> None:
        if self.fd < 0:
            return  # the command closed its stdin; the host has been told
        if self.backlog.size + len(data) > WINDOW:
            raise Refusal("credit", f"{self.backlog.size + len(data)} bytes sent to stdin, {WINDOW} granted")
        self.backlog.add(data)
        self.on_ready(0)

    def end(self) -> None:
        self.ended = True
        self.on_ready(0)

    def on_ready(self, _events: int) -> None:
        if self.fd < 0:
            return
        try:
            self.owed += self.backlog.write_to(self.fd)
        except OSError:  # EPIPE: the command reads no more
            self.agent.send(encode(CLOSE, self.channel, stream=STDIN))
            self.close()
            return
        waiting = self.backlog.size > 0
        if self.owed >= WINDOW // 4 or (self.owed and not waiting):
            self.agent.send(encode(CREDIT, self.channel, struct.pack(">I", self.owed)))
            self.owed = 0
        if not self.ended or waiting:
            self.agent.loop.watch(self.fd, select.EPOLLOUT if waiting else 0, self.on_ready)
        elif self.terminal:
            self.terminal.begin()
        else:
            self.close()


class Command:
    """One command as the agent sees it."""

    def __init__(self, argv: list[str], tty: bool, retain: bool = False) -> None:
        self.argv, self.tty = shortened(argv, MOST_OF_ARGV), tty
        self.retain = retain and not tty
        self.pid = 0  # until it is known to run
        self.process = 0  # which process it is, or is about to be
        self.unwanted: set[int] = set()  # streams that were closed before they came to be
        self.inlet: Inlet | None = None
        self.outlets: dict[int, Outlet] = {}
        self.exit: dict[str, Json] | None = None

    def starts_on_terminal(self) -> bool:
        """Whether its streams are still to come."""
        return self.tty and not self.outlets and self.exit is None

    def stdin_credit(self) -> int | None:
        """How many bytes its stdin takes now; None when it takes no more."""
        if self.inlet is None or self.inlet.fd < 0 or self.inlet.ended:
            return WINDOW if self.starts_on_terminal() else None
        return WINDOW - self.inlet.backlog.size

    def close(self) -> None:
        for stream in filter(None, (self.inlet, *self.outlets.values())):
            stream.close()
        self.inlet = None
        if not self.retain:
            self.outlets = {}


def shortened(argv: list[str], room: int) -> list[str]:
    """The first words of `argv`, of at most `room` characters together, and never none."""
    words = []
    for word in argv:
        if room <= 0:
            break
        words.append(word[:room])
        room -= len(word) + 1
    return words
