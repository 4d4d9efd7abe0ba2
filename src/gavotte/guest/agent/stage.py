"""The stage: PID 1 of the commands' namespaces, which starts every command."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import termios
from collections import namedtuple

from gavotte.guest.agent.loop import Loop
from gavotte.guest.agent.nodes import Nodes
from gavotte.guest.agent.packets import NONSENSE, Refusal, problem, receive_packet, send_packet
from gavotte.guest.agent.system import close_all, ended_children, log, read_file, write_file

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from typing import NoReturn

    from gavotte.guest.agent import Json

User = namedtuple("User", "name uid gid groups home shell")


def table(path: str) -> list[list[str]]:
    """The rows of a colon-separated file such as /etc/passwd; none when there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return [line.rstrip("\n").split(":") for line in file if ":" in line]
    except OSError:
        return []


def find_user(wanted: str) -> User:
    """`wanted` is NAME, UID, NAME:GROUP or UID:GID, as in `docker run --user`. Read from the root's own passwd."""
    name, _, group = wanted.partition(":")
    passwd, groups = table("/etc/passwd"), table("/etc/group")
    uid = next((int(row[2]) for row in passwd if len(row) > 2 and row[0] == name), None)
    gid = next((int(row[2]) for row in groups if len(row) > 2 and row[0] == group), None)
    for number, word, what in ((uid, name, "user"), (gid, group or "0", "group")):
        if number is None and not (word.isascii() and word.isdecimal()):
            raise Refusal("no-user", f"the guest has no {what} {word!r}")
    uid = int(name) if uid is None else uid
    row = next((row for row in passwd if len(row) > 6 and row[2] == str(uid)), None)
    row = row or [name, "x", str(uid), "0", "", "/", "/bin/sh"]
    gid = gid if gid is not None else int(group or row[3] or 0)
    extra = [int(g[2]) for g in groups if len(g) > 3 and g[2].isdecimal() and row[0] in g[3].strip().split(",")]
    return User(row[0], uid, gid, sorted({gid, *extra}), row[5] or "/", row[6] or "/bin/sh")


