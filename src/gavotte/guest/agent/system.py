"""System calls that Python 3.11 has no function for, and the small things around files and processes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 8192, 16384, 1 << 18
HIDDEN = MS_NOSUID | MS_NODEV | MS_NOEXEC  # of file systems that only tell about the kernel
MS_RDONLY, MS_REMOUNT, MNT_DETACH = 1, 32, 2
SYSCALLS = {"ppc64le": (353, 203), "s390x": (344, 217), "x86_64": (313, 155)}  # newer ones: asm-generic/unistd.h
SYS_FINIT_MODULE, SYS_PIVOT_ROOT = SYSCALLS.get(os.uname().machine, (273, 41))
RB_POWER_OFF, F_SETPIPE_SZ = 0x4321FEDC, 1031
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """`result`, or OSError with errno's text and `what` when it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2); makes the target directory."""
    os.makedirs(target, exist_ok=True)
    checked(libc.mount(source.encode(), target.encode(), fstype.encode(), ctypes.c_ulong(flags), data.encode()), target)


def pivot_into(root: str) -> None:
    """Make `root` the root of this mount namespace and let go of the old one (pivot_root(2), NOTES)."""
    os.chdir(root)
    checked(libc.syscall(ctypes.c_long(SYS_PIVOT_ROOT), b".", b"."), f"pivot_root {root}")
    checked(libc.umount2(b".", MNT_DETACH), "old root")
    os.chdir("/")


def write_file(path: str, text: str, dir_fd: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644, dir_fd=dir_fd)
    with open(fd, "wb", buffering=0) as file:
        file.write(text.encode())


def read_file(path: str, dir_fd: int | None = None, limit: int = 1 << 16) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd), "rb", buffering=0) as file:
        return (file.read(limit) or b"").decode(errors="replace")


def log(text: str) -> None:
    """A line on the console, where the host keeps the tail for its error messages."""
    try:
        os.write(2, f"gavotte-agent: {text}\n".encode(errors="replace"))
    except OSError:
        pass  # the console is a courtesy


def ended_children() -> Iterator[tuple[int, int]]:
    """(pid, exit code) of each child that has ended; -n for signal n."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)
