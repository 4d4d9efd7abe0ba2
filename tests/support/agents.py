"""The real guest agent on this host, without a VM: PID 1 of namespaces of its own, served over a socketpair.

Its root is an overlay over the host's, which lives in memory and ends with the process. Being in a pid namespace of
its own before the agent makes the commands' one, nothing that a test does can reach the host's processes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from gavotte.guest import agent
from tests.support.leaks import exempt

__all__ = [
    "DEADLINE",
    "PYTHON",
    "SETUP",
    "AgentProcess",
    "Line",
    "Outcome",
    "Refused",
    "SharedGuest",
    "exec_fields",
    "guest",
    "shared_guest",
    "skip_unless_possible",
]

DEADLINE = 10.0  # seconds after which a test is stuck

PYTHON = os.fspath(Path(sys.executable).resolve())  # not a virtual environment's, which may be on another file system

# The wall clock is the host's: it is set to no effect (CLOCK_MONOTONIC: EINVAL), with the real checks of the value.
CHILD = """
import os, resource, sys, time
sys.path.insert(0, sys.argv[1])
from gavotte.guest.agent import boot, online, server, system, world
port = int(sys.argv[2])

def set_no_clock(_clock, seconds, really=time.clock_settime):
    try:
        really(time.CLOCK_MONOTONIC, seconds)
    except OSError:
        pass

class HostBoot(boot.Boot):
    ROOT = "/run/root"

    def __init__(self):
        super().__init__()
        self.devices._order = {}  # the host's modules aren't its business

