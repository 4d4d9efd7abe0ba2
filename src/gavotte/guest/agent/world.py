"""The stage's world: its namespaces and cgroup, and the root that commands see."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import time

from gavotte.guest.agent.packets import receive_packet, send_packet
from gavotte.guest.agent.renewal import name_root
from gavotte.guest.agent.stage import Stage
from gavotte.guest.agent.system import (
    HIDDEN,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    checked,
    libc,
    log,
    mount,
    pivot_into,
    read_file,
    write_file,
)

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from typing import NoReturn

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
CLONE_NEWCGROUP, CLONE_STAGE = 0x02000000, 0x2C020000  # STAGE: pid, mount, ipc and uts namespaces
NOFILE = (1024, 1 << 20)  # systemd's defaults for a service: soft for select(2), hard for those who ask


def furnish(root: str, cgroups: bool) -> None:
    """Mount in `root` what a program expects to find: /proc, /sys, /dev with pts and shm, /tmp, /run."""
    mount("proc", f"{root}/proc", "proc", HIDDEN)
    mount("sysfs", f"{root}/sys", "sysfs", HIDDEN)
    if cgroups:
        mount("cgroup2", f"{root}/sys/fs/cgroup", "cgroup2", HIDDEN)
    mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755,size=1m")
    old = os.umask(0)
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"{root}/dev/{name}", 0o020666, os.makedev(major, minor))
    os.umask(old)
    for name, target in LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    mount("devpts", f"{root}/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=666,mode=620,gid=5")
    mount("tmpfs", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for path in (f"{root}/run/lock", f"{root}/tmp"):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o1777)


def become_stage(control: socket.socket, root: str, hostname: str, cgroups: bool) -> NoReturn:
    """In the first process of the new namespaces: enter the user's root and serve."""
    try:
        if control.fileno() != 3:
            os.dup2(control.fileno(), 3, inheritable=False)
        control.detach()
        os.closerange(4, 1 << 20)
        control = socket.socket(fileno=3)
        checked(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "private mounts")
        furnish(root, cgroups)
        pivot_into(root)
        socket.sethostname(hostname)
        name_root("", hostname)
        resource.setrlimit(resource.RLIMIT_NOFILE, NOFILE)
        directory = os.open("/sys/fs/cgroup", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if cgroups else None
        send_packet(control, {"op": "ready"})
        Stage(control, directory).run()
    except BaseException as error:
        log(f"the stage ended: {error}")
    os._exit(1)


class StageHandle:
    """The agent's side of one stage: its pid and the line to it."""

    def __init__(self, root: str, hostname: str, memory: int, cgroups: str | None) -> None:
        """`memory`: what all commands get, in bytes; `cgroups`: where cgroup2 is mounted. OSError if none comes."""
        self.cgroup = f"{cgroups}/stage-{time.monotonic_ns()}" if cgroups else None
        if self.cgroup:
            os.makedirs(f"{self.cgroup}/init")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = self._spawn(theirs, root, hostname)
        finally:
            theirs.close()
        self.control.settimeout(30)
        try:
            receive_packet(self.control)
        except (EOFError, ConnectionResetError, TimeoutError):
            self.kill()
            raise OSError(errno.EAGAIN, "the stage did not come up; the console says why") from None
        self.control.settimeout(None)
        if self.cgroup:  # leave the agent memory and processor time to answer with, whatever a command does
            write_file(f"{self.cgroup}/init/cgroup.procs", str(self.pid))
            enable_controllers(self.cgroup)
            self.limit(memory)

    def limit(self, memory: int) -> None:
        """Let all commands together have so many bytes, where the kernel can tell."""
        if self.cgroup and os.path.exists(f"{self.cgroup}/memory.max"):
            write_file(f"{self.cgroup}/memory.max", str(memory))

    def _spawn(self, control: socket.socket, root: str, hostname: str) -> int:
        """Fork twice: unshare(CLONE_NEWPID) is for children, and its caller could do so only once."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        middle = os.fork()
        if middle == 0:
            try:
                flags = CLONE_STAGE
                if self.cgroup:  # the namespace's root is the cgroup that its maker is in
                    write_file(f"{self.cgroup}/cgroup.procs", "0")
                    flags |= CLONE_NEWCGROUP
                checked(libc.unshare(flags), "unshare")
                stage = os.fork()
                if stage == 0:
                    signal.set_wakeup_fd(-1)
                    become_stage(control, root, hostname, self.cgroup is not None)
                os.write(theirs, b"%d" % stage)
            except BaseException as error:
                log(f"no stage: {error}")
            os._exit(0)
        os.close(theirs)
        os.waitpid(middle, 0)
        said = os.read(ours, 32)
        os.close(ours)
        return int(said or -1)

    def kill(self) -> None:
        """End the stage, and with PID 1 of its namespace all that is in it (pid_namespaces(7))."""
        try:
            os.kill(self.pid, signal.SIGKILL) if self.pid > 0 else None
        except ProcessLookupError:
            pass


def enable_controllers(cgroup: str) -> set[str]:
    """Let the children of `cgroup` have what we use of its controllers; gives which those are."""
    names = {"cpu", "memory", "pids"} & set(read_file(f"{cgroup}/cgroup.controllers").split())
    write_file(f"{cgroup}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(names)))
    return names