def environment(user: User, wanted: dict[str, str], tty: bool) -> dict[str, str]:
    """What a login would set (login(1), Debian's login.defs ENV_SUPATH and ENV_PATH), then what was asked for."""
    path = "/usr/local/bin:/usr/bin:/bin"
    if user.uid == 0:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {"PATH": path, "HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell}
    env |= {"LANG": "C.UTF-8"} | ({"TERM": "xterm-256color"} if tty else {})
    return {**env, **wanted}


def execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """execvp(3) without its shell fallback, with what went wrong as a Refusal: 127 and 126 as a shell would say."""
    program = argv[0]
    paths = [program] if "/" in program else [f"{d or '.'}/{program}" for d in env.get("PATH", "").split(":")]
    denied = ""
    for path in paths:
        try:
            os.execve(path, argv, env)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.exists(path):
                denied = denied or f"{path}: its interpreter is missing"
        except OSError as error:
            denied = denied or f"{path}: {error.strerror}"
    if denied:
        raise Refusal("not-executable", denied)
    where = "" if "/" in program else f" in PATH ({env.get('PATH', '')})"
    raise Refusal("not-found", f"{program!r} was not found{where}")


# A command as the stage sees it. `report` is a pipe that closes at exec; before that it may say why there was none
Job = namedtuple("Job", "number pid report group")


class Stage:
    """PID 1 of the commands' namespaces. Starts commands, reaps everything, says how each ended."""

    def __init__(self, control: socket.socket, cgroup: int | None) -> None:
        self.loop = Loop()
        self.control = control
        self.cgroup = cgroup  # a directory fd, so that what a command mounts over the path doesn't matter
        self.nodes = Nodes()
        self.jobs: dict[int, Job] = {}
        self.unconfirmed: set[int] = set()  # commands that may still fail to start
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
        number = message["id"]
        try:
            if message["op"] == "exec":
                self.start(number, message, fds)
            elif message["op"] == "nodes":
                self.nodes.update(message["nodes"])
            elif number in self.jobs:
                self.send_signal(self.jobs[number], message["signal"])
        except (Refusal, OSError, *NONSENSE) as error:
            send_packet(self.control, {"op": "failed", "id": number, **problem(error)})
        finally:
            close_all(fds)

    def start(self, number: int, request: Json, fds: list[int]) -> None:
        user = find_user(request["user"])
        master, slave = open_terminal(request["tty"]) if request["tty"] else (-1, -1)
        try:
            self.jobs[number] = job = self.fork(number, request, user, [slave] * 3 if request["tty"] else fds)
            self.unconfirmed.add(number)
            self.loop.watch(job.report, select.EPOLLIN, lambda _events: self.confirm(job))
            if master >= 0:
                send_packet(self.control, {"op": "terminal", "id": number}, [master])
        finally:
            close_all((master, slave))

    def fork(self, number: int, request: Json, user: User, stdio: list[int]) -> Job:
        group = self.make_group(number)
        report, theirs = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self.become(request, user, stdio, group, theirs)
        close_all((theirs, group))
        return Job(number, pid, report, f"c{number}")

    def become(self, request: Json, user: User, stdio: list[int], group: int, report: int) -> NoReturn:
        """In the child: become the command, or report why not."""
        try:
            if group >= 0:
                write_file("cgroup.procs", "0", group)
            os.setsid()
            for target, fd in enumerate(stdio):
                os.dup2(fd, target)
            if request["tty"]:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            write_file("/proc/self/oom_score_adj", "0")
            for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, a command doesn't
                signal.signal(ignored, signal.SIG_DFL)
            os.setgroups(user.groups)
            os.setgid(user.gid)
            os.setuid(user.uid)
            os.umask(0o022)
            try:
                os.chdir(request["cwd"] or user.home)
            except OSError as error:
                if request["cwd"]:
                    raise Refusal("no-cwd", f"can't enter {request['cwd']!r}: {error.strerror}") from None
                os.chdir("/")  # as login(1) does for a user without a home
            execute(request["argv"], environment(user, request["env"], bool(request["tty"])))
        except BaseException as error:
            os.write(report, json.dumps(problem(error)).encode()[:4096])
        finally:
            os._exit(127)

    def confirm(self, job: Job) -> None:
        """The report pipe has something: nothing (exec closed it: started) or the reason why not."""
        if job.number not in self.unconfirmed:  # the pipe's fd may be another command's by now
            return
        self.unconfirmed.discard(job.number)
        said = os.read(job.report, 4096)
        self.loop.close(job.report)
        if not said:
            send_packet(self.control, {"op": "started", "id": job.number, "pid": job.pid})
            return
        del self.jobs[job.number]
        self.remove_group(job.group)
        send_packet(self.control, {"op": "failed", "id": job.number, **json.loads(said)})

    def reap(self) -> None:
        for pid, code in ended_children():
            for job in [job for job in self.jobs.values() if job.pid == pid]:
                self.finish(job, code)
        for group in [group for group, exited in self.killed.items() if exited and self.is_empty(group)]:
            send_packet(self.control, self.killed.pop(group))
            self.remove_group(group)

    def finish(self, job: Job, code: int) -> None:
        self.confirm(job)  # a child that ended before we saw its exec
        if self.jobs.pop(job.number, None) is None:
            return
        outcome = {"signal": -code} if code < 0 else {"status": code}
        exited = {"op": "exited", "id": job.number, **outcome, **self.accidents(job.group)}
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
        for kill in (os.killpg, os.kill) if job.number in self.unconfirmed else (os.killpg,):
            try:
                kill(job.pid, number)
            except ProcessLookupError:
                pass  # it ended just now, or has no group of its own yet: then the other reaches it

    # cgroups (Documentation/admin-guide/cgroup-v2.rst)

    def make_group(self, number: int) -> int:
        """A directory fd of the command's new cgroup, or -1 where there are no cgroups."""
        if self.cgroup is None:
            return -1
        for name in list(self.leftover):
            self.remove_group(name)
        os.mkdir(f"c{number}", dir_fd=self.cgroup)
        group = os.open(f"c{number}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.cgroup)
        write_file("pids.max", str(int(read_file("/proc/sys/kernel/threads-max")) // 2), group)
        return group

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


def open_terminal(size: list[int]) -> tuple[int, int]:
    """A new pseudo terminal of this root's devpts: (master, slave), with `size` as [rows, columns]."""
    master, slave = os.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    return master, slave
