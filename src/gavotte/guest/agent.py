"""The guest agent: PID 1 of the guest, in one file that needs nothing but the standard library.

The host imports this file too, for the frames: there is no second copy of the format.

    frame    12-byte header, then the payload
    header   >HBBII   magic, kind, stream, channel, length of the payload

A channel is a number that the host picks for each request. A command's three streams go over the channel of the
request that started it, each with credit: a sender may have at most as many bytes under way as the receiver has
granted, so memory stays flat at both ends whatever the speeds are.

    agent            PID 1: owns the line to the host, the disks, and the stage
    └── stage        PID 1 of namespaces of its own, pivoted into the user's root; starts every command
        └── command  each a session and a cgroup of its own, so that killing it leaves nothing behind

A command that kills everything it can see (`kill -9 -1`, `reboot -f`) reaches the stage at most. That is reported,
and a new stage takes over. None of this is the security boundary: the virtual machine is.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
import time
from collections import deque, namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Json = Any  # decoded: the shape is checked where it is used

PROTOCOL, PORT_NAME = 1, "gavotte.agent"

# --- frames: shared with the host ------------------------------------------------------------------------------------

MAGIC = 0x4756
HEADER = struct.Struct(">HBBII")
MAX_PAYLOAD = 4 << 20  # a request carries argv and env, which Linux bounds at about 2 MiB (execve(2), ARG_MAX)
PAGE, CHUNK = os.sysconf("SC_PAGE_SIZE"), 64 << 10  # CHUNK: the largest DATA payload that either end sends
WINDOW = 1 << 20  # initial credit of each stream
RESERVE = 32 << 20  # bytes kept from commands: with less, the guest reads its programs over and over, not running any
REST = 0.002  # seconds that a busy pipe is left to fill: without it each page that a command writes is a frame

HELLO = 1  # agent -> host, once: {"protocol": 1, "kernel": …}
REQUEST, REPLY = 2, 3  # host -> agent: {"op": …}; answered on the same channel by REPLY or ERROR
ERROR = 4  # {"code": …, "message": …}; on channel 0: about no request in particular
DATA = 5
EOF = 6  # the sender has no more for this stream
CREDIT = 7  # the receiver grants so many more bytes: payload >I
CLOSE = 8  # the receiver wants no more of this stream
EXIT = 9  # the command of this channel is over: {"status": n} | {"signal": n} | {"lost": why}, and what befell it
NOTICE = 10  # agent -> host, on channel 0: something happened that no request asked for

STDIN, STDOUT, STDERR = 0, 1, 2

Frame = namedtuple("Frame", "kind channel stream payload")


def encode(kind: int, channel: int = 0, payload: bytes = b"", stream: int = 0) -> bytes:
    """One frame as bytes."""
    return HEADER.pack(MAGIC, kind, stream, channel, len(payload)) + payload


def encode_json(kind: int, channel: int, value: Json) -> bytes:
    """One frame whose payload is `value` as JSON. Lone surrogates (bytes of a path that isn't UTF-8) survive."""
    return encode(kind, channel, json.dumps(value, separators=(",", ":")).encode())


class Decoder:
    """Bytes in, frames out. What isn't a frame is skipped up to the next header and counted in `skipped`."""

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self.limit = limit
        self.skipped = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order. Holds at most one frame of `limit` bytes back."""
        buffer = self._buffer
        buffer += data
        frames = []
        start = 0
        while len(buffer) - start >= HEADER.size:
            magic, kind, stream, channel, length = HEADER.unpack_from(buffer, start)
            if magic != MAGIC or length > self.limit:
                start = self._resync(start + 1)
                continue
            end = start + HEADER.size + length
            if len(buffer) < end:
                break
            frames.append(Frame(kind, channel, stream, bytes(buffer[start + HEADER.size : end])))
            start = end
        del buffer[:start]
        return frames

    def _resync(self, start: int) -> int:
        found = self._buffer.find(MAGIC.to_bytes(2, "big"), start)
        if found < 0:  # the last byte may be the first of a header
            found = max(start, len(self._buffer) - 1)
        self.skipped += found - start + 1
        return found


# --- system calls that Python 3.11 has no function for ---------------------------------------------------------------

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 8192, 16384, 1 << 18
HIDDEN = MS_NOSUID | MS_NODEV | MS_NOEXEC  # of file systems that only tell about the kernel
MS_RDONLY, MNT_DETACH = 1, 2
CLONE_NEWCGROUP, CLONE_STAGE = 0x02000000, 0x2C020000  # STAGE: pid, mount, ipc and uts namespaces
SYSCALLS = {"ppc64le": (353, 203), "s390x": (344, 217), "x86_64": (313, 155)}  # newer ones: asm-generic/unistd.h
SYS_FINIT_MODULE, SYS_PIVOT_ROOT = SYSCALLS.get(os.uname().machine, (273, 41))
RB_POWER_OFF, F_SETPIPE_SZ = 0x4321FEDC, 1031
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP, NETLINK_KOBJECT_UEVENT = 0x8913, 0x8914, 1, 15
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


def read_file(path: str, dir_fd: int | None = None) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd), "rb", buffering=0) as file:
        return (file.read(1 << 16) or b"").decode(errors="replace")


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


class Backlog:
    """Bytes that wait for an fd to take them."""

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.size = 0

    def add(self, data: bytes) -> None:
        self.queue.append(data)
        self.size += len(data)

    def write_to(self, fd: int) -> int:
        """Write what `fd` takes now; gives how much that was. Raises OSError as write(2), but for EAGAIN."""
        before = self.size
        try:
            while self.queue:
                written = os.write(fd, self.queue[0])
                self.size -= written
                self.queue[0] = self.queue[0][written:]
                if not self.queue[0]:
                    self.queue.popleft()
        except BlockingIOError:
            pass
        return before - self.size


# --- the event loop --------------------------------------------------------------------------------------------------


class Loop:
    """epoll with one callback for each fd. Blocks when nothing happens; never polls."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._resting: dict[int, Callable[[], None]] = {}
        self._rested = 0.0  # when the fds that rest have rested enough

    def watch(self, fd: int, mask: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever one of `mask` holds; a later call replaces the mask. 0 stops watching."""
        known = self._masks.get(fd, 0)
        if known == mask:
            return
        if not mask:
            self._epoll.unregister(fd)
            del self._masks[fd], self._callbacks[fd]
            return
        (self._epoll.modify if known else self._epoll.register)(fd, mask)
        self._masks[fd], self._callbacks[fd] = mask, callback

    def close(self, fd: int) -> None:
        """Stop watching `fd` and close it."""
        self.watch(fd, 0, lambda _events: None)
        os.close(fd)

    def rest(self, fd: int, resume: Callable[[], None]) -> None:
        """Leave `fd` alone for a moment, so that more gathers in it, then call `resume()`."""
        self.watch(fd, 0, lambda _events: None)
        if not self._resting:
            self._rested = time.monotonic() + REST
        self._resting[fd] = resume

    def run_once(self) -> None:
        timeout = max(0.0, self._rested - time.monotonic()) if self._resting else None
        for fd, events in self._epoll.poll(timeout):
            callback = self._callbacks.get(fd)
            if callback is not None:  # an earlier callback of this round may have closed it
                callback(events)
        if self._resting and time.monotonic() >= self._rested:
            resting, self._resting = self._resting, {}
            for resume in resting.values():
                resume()

    def watch_children(self, callback: Callable[[], None]) -> None:
        """Call `callback()` after any SIGCHLD."""
        ours, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

        def woken(_events: int) -> None:
            os.read(ours, 4096)
            callback()

        self.watch(ours, select.EPOLLIN, woken)


# --- messages between agent and stage: one JSON document a packet, with fds ------------------------------------------

LARGEST_PACKET = 64 << 10  # well below the kernel's default socket buffer


def send_packet(sock: socket.socket, value: Json, fds: Sequence[int] = ()) -> None:
    """Send `value` and `fds`. What is too large for a packet goes in a memfd, first among the fds."""
    data = json.dumps(value).encode()
    if len(data) <= LARGEST_PACKET:
        socket.send_fds(sock, [data], list(fds))
        return
    memfd = os.memfd_create("packet")
    try:
        os.write(memfd, data)
        socket.send_fds(sock, [b"@"], [memfd, *fds])
    finally:
        os.close(memfd)


def receive_packet(sock: socket.socket) -> tuple[Json, list[int]]:
    """The next message and its fds; EOFError when the other end has gone."""
    data, fds, _flags, _address = socket.recv_fds(sock, LARGEST_PACKET + 1, 8)
    for fd in fds:  # recv_fds of Python 3.11 ignores its flags
        os.set_inheritable(fd, False)
    if not data:
        raise EOFError
    if data != b"@":
        return json.loads(data), fds
    memfd = fds.pop(0)
    try:
        return json.loads(os.pread(memfd, os.fstat(memfd).st_size, 0)), fds
    finally:
        os.close(memfd)


# --- stage: starts commands ------------------------------------------------------------------------------------------


class Refusal(Exception):
    """A request that can't be met; `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


NONSENSE = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, struct.error, RecursionError)


def problem(error: BaseException) -> dict[str, str]:
    """What an ERROR frame says of it."""
    code = error.code if isinstance(error, Refusal) else "os" if isinstance(error, OSError) else "invalid"
    return {"code": code, "message": str(error)[:300]}


def close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


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


# --- the stage's world -----------------------------------------------------------------------------------------------

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
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
        write_file("/etc/hostname", f"{hostname}\n")
        write_file("/etc/hosts", f"127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost\n")
        write_file("/etc/machine-id", os.urandom(16).hex() + "\n")
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
            if "memory" in enable_controllers(self.cgroup):
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


# --- streams ---------------------------------------------------------------------------------------------------------


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
    """What a command writes; its bytes go to the host as far as there is credit."""

    def __init__(self, agent: Agent, channel: int, stream: int, fd: int, credit: int) -> None:
        super().__init__(agent, channel, fd)
        self.stream, self.credit = stream, credit
        self.left: int | None = None  # after the command's end: what it had written and is still to be read
        self.update()

    def update(self) -> None:
        """Watch the fd exactly when its bytes could be sent on."""
        if self.fd >= 0:
            self.agent.loop.watch(self.fd, select.EPOLLIN if self.credit > 0 else 0, self.on_ready)

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
            self.agent.send(encode(EOF, self.channel, stream=self.stream))
            self.agent.finish_if_done(self.channel)
            return
        self.credit -= len(data)
        if self.left is not None:
            self.left -= len(data)
        self.agent.send(encode(DATA, self.channel, data, self.stream))
        if self.left == 0:  # not by waiting for an end: a process in the background may hold the pipe open
            self.on_ready(0)
        elif PAGE <= len(data) < CHUNK and self.left is None:
            self.agent.loop.rest(self.fd, self.update)
        else:
            self.update()

    def end(self) -> None:
        """The command is over: what it wrote is still delivered; what others write from now on isn't waited for."""
        if self.fd >= 0:
            self.left = struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))[0]
            self.update() if self.left else self.on_ready(0)


