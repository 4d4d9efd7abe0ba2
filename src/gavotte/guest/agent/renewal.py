"""What makes a copy of a guest one of its own: its random numbers, its clock, its name.

A guest that is copied stands still where its template stood: the same random numbers would come next, and the wall
clock would go on from that moment. Sources: random(4); Linux, drivers/char/random.c and uts_namespaces(7).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time

from gavotte.guest.agent import SEED_LENGTH
from gavotte.guest.agent.packets import Refusal
from gavotte.guest.agent.system import checked, close_all, libc, write_file

_PPC = os.uname().machine.startswith("ppc")  # which numbers its ioctls in its own way
RNDADDENTROPY = 0x80085203 if _PPC else 0x40085203
RNDRESEEDCRNG = 0x20005207 if _PPC else 0x5207

CLONE_NEWUTS = 0x04000000


def reseed(seed: bytes) -> None:
    """Have all random numbers from now on depend on `seed`: those of the kernel, and of who asks it for some."""
    if len(seed) < SEED_LENGTH:
        raise Refusal("malformed", f"a seed has {SEED_LENGTH} bytes at least, not {len(seed)}")
    fd = _held[0] if _held else _open_random()
    try:
        fcntl.ioctl(fd, RNDADDENTROPY, struct.pack(f"ii{len(seed)}s", len(seed) * 8, len(seed), seed))
        fcntl.ioctl(fd, RNDRESEEDCRNG)
    finally:
        if not _held:
            os.close(fd)


def hold_random() -> None:
    """Have the kernel's generator open from now on: a copy of a guest has no time for that."""
    if not _held:
        _held.append(_open_random())


def _open_random() -> int:
    return os.open("/dev/urandom", os.O_RDWR | os.O_CLOEXEC)


_held: list[int] = []


def set_clock(seconds: float) -> None:
    """Step the wall clock to that time since 1970. The monotonic one goes on."""
    time.clock_settime(time.CLOCK_REALTIME, float(seconds))


def shift_clock(seconds: float) -> None:
    """Step it by so much: by as long as the guest stood still. However late this comes, the clock is right then."""
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + float(seconds))


def name_root(root: str, hostname: str) -> None:
    """What a root says of its machine: its name, and a number that no other machine has (machine-id(5))."""
    for path, text in names(hostname).items():
        write_file(root + path, text)


def names(hostname: str) -> dict[str, str]:
    """The files that say who a machine is."""
    return {
        "/etc/hostname": f"{hostname}\n",
        "/etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost\n",
        "/etc/machine-id": os.urandom(16).hex() + "\n",
    }


class Identity:
    """Who the machine is, as its commands see it. What it is changed by is opened beforehand: a copy has no time."""

    def __init__(self, root: str, stage: int, hostname: str) -> None:
        """`root` is where the commands' root is, `stage` a process in their namespaces; its `hostname` is the old one.
        One of the same length is quicker to change to."""
        self.lengths = {path: len(text) for path, text in names(hostname).items()}
        self.files = {path: os.open(root + path, os.O_WRONLY | os.O_CLOEXEC) for path in self.lengths}
        self.ours = os.open("/proc/self/ns/uts", os.O_RDONLY | os.O_CLOEXEC)
        self.theirs = os.open(f"/proc/{stage}/ns/uts", os.O_RDONLY | os.O_CLOEXEC)

    def change(self, hostname: str) -> None:
        """Be another from now on, and not be able to be a third."""
        self.rename_host(hostname)
        for path, text in names(hostname).items():
            fd = self.files[path]
            written = os.pwrite(fd, text.encode(), 0)
            if written != self.lengths[path]:
                os.ftruncate(fd, written)
        close_all((*self.files.values(), self.ours, self.theirs))

    def rename_host(self, hostname: str) -> None:
        checked(libc.setns(self.theirs, CLONE_NEWUTS), "setns")
        try:
            socket.sethostname(hostname)
        finally:
            checked(libc.setns(self.ours, CLONE_NEWUTS), "setns")
