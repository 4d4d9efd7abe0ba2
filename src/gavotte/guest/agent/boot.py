"""What the guest needs before and around the agent: mounts, the port, the disks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import socket
import struct
import sys

from gavotte.guest.agent import PAGE, PORT_NAME
from gavotte.guest.agent.devices import Devices
from gavotte.guest.agent.server import Agent
from gavotte.guest.agent.system import (
    HIDDEN,
    IFF_UP,
    MS_BIND,
    MS_MOVE,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    RB_POWER_OFF,
    SIOCGIFFLAGS,
    SIOCSIFFLAGS,
    checked,
    libc,
    log,
    mount,
    write_file,
)
from gavotte.guest.agent.world import enable_controllers

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Json


WRITABLE = "/run/writable"


class Boot:
    """What the guest needs before and around the agent: mounts, modules, the port, the disks."""

    ROOT = "/newroot"

    def __init__(self) -> None:
        self.cgroups: str | None = None
        self.devices = Devices()

    def early(self) -> None:
        """The agent's own /proc, /sys, /dev and cgroups; then the modules that the line to the host needs."""
        self.leave_rootfs()
        mount("proc", "/proc", "proc", HIDDEN)
        mount("sysfs", "/sys", "sysfs", HIDDEN)
        mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID)
        mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        self.protect()
        write_file("/proc/sys/vm/stat_interval", "60")  # else each second the kernel adds up what few ever read
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))  # five for each command; the stage has its own
        self.devices.listen()
        for name in ("virtio_pci", "virtio_console", "virtio_rng"):
            self.devices.load(name)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:  # ip link set lo up
            flags = struct.unpack_from("16sh", fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0)))[1]
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))

    def leave_rootfs(self) -> None:
        """Have a bind mount of the initramfs as root: the kernel pivots away from anything but the rootfs itself."""
        mount("/", self.ROOT, "", MS_BIND)
        os.chdir(self.ROOT)
        mount(".", "/", "", MS_MOVE)
        os.chroot(".")

    def protect(self) -> None:
        """First when memory is short (kept) and when the processor is (served)."""
        write_file("/proc/self/oom_score_adj", "-1000")
        try:
            top = "/sys/fs/cgroup"
            # favordynmods: else each move of a process into its cgroup waits for an RCU grace period, 20 ms and more
            mount("cgroup2", top, "cgroup2", HIDDEN, "favordynmods")
            names = enable_controllers(top)
            os.mkdir(f"{top}/agent")
            write_file(f"{top}/agent/cgroup.procs", str(os.getpid()))
            if "cpu" in names:
                write_file(f"{top}/agent/cpu.weight", "10000")
            self.cgroups = top
        except OSError as error:  # a kernel of the user's own may lack them: commands are then killed by group
            log(f"no cgroups: {error}")

    def make_root(self, wanted: dict[str, Json], memory: int, *, latent: bool = False) -> int:
        """Mount the root that commands get: an overlay of memory over the image's file system. Returns its size.

        `wanted` has "lower" (a directory of ours) or "serial" (of the disk that holds a file system of "fstype").
        `memory` is what commands have, in bytes. With `latent`, other virtio devices stay as they are.
        """
        lower = wanted.get("lower")
        if lower is None:
            if latent:
                from gavotte.guest.agent.latent import hold_back

                hold_back()
            for name in ("virtio_blk", wanted["fstype"]):
                self.devices.load(name)
            lower = "/run/lower"
            disk = self.find_root(wanted["serial"], latent)
            self.devices.root_disk = os.path.basename(disk)
            mount(disk, lower, wanted["fstype"], MS_RDONLY)
        self.devices.load("overlay")
        size = writable_size(memory)
        mount("tmpfs", WRITABLE, "tmpfs", 0, f"size={size},mode=755")
        for name in ("upper", "work"):
            os.makedirs(f"{WRITABLE}/{name}")
        data = f"lowerdir={lower},upperdir={WRITABLE}/upper,workdir={WRITABLE}/work"
        mount("overlay", self.ROOT, "overlay", 0, data)
        return size

    def find_root(self, serial: str, latent: bool) -> str:
        if not latent:
            return self.devices.wait_for("/sys/block", "serial", serial)
        from gavotte.guest.agent.latent import bind_root, let_go, load_drivers

        disk = bind_root(serial)
        load_drivers(self.devices)
        let_go()
        return disk

    def resize_root(self, memory: int) -> int:
        """Let the root follow what commands have, in bytes; gives its size, which stays if more is written already."""
        data = f"size={writable_size(memory)}".encode()
        try:
            checked(libc.mount(None, WRITABLE.encode(), None, ctypes.c_ulong(MS_REMOUNT), data), WRITABLE)
        except OSError as error:
            log(str(error))
        return self.root_size()

    def root_size(self) -> int:
        """Bytes that commands may write to their root."""
        status = os.statvfs(WRITABLE)
        return status.f_blocks * status.f_frsize


def writable_size(memory: int) -> int:
    """How much commands may write to their root, in bytes, if they have `memory`.

    Half of the guest's memory, tmpfs's own default, or less where they have little: beyond it writers get ENOSPC, not
    the OOM killer.
    """
    return min(os.sysconf("SC_PHYS_PAGES") * PAGE // 2, memory * 2 // 3)


def main() -> None:
    """Run as PID 1. Ends the machine when it can't go on: a guest without its agent is of no use."""
    try:
        boot = Boot()
        boot.early()
        path = boot.devices.wait_for("/sys/class/virtio-ports", "name", PORT_NAME)
        Agent(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), boot).run()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        log("the agent can't go on; switching the guest off")
    os.sync()
    libc.reboot(ctypes.c_int(RB_POWER_OFF))