class Inlet(Stream):
    """What a command reads; the host's bytes wait here, never more than the window."""

    def __init__(self, agent: Agent, channel: int, fd: int, terminal: bool) -> None:
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
        if self.terminal and not self.ended:  # a terminal has no end of its own: say it with Ctrl-D, as a person would
            self.backlog.add(b"\x04\x04")  # twice: the first only sends off a line that has no end
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
        if self.ended and not waiting:
            self.close()
        else:
            self.agent.loop.watch(self.fd, select.EPOLLOUT if waiting else 0, self.on_ready)


class Command:
    """One command as the agent sees it."""

    def __init__(self) -> None:
        self.inlet: Inlet | None = None
        self.outlets: dict[int, Outlet] = {}
        self.exit: dict[str, Json] | None = None

    def close(self) -> None:
        for stream in filter(None, (self.inlet, *self.outlets.values())):
            stream.close()


# --- agent -----------------------------------------------------------------------------------------------------------


def check_exec(request: dict[str, Json]) -> None:
    """Refuse a field of the wrong type here: the stage, which all commands hang on, relies on them."""
    texts = [request["cwd"], request["user"], *request["argv"], *request["env"].values()]
    numbers = [request["window"] >> 16, *(request["tty"] or (24, 80))]
    good = type(request["argv"]) is list and request["argv"] and all(type(text) is str for text in texts)
    if not good or len(numbers) != 3 or not all(type(n) is int and 0 <= n < 1 << 16 for n in numbers):
        raise Refusal("malformed", "argv, env, cwd and user are text; window and the two of tty are numbers")