system.checked(system.libc.unshare(0x20020000), "unshare")  # CLONE_NEWPID | CLONE_NEWNS
flags = system.ctypes.c_ulong(system.MS_REC | system.MS_PRIVATE)
system.checked(system.libc.mount(b"none", b"/", None, flags, None), "private mounts")
child = os.fork()
if child:
    os.close(port)
    os.write(1, b"%d" % child)
    os.close(1)
    os._exit(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
os.close(1)
system.libc.prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
system.mount("proc", "/proc", "proc")
system.mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
time.clock_settime = set_no_clock
os.sync = lambda: None  # nor are its disks the agent's business
online.CPUS = online.MEMORY = "/nowhere"  # the host's are not to be switched
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
world.NOFILE = (min(world.NOFILE[0], hard), hard)  # not every host lets root raise it
server.Agent(port, HostBoot()).run()
"""

OVERLAY = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/u /run/w /run/root
mount -t overlay -o lowerdir=/,upperdir=/run/u,workdir=/run/w overlay /run/root
"""


@functools.cache
def _why_impossible() -> str:
    if os.geteuid() != 0:
        return "needs root, for namespaces and mounts"
    unshare = shutil.which("unshare")
    if unshare is None:
        return "needs util-linux's unshare"
    command = [unshare, "--mount", "--pid", "--fork", "sh", "-c", OVERLAY]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    return f"this host allows no overlay in a namespace: {tried.stderr.strip()}" if tried.returncode else ""


def skip_unless_possible() -> None:
    """Skip the test, with the reason, where the agent can't run on the host."""
    if reason := _why_impossible():
        pytest.skip(reason)


class AgentProcess:
    """An agent on this host, owned. `sock` is the host's end of its line; closing every copy of it ends the agent."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # owned: `close` closes it
        self.sock, theirs = socket.socketpair()
        folder = os.fspath(Path(agent.__file__).parents[3])
        with theirs:
            self._outer = subprocess.Popen(
                [PYTHON, "-SE", "-W", "error", "-c", CHILD, folder, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
            )
        assert self._outer.stdout is not None
        with self._outer.stdout as said:
            number = said.read()
        assert number, self.log()
        self.pid = int(number)  # the agent's, as the host sees it

    def log(self) -> str:
        """What the agent wrote on its console."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def open_fds(self) -> int:
        """How many file descriptors the agent holds."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def comes_to_hold(self, count: int) -> bool:
        """Whether it holds so many in the end: the process that stands by for the next command is made by and by."""
        until = time.monotonic() + DEADLINE
        while self.open_fds() != count and time.monotonic() < until:
            os.sched_yield()
        return self.open_fds() == count

    def stage_pid(self) -> int:
        """The stage's process id, as the host sees it."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        assert len(children) == 1, children
        return int(children[0])

    def children_of_stage(self) -> list[int]:
        """The processes that the stage has, as the host sees them; one stands by when none is a command."""
        stage = self.stage_pid()
        return [int(pid) for pid in Path(f"/proc/{stage}/task/{stage}/children").read_text().split()]

    def close(self) -> int:
        """End it; gives its exit status, which is 0 when it left by itself."""
        self.sock.close()
        try:
            return self._outer.wait(DEADLINE)
        finally:
            self._outer.kill()
            self._outer.wait()
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Refused(Exception):
    """The agent answered ERROR."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass
class Outcome:
    """What came back over a command's channel."""

    stdout: bytes = b""
    stderr: bytes = b""
    exit: dict[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        return int(self.exit["status"])


class Line:
    """The host's end of the line to an agent, as bare as it gets: frames, in blocking calls with a deadline."""

    def __init__(self, process: AgentProcess) -> None:
        self.process = process
        self.pending: deque[agent.Frame] = deque()  # arrived, and not taken by a test
        self._sock = process.sock
        self._sock.settimeout(DEADLINE)
        self._decoder = agent.Decoder()
        self._last = 0

    @classmethod
    def taken_over(cls, process: AgentProcess, token: bytes, number: int, request: dict[str, Any]) -> Line:
        """A line for whoever has that token. What was on it before the answer to this is read away."""
        process.sock.sendall(agent.encode_takeover(token, number, request))
        needle = token + agent.encode(agent.REPLY, number)[: agent.HEADER.size - 4]
        buffer = b""
        while needle not in buffer:
            piece = process.sock.recv(1 << 16)
            assert piece, process.log()
            buffer += piece
        line = cls(process)
        line.pending.extend(line._decoder.feed(buffer[buffer.index(needle) + len(token) :]))
        return line

    def new_channel(self) -> int:
        self._last += 1
        return self._last

    def send(self, kind: int, channel: int = 0, payload: bytes = b"", stream: int = 0) -> None:
        self.send_bytes(agent.encode(kind, channel, payload, stream))

    def send_bytes(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise self._gone() from None

    def request(self, operation: object, **fields: object) -> int:
        """Send a request; gives its channel."""
        channel = self.new_channel()
        self.send_bytes(agent.encode_json(agent.REQUEST, channel, {"op": operation, **fields}))
        return channel

    def take(self, channel: int, *kinds: int) -> agent.Frame:
        """The next frame of that channel and one of those kinds; others stay in `pending`."""
        deadline = time.monotonic() + DEADLINE
        seen = 0
        while True:
            for index in range(seen, len(self.pending)):
                frame = self.pending[index]
                if frame.channel == channel and (not kinds or frame.kind in kinds):
                    del self.pending[index]
                    return frame
            seen = len(self.pending)
            self._receive(deadline)

    def answer(self, channel: int) -> dict[str, Any]:
        """The reply to a request. Raises Refused."""
        frame = self.take(channel, agent.REPLY, agent.ERROR)
        value: dict[str, Any] = json.loads(frame.payload)
        if frame.kind == agent.ERROR:
            raise Refused(value["code"], value["message"])
        return value

    def ask(self, operation: str, **fields: object) -> dict[str, Any]:
        return self.answer(self.request(operation, **fields))

    def spawn(self, *argv: str, **fields: object) -> int:
        """Start a command; gives its channel once it runs. Raises Refused."""
        channel = self.request("exec", **{**exec_fields(*argv), **fields})
        self.answer(channel)
        return channel

    def finish(self, channel: int) -> Outcome:
        """Take all that comes until the command's end, giving credit for it."""
        outcome = Outcome()
        while True:
            frame = self.take(channel)
            if frame.kind == agent.EXIT:
                outcome.exit = json.loads(frame.payload)
                return outcome
            if frame.kind == agent.DATA:
                if frame.stream == agent.STDERR:
                    outcome.stderr += frame.payload
                else:
                    outcome.stdout += frame.payload
                self.grant(channel, len(frame.payload), frame.stream)

    def run(self, *argv: str, **fields: object) -> Outcome:
        """Run a command to its end. Raises Refused."""
        return self.finish(self.spawn(*argv, **fields))

    def write(self, channel: int, data: bytes) -> None:
        """Send stdin that is within the window."""
        for at in range(0, len(data), agent.CHUNK):
            self.send(agent.DATA, channel, data[at : at + agent.CHUNK], agent.STDIN)

    def grant(self, channel: int, count: int, stream: int) -> None:
        self.send(agent.CREDIT, channel, count.to_bytes(4, "big"), stream)

    def read_until(self, channel: int, word: bytes, stream: int = agent.STDOUT) -> bytes:
        """What the command writes, up to the piece in which `word` has appeared."""
        data = b""
        while word not in data:
            frame = self.take(channel, agent.DATA, agent.EXIT)
            assert frame.kind == agent.DATA, f"ended with {frame.payload!r} after {data!r}"
            if frame.stream == stream:
                data += frame.payload
        return data

    def settle(self) -> None:
        """Return when the agent has acted on all that was sent before: frames are served in order."""
        channel = self.request("no such operation")
        self.take(channel, agent.ERROR)

    def resting_fds(self) -> int:
        """How many fds the agent holds once a process stands by for the next command."""
        until = time.monotonic() + DEADLINE
        same, count = 0, -1
        while same < 5 and time.monotonic() < until:
            self.ask("settle")  # the agent knows of it, which it hears from the stage
            now = self.process.open_fds() if self.process.children_of_stage() else -1
            same, count = (same + 1 if now == count >= 0 else 0), now
        return count

    def drop_pending(self) -> list[agent.Frame]:
        """Forget what no test took; gives it."""
        frames = list(self.pending)
        self.pending.clear()
        return frames

    def _receive(self, deadline: float) -> None:
        self._sock.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._sock.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            arrived = [(frame.kind, frame.channel, frame.stream, len(frame.payload)) for frame in self.pending]
            text = f"no answer; arrived: {arrived[-20:]}; console:\n{self.process.log()}"
            raise AssertionError(text) from None
        if not data:
            raise self._gone()
        self.pending.extend(self._decoder.feed(data))
        assert not self._decoder.skipped, "the agent sent bytes that are no frame"

    def _gone(self) -> AssertionError:
        return AssertionError(f"the agent ended; console:\n{self.process.log()}")


def exec_fields(*argv: str) -> dict[str, Any]:
    """A well-formed exec request, without its "op"."""
    fields = {"env": {}, "cwd": "/", "user": "0", "window": agent.WINDOW, "stdin": False, "tty": None}
    return {"argv": list(argv), **fields}


SETUP: dict[str, Any] = {"root": {"lower": "/"}, "hostname": "guest"}


@contextmanager
def guest() -> Iterator[Line]:
    """A line to an agent that has been set up; skips the test where that is impossible."""
    skip_unless_possible()
    with AgentProcess() as process:
        line = Line(process)
        line.take(0, agent.HELLO)
        line.ask("setup", time=time.time(), **SETUP)
        yield line


class SharedGuest:
    """One guest for the tests of a module; after a test that broke it, the next one gets another."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._line: Line | None = None

    @contextmanager
    def lend(self) -> Iterator[Line]:
        """A line to it. At the end of the block it must serve, have said nothing unasked, and hold no more fds."""
        if self._line is None:
            with exempt():
                self._line = self._stack.enter_context(guest())
        line = self._line
        before = line.resting_fds()
        self._line = None
        try:
            yield line
            assert line.run("echo", "still here").stdout == b"still here\n"
            assert not [frame for frame in line.drop_pending() if frame.kind == agent.NOTICE]
            assert line.process.comes_to_hold(before), "the agent holds on to file descriptors"
            self._line = line
        finally:
            if self._line is None:
                self.close()

    def close(self) -> None:
        self._line = None
        self._stack.close()


@contextmanager
def shared_guest() -> Iterator[SharedGuest]:
    """For a fixture of a module."""
    shared = SharedGuest()
    try:
        yield shared
    finally:
        shared.close()
