"""What a process in the guest does to become a command: prepared as far as it can be, then told which."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import termios
from collections import namedtuple

from gavotte.guest.agent.packets import Refusal, await_packet, problem, send_packet
from gavotte.guest.agent.system import write_file

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from typing import NoReturn

    from gavotte.guest.agent import Json

User = namedtuple("User", "name uid gid groups home shell")

Known = namedtuple("Known", "signature user")  # a user, and what the tables of users were when that was so

ROOT = "0"  # whom commands run as unless told otherwise


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


def signature() -> list[tuple[int, int, int]]:
    """What tells whether the tables of users are still the same."""
    found = []
    for path in ("/etc/passwd", "/etc/group"):
        try:
            status = os.stat(path)
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((0, 0, 0))
    return found


def stand_by(line: socket.socket, stdio: list[int], group: int, root: Known | None) -> NoReturn:
    """Do all that doesn't depend on the command, wait on `line` to be told which it is, and become it.

    `stdio` are the ends of its pipes, `group` a directory fd of its cgroup, or -1; `root` is what is known of that
    user. `line` closes when the command runs; before that it may carry a terminal's other end, or say why there is no
    command.
    """
    try:
        if group >= 0:
            write_file("cgroup.procs", "0", group)
        os.setsid()
        write_file("/proc/self/oom_score_adj", "0")
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, a command doesn't
            signal.signal(ignored, signal.SIG_DFL)
        os.umask(0o022)
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        if root is not None:
            take_on(root.user, "")
        send_packet(line, {"op": "ready"})
        become(*await_packet(line), line, null, root)
    except EOFError:
        pass  # the agent has no use for it any more
    except BaseException as error:
        send_packet(line, {"op": "failed", **problem(error)})
    finally:
        os._exit(127)


def find_root(known: Known | None) -> Known | None:
    """Who root is, if what is known isn't true any more; None where there is none."""
    now = signature()
    try:
        return known if known is not None and known.signature == now else Known(now, find_user(ROOT))
    except (Refusal, ValueError):
        return None  # the command is told why


def become(request: Json, unchanged: bool, line: socket.socket, null: int, root: Known | None) -> NoReturn:
    """Become the command. Raises Refusal and OSError where that can't be. `unchanged`: the tables of users are."""
    known = root is not None and request["user"] == ROOT and (unchanged or root.signature == signature())
    user = root.user if root and known else find_user(request["user"])
    if request["tty"]:
        take_terminal(line, request["tty"])
    elif not request["stdin"]:
        os.dup2(null, 0)
    if not known or request["cwd"]:
        take_on(user, request["cwd"])
    for fd in () if request["tty"] else request.get("closed", ()):
        os.close(fd)
    execute(request["argv"], environment(user, request["env"], bool(request["tty"])))


def take_on(user: User, cwd: str) -> None:
    """Be that user, in that directory, or at home."""
    os.setgroups(user.groups)
    os.setgid(user.gid)
    os.setuid(user.uid)
    try:
        os.chdir(cwd or user.home)
    except OSError as error:
        if cwd:
            raise Refusal("no-cwd", f"can't enter {cwd!r}: {error.strerror}") from None
        os.chdir("/")  # as login(1) does for a user without a home


def take_terminal(line: socket.socket, size: list[int]) -> None:
    """Have a new pseudo terminal of this root's devpts, of [rows, columns], in place of the pipes."""
    master, slave = os.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    send_packet(line, {"op": "terminal"}, [master])
    for target in range(3):
        os.dup2(slave, target)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