class Agent:
    """Serves the host over `port`: one event loop, never blocking on any one command."""

    def __init__(self, port: int, boot: Boot) -> None:
        self.loop = Loop()
        self.port = port
        self.boot = boot
        self.decoder = Decoder()
        self.commands: dict[int, Command] = {}
        self.stage: StageHandle | None = None
        self.world: tuple[str, str, int] | None = None  # root, hostname and memory, for a new stage
        self.backlog = Backlog()
        self.open = True

    def run(self) -> None:
        """Serve until the line is closed for good (a stream socket's end; a virtio port only pauses)."""
        os.set_blocking(self.port, False)
        self.loop.watch_children(self.reap)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a PID 1, also the stage, ignores what it has no handler for
        # Edge-triggered: a virtio port whose host is away reports EPOLLHUP for as long as that lasts
        self.loop.watch(self.port, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET, self.on_port)
        self.send(encode_json(HELLO, 0, {"protocol": PROTOCOL, "kernel": os.uname().release, "agent": os.getpid()}))
        while self.open:
            self.loop.run_once()
        if self.stage:
            self.stage.kill()

    # the line to the host

    def send(self, frame: bytes) -> None:
        """Send it as soon as the port takes it. What waits is bounded by the credit of all streams."""
        self.backlog.add(frame)
        self.flush()

    def flush(self) -> None:
        try:
            self.backlog.write_to(self.port)
        except (BrokenPipeError, ConnectionResetError):
            self.open = False

    def on_port(self, _events: int) -> None:
        self.flush()
        while True:
            try:
                data = os.read(self.port, CHUNK)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self.open = os.fstat(self.port).st_mode & 0o170000 == 0o020000  # a character device
                return
            skipped = self.decoder.skipped
            frames = self.decoder.feed(data)
            if self.decoder.skipped > skipped:
                self.refuse(0, "malformed", f"{self.decoder.skipped - skipped} bytes that are no frame were skipped")
            for frame in frames:
                self.handle(frame)

    def handle(self, frame: Frame) -> None:
        """Act on one frame. Whatever is wrong with it is answered, and the next one is served."""
        try:
            if frame.kind == REQUEST:
                self.request(frame.channel, json.loads(frame.payload))
            elif frame.kind in (DATA, EOF, CREDIT, CLOSE):
                self.stream(frame)
            else:
                raise Refusal("malformed", f"frames of kind {frame.kind} aren't for the agent")
        except (Refusal, OSError) as error:
            self.refuse(frame.channel, **problem(error))
        except NONSENSE as error:
            self.refuse(frame.channel, "malformed", f"the request makes no sense: {error!r}")

    def refuse(self, channel: int, code: str, message: str) -> None:
        self.send(encode_json(ERROR, channel, {"code": code, "message": message}))

    def request(self, channel: int, request: dict[str, Json]) -> None:
        operation = getattr(self, f"op_{request['op']}", None)
        if operation is None:
            raise Refusal("unknown", f"the agent has no operation {request['op']!r}")
        answer = operation(channel, request)
        if answer is not None:
            self.send(encode_json(REPLY, channel, answer))

    def stream(self, frame: Frame) -> None:
        command = self.commands.get(frame.channel)
        if command is None:
            return  # it ended while this was under way
        outlet = command.outlets.get(frame.stream)
        if frame.kind == CREDIT and outlet:
            outlet.credit += struct.unpack(">I", frame.payload)[0]
            outlet.update()
        elif frame.kind == CLOSE and outlet:
            outlet.close()
            self.finish_if_done(frame.channel)
        elif frame.kind == DATA and command.inlet:
            command.inlet.feed(frame.payload)
        elif frame.kind == EOF and command.inlet:
            command.inlet.end()

    # operations

    def op_setup(self, _channel: int, request: dict[str, Json]) -> Json:
        """Set the clock, make the user's root and start the stage. Replies with the writable root's size in bytes."""
        if self.stage is not None:
            raise Refusal("state", "the guest is set up already")
        time.clock_settime(time.CLOCK_REALTIME, float(request["time"]))
        memory = max(os.sysconf("SC_AVPHYS_PAGES") * PAGE - RESERVE, RESERVE)
        size = self.boot.make_root(request["root"], memory)
        self.world = (self.boot.ROOT, request["hostname"], memory)
        self.start_stage()
        return {"root_size": size}

    def start_stage(self) -> None:
        if self.world is None:
            raise Refusal("state", "the guest isn't set up yet")
        self.stage = StageHandle(*self.world, self.boot.cgroups)
        self.loop.watch(self.stage.control.fileno(), select.EPOLLIN, self.on_stage)

    def tell(self, stage: StageHandle, message: Json, fds: Sequence[int] = ()) -> None:
        """Send, and take in what the stage says meanwhile: if both waited to be read, they would for ever."""
        poll = select.poll()
        poll.register(stage.control, select.POLLIN | select.POLLOUT)
        while not poll.poll()[0][1] & (select.POLLOUT | select.POLLHUP):
            self.on_stage(0)
        send_packet(stage.control, message, fds)

    def op_exec(self, channel: int, request: dict[str, Json]) -> Json:
        if channel in self.commands:
            raise Refusal("state", f"channel {channel} is in use")
        if self.stage is None:
            raise Refusal("state", "there is no stage to start commands in")
        check_exec(request)
        command = Command()
        theirs: list[int] = []
        try:
            if not request["tty"]:
                self.make_pipes(channel, command, bool(request["stdin"]), int(request["window"]), theirs)
            self.commands[channel] = command
            words = ("op", "argv", "env", "cwd", "user", "tty", "window")
            self.tell(self.stage, {"id": channel, **{word: request[word] for word in words}}, theirs)
        except BaseException:
            command.close()
            self.commands.pop(channel, None)
            raise
        finally:
            close_all(theirs)
        return None  # the stage will say

    def make_pipes(self, channel: int, command: Command, stdin: bool, window: int, theirs: list[int]) -> None:
        """Connect the command's three streams; its ends go into `theirs`."""
        if stdin:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            theirs.append(reader)
            command.inlet = Inlet(self, channel, writer, terminal=False)
        else:
            theirs.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        for stream in (STDOUT, STDERR):
            ours, writer = os.pipe2(os.O_CLOEXEC)
            theirs.append(writer)
            command.outlets[stream] = Outlet(self, channel, stream, ours, window)
            fcntl.fcntl(ours, F_SETPIPE_SZ, 1 << 20)

    def op_signal(self, channel: int, request: dict[str, Json]) -> Json:
        """To the process group of the command on channel `target`; SIGKILL reaches all that it started."""
        number = request["signal"]
        if type(number) is not int or not 0 <= number <= 64:
            raise Refusal("malformed", f"there is no signal {number!r}")
        if request["target"] in self.commands and self.stage is not None:
            self.tell(self.stage, {"op": "signal", "id": int(request["target"]), "signal": number})
        return {}

    def op_window(self, channel: int, request: dict[str, Json]) -> Json:
        """The terminal of the command on channel `target` has a new size."""
        command = self.commands.get(request["target"])
        outlet = command.outlets.get(STDOUT) if command else None
        if outlet is not None and outlet.fd >= 0:
            fcntl.ioctl(outlet.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *request["size"], 0, 0))
        return {}

    def op_sync(self, _channel: int, _request: dict[str, Json]) -> Json:
        """End every command and write all that is unwritten: after the reply the machine may be switched off."""
        self.world = None
        if self.stage is not None:
            self.stage.kill()
        os.sync()
        return {}

    # what the stage says

    def on_stage(self, _events: int) -> None:
        if self.stage is None:
            return
        try:
            message, fds = receive_packet(self.stage.control)
        except (EOFError, ConnectionResetError):
            self.loop.watch(self.stage.control.fileno(), 0, self.on_stage)
            return  # its end follows
        channel = message["id"]
        command = self.commands.get(channel)
        if command is None:
            close_all(fds)
        elif message["op"] == "terminal":
            command.inlet = Inlet(self, channel, os.dup(fds[0]), terminal=True)
            command.outlets[STDOUT] = Outlet(self, channel, STDOUT, fds[0], WINDOW)
        elif message["op"] == "started":
            self.send(encode_json(REPLY, channel, {"pid": message["pid"]}))
        elif message["op"] == "failed":
            del self.commands[channel]
            command.close()
            self.refuse(channel, message["code"], message["message"])
        else:
            self.end_command(channel, {k: v for k, v in message.items() if k not in ("op", "id")})

    def end_command(self, channel: int, outcome: dict[str, Json]) -> None:
        command = self.commands[channel]
        command.exit = outcome
        if command.inlet:
            command.inlet.close()
        for outlet in list(command.outlets.values()):
            outlet.end()
        self.finish_if_done(channel)

    def finish_if_done(self, channel: int) -> None:
        command = self.commands.get(channel)
        if command and command.exit is not None and all(o.fd < 0 for o in command.outlets.values()):
            del self.commands[channel]
            self.send(encode_json(EXIT, channel, command.exit))

    def reap(self) -> None:
        for pid, code in ended_children():
            if self.stage is not None and pid == self.stage.pid:
                self.on_stage_end(self.stage, code)

    def on_stage_end(self, stage: StageHandle, code: int) -> None:
        """All commands went with it. Say so, and start another, so that the guest remains of use."""
        why = f"the stage, which runs the guest's commands, ended with status {code}"
        if code in (-signal.SIGHUP, -signal.SIGINT):  # pid_namespaces(7), "reboot(2)"
            why = "a command called reboot, halt or poweroff; it ended all commands, not the guest"
        if self.world is not None:
            log(why)
        self.loop.close(stage.control.detach())
        self.stage = None
        for channel in list(self.commands):
            self.end_command(channel, {"lost": why})
        self.send(encode_json(NOTICE, 0, {"event": "stage-ended", "why": why}))
        if self.world is not None:
            try:
                self.start_stage()
            except OSError as error:  # the next command will be told that there is none
                log(str(error))


