"""The stage: PID 1 of the commands' namespaces, which makes every process that becomes a command, and reaps all."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
from collections import namedtuple

from gavotte.guest.agent.become import Known, find_root, stand_by
from gavotte.guest.agent.loop import Loop
from gavotte.guest.agent.nodes import Nodes
from gavotte.guest.agent.packets import NONSENSE, problem, receive_packet, send_packet
from gavotte.guest.agent.system import (
    F_SETPIPE_SZ,
    MS_NODEV,
    MS_NOSUID,
    MS_REMOUNT,
    checked,
    close_all,
    ended_children,
    libc,
    log,
    read_file,
    write_file,
)

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from typing import NoReturn

    from gavotte.guest.agent import Json

ROOMS = MS_NOSUID | MS_NODEV  # what they are mounted with, which a remount has to say again
PIPE = 1 << 20  # bytes that a command's output pipe holds

Job = namedtuple("Job", "pid group")  # a process of ours, which is a command or stands by to become one


def make_room(size: int) -> None:
    """Have the file systems in memory that commands share be so large, in bytes; not less than what is in them."""
    for path in ("/dev/shm", "/run"):
        try:
            data = f"size={size}".encode()
            checked(libc.mount(None, path.encode(), None, ctypes.c_ulong(MS_REMOUNT | ROOMS), data), path)
        except OSError as error:  # a command may have unmounted it
            log(str(error))


class Stage:
    """PID 1 of the commands' namespaces. Has a process ready for each command, reaps everything, says how each ended.

    The agent is given the ends of a process that stands by, and tells it itself which command to be: that way the start
    of a command, which somebody waits for, needs nothing of the stage.
    """

    def __init__(self, control: socket.socket, cgroup: int | None) -> None:
        self.loop = Loop()
        self.control = control
        self.cgroup = cgroup  # a directory fd, so that what a command mounts over the path doesn't matter
        self.nodes = Nodes()
        self.jobs: dict[int, Job] = {}
        self.groups = 0  # made so far
        self.root: Known | None = None
        self.most = str(int(read_file("/proc/sys/kernel/threads-max")) // 2)  # processes of a command
        self.killed: dict[str, Json] = {}  # by cgroup: the end to report when all in it have ended
        self.leftover: set[str] = set()  # cgroups of ended commands that processes still live in

    def run(self) -> NoReturn:
        self.loop.watch_children(self.reap)
        self.loop.watch(self.control.fileno(), select.EPOLLIN, self.on_control)
        while True:
            self.loop.run_once()

    def on_control(self, _events: int) -> None:
        try:
            message, fds = receive_packet(self.control)
        except EOFError:
            os._exit(0)
        try:
            if message["op"] == "standby":
                self.make_standby()
            elif message["op"] == "nodes":
                self.nodes.update(message["nodes"])
            elif message["op"] == "room":
                make_room(message["size"])
            elif message["pid"] in self.jobs:
                self.send_signal(self.jobs[message["pid"]], message["signal"])
        except (OSError, *NONSENSE) as error:
            log(f"{message['op']}: {error}")
        finally:
            close_all(fds)

    def make_standby(self) -> None:
        """Have a process stand by, and give the agent its line and the ends of its pipes; or say why there is none."""
        ours: list[int] = []
        theirs: list[int] = []
        group = -1
        try:
            name, group = self.make_group()
            self.root = find_root(self.root)
            line, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.append(line.detach())
            theirs.append(child.detach())
            for number in range(3):
                reader, writer = os.pipe2(os.O_CLOEXEC)
                ours.append(reader if number else writer)
                theirs.append(writer if number else reader)
                if number:
                    fcntl.fcntl(reader, F_SETPIPE_SZ, PIPE)
            pid = os.fork()
            if pid == 0:
                close_all(ours)
                stand_by(socket.socket(fileno=theirs[0]), theirs[1:], group, self.root)
            self.jobs[pid] = Job(pid, name)
            # Without cgroups nobody knows what an ended command has left running
            company = len(self.jobs) > 1 or bool(self.leftover) or self.cgroup is None
            send_packet(self.control, {"op": "standby", "pid": pid, "company": company}, ours)
        except OSError as error:
            send_packet(self.control, {"op": "no-standby", "pid": 0, **problem(error)})
        finally:
            close_all((*ours, *theirs, group))

    def reap(self) -> None:
        for pid, code in ended_children():
            if job := self.jobs.pop(pid, None):
                self.finish(job, code)
        for group in [group for group, exited in self.killed.items() if exited and self.is_empty(group)]:
            send_packet(self.control, self.killed.pop(group))
            self.remove_group(group)

    def finish(self, job: Job, code: int) -> None:
        outcome = {"signal": -code} if code < 0 else {"status": code}
        exited = {"op": "exited", "pid": job.pid, **outcome, **self.accidents(job.group)}
        if job.group in self.killed:
            self.killed[job.group] = exited
        else:
            send_packet(self.control, exited)
            self.remove_group(job.group)

    def send_signal(self, job: Job, number: int) -> None:
        """To the command's process group; SIGKILL to all that it left behind as well, wherever they hid."""
        try:
            if number == signal.SIGKILL and self.cgroup is not None:
                write_file(f"{job.group}/cgroup.kill", "1", self.cgroup)
                self.killed[job.group] = None
        except OSError as error:  # a kernel without cgroup.kill: the process group has to do
            log(str(error))
        for kill in (os.killpg, os.kill):
            try:
                kill(job.pid, number)
                return
            except ProcessLookupError:
                pass  # it ended just now, or has no group of its own yet: then the other reaches it

    # cgroups (Documentation/admin-guide/cgroup-v2.rst)

    def make_group(self) -> tuple[str, int]:
        """The name of a command's new cgroup, and a directory fd of it, -1 where there are no cgroups."""
        self.groups += 1
        name = f"c{self.groups}"
        if self.cgroup is None:
            return name, -1
        for old in list(self.leftover):
            self.remove_group(old)
        os.mkdir(name, dir_fd=self.cgroup)
        group = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.cgroup)
        write_file("pids.max", self.most, group)
        return name, group

    def is_empty(self, group: str) -> bool:
        try:
            return "populated 0" in read_file(f"{group}/cgroup.events", self.cgroup)
        except OSError:
            return True

    def remove_group(self, name: str) -> None:
        if self.cgroup is None:
            return
        try:
            os.rmdir(name, dir_fd=self.cgroup)
            self.leftover.discard(name)
        except OSError:
            self.leftover.add(name)  # something that the command left running lives there

    def accidents(self, group: str) -> dict[str, int]:
        """What the kernel did to the command: processes killed for want of memory, forks denied."""
        found = {}
        for key, name, word in (("oom_kills", "memory.events", "oom_kill"), ("forks_denied", "pids.events", "max")):
            try:
                count = int(dict(line.split() for line in read_file(f"{group}/{name}", self.cgroup).splitlines())[word])
            except (OSError, ValueError, LookupError):
                continue  # a kernel without that controller
            if count:
                found[key] = count
        return found
