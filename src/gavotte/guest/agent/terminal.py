"""The input of a command's terminal, and how its end is told: a terminal has none of its own.

In canonical mode its VEOF character says it, to one read(2); so it is written again as often as it was read. In other
modes (termios(3), "Canonical and noncanonical mode") a program gets the character itself, which shells that edit lines
take for the end, too. One that goes on reading is hung up.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios

from gavotte.guest.agent.system import read_file

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent.server import Agent

# asm-generic/ioctls.h: these aren't in `termios`
TIOCGPTPEER = {"ppc64le": 0x20005441}.get(os.uname().machine, 0x5441)
TIOCVHANGUP = {"ppc64le": 0x20005437}.get(os.uname().machine, 0x5437)

PAUSE = 0.03  # seconds after a read in which the reader comes to read again, or to change the mode
LONGEST_PAUSE = 0.5
MOST_REFUSED = 16  # ends that are read in a mode that knows none; bash's IGNOREEOF takes ten


class TerminalEnd:
    """Tells a command that nothing more is typed into its terminal, which `fd` is the other end of."""

    def __init__(self, agent: Agent, fd: int) -> None:
        self.agent, self.fd = agent, fd
        self.refused = 0
        self.pause = PAUSE

    def begin(self) -> None:
        """All that was typed is in the terminal."""
        # Edge-triggered: whoever reads from a terminal wakes those who write to it (n_tty_check_unthrottle)
        self.agent.loop.watch(self.fd, select.EPOLLOUT | select.EPOLLET, self.on_read)
        self.rest()

    def on_read(self, _events: int) -> None:
        self.pause = PAUSE
        self.rest()

    def rest(self) -> None:
        self.agent.loop.later(self.fd, self.pause, self.tell_end)

    def tell_end(self) -> None:
        """Write the character, if somebody waits for input and there is none left. Else do so when that is read."""
        try:
            if self.has_input():
                return
            if self.is_busy():
                self.pause = min(2 * self.pause, LONGEST_PAUSE)
                self.rest()
                return
            mode = termios.tcgetattr(self.fd)
            character, canonical = mode[6][termios.VEOF], bool(mode[3] & termios.ICANON)
            self.refused += not canonical
            if character == b"\0" or self.refused > MOST_REFUSED:  # _POSIX_VDISABLE: there is no such character
                self.hang_up()
            else:
                os.write(self.fd, character)
        except OSError:
            pass  # nobody has the terminal any more

    def has_input(self) -> bool:
        """Whether something is left to be read: an end, too, which FIONREAD doesn't count."""
        with self.peer() as slave:
            count: int = struct.unpack("i", fcntl.ioctl(slave, termios.FIONREAD, bytes(4)))[0]
            return count > 0 or bool(select.select([slave], [], [], 0)[0])

    def is_busy(self) -> bool:
        """Whether the process in the foreground does something else than to wait."""
        try:
            stat = read_file(f"/proc/{os.tcgetpgrp(self.fd)}/stat")
        except OSError:  # it has ended; others of its group may read
            return False
        return stat.rpartition(")")[2].split()[0] in ("R", "D")

    def hang_up(self) -> None:
        """As when a modem is: those in the foreground get SIGHUP, and who reads finds nothing but the end."""
        with self.peer() as slave:
            fcntl.ioctl(slave, TIOCVHANGUP)

    def peer(self) -> Peer:
        return Peer(fcntl.ioctl(self.fd, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))


class Peer:
    """The command's end, opened for a moment: kept open, it would keep the terminal from ending with its command."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