# --- boot ------------------------------------------------------------------------------------------------------------


class Boot:
    """What the guest needs before and around the agent: mounts, modules, the port, the disks."""

    ROOT = "/newroot"

    def __init__(self) -> None:
        self.cgroups: str | None = None
        self.uevents: socket.socket | None = None
        self._modules: dict[str, list[str]] | None = None
        self._loaded: set[str] = set()

    def early(self) -> None:
        """The agent's own /proc, /sys, /dev and cgroups; then the modules that the line to the host needs."""
        self.leave_rootfs()
        mount("proc", "/proc", "proc", HIDDEN)
        mount("sysfs", "/sys", "sysfs", HIDDEN)
        mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID)
        mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        self.protect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))  # five for each command; the stage has its own
        self.uevents = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
        self.uevents.bind((0, 1))
        for name in ("virtio_pci", "virtio_console", "virtio_rng"):
            self.load(name)
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

    def load(self, name: str) -> None:
        """Load a module and what it needs, as /modules.json orders them; nothing for one that is built in."""
        if self._modules is None:
            with open("/modules.json", encoding="utf-8") as file:
                self._modules = json.load(file)
        for path in self._modules.get(name, []):
            if path in self._loaded:
                continue
            with open(f"/{path}", "rb", buffering=0) as file:
                fd, flags = ctypes.c_long(file.fileno()), ctypes.c_long(0)
                try:
                    checked(libc.syscall(ctypes.c_long(SYS_FINIT_MODULE), fd, b"", flags), path)
                except OSError as error:  # for a kernel of the user's own: what is missing is missed soon enough
                    if error.errno != errno.EEXIST:
                        log(str(error))
            self._loaded.add(path)

    def wait_for(self, base: str, attribute: str, wanted: str, seconds: float = 10) -> str:
        """What `find_device` finds, as soon as a kernel event announces it. OSError after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            found = find_device(base, attribute, wanted)
            if found is not None:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or self.uevents is None:
                raise OSError(errno.ETIMEDOUT, f"no device with {attribute} {wanted!r} appeared in {base}")
            if select.select([self.uevents], [], [], left)[0]:
                self.uevents.recv(16384)

    def make_root(self, wanted: dict[str, Json], memory: int) -> int:
        """Mount the root that commands get: an overlay of memory over the image's file system. Returns its size.

        `wanted` has "lower" (a directory of ours) or "serial" (of the disk that holds a file system of "fstype").
        The size is half of the guest's memory, tmpfs's own default, or less where `memory`, which commands have, is
        little: beyond it writers get ENOSPC, not the OOM killer.
        """
        lower = wanted.get("lower")
        if lower is None:
            for name in ("virtio_blk", wanted["fstype"]):
                self.load(name)
            lower = "/run/lower"
            mount(self.wait_for("/sys/block", "serial", wanted["serial"]), lower, wanted["fstype"], MS_RDONLY)
        self.load("overlay")
        size = min(os.sysconf("SC_PHYS_PAGES") * PAGE // 2, memory * 2 // 3)
        mount("tmpfs", "/run/writable", "tmpfs", 0, f"size={size},mode=755")
        for name in ("upper", "work"):
            os.makedirs(f"/run/writable/{name}")
        data = f"lowerdir={lower},upperdir=/run/writable/upper,workdir=/run/writable/work"
        mount("overlay", self.ROOT, "overlay", 0, data)
        return size


def find_device(base: str, attribute: str, wanted: str) -> str | None:
    """The node of the device below `base` whose `attribute` says `wanted`; None as long as there is none."""
    for name in os.listdir(base) if os.path.isdir(base) else []:
        try:
            if read_file(f"{base}/{name}/{attribute}").strip() == wanted and os.path.exists(f"/dev/{name}"):
                return f"/dev/{name}"
        except OSError:
            continue  # a device without that attribute
    return None


def main() -> None:
    """Run as PID 1. Ends the machine when it can't go on: a guest without its agent is of no use."""
    try:
        boot = Boot()
        boot.early()
        path = boot.wait_for("/sys/class/virtio-ports", "name", PORT_NAME)
        Agent(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), boot).run()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        log("the agent can't go on; switching the guest off")
    os.sync()
    libc.reboot(ctypes.c_int(RB_POWER_OFF))
