"""The starts of commands: each is told to a process that stands by for it."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections import deque

from gavotte.guest.agent import REPLY, STDERR, STDOUT, WINDOW, encode_json
from gavotte.guest.agent.packets import receive_packet, send_document
from gavotte.guest.agent.streams import Command, Inlet, Outlet
from gavotte.guest.agent.system import close_all
from gavotte.guest.agent.terminal import TerminalEnd

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from collections.abc import Callable

    from gavotte.guest.agent import Json
    from gavotte.guest.agent.server import Agent

MOST_ASKED = 16  # processes that are made for commands that wait
READY = 30  # seconds in which a process has come to stand by


class Standby:
    """A process that stands by: the line to it, and our ends of its three pipes."""

    def __init__(self, pid: int, fds: list[int], company: bool) -> None:
        self.pid = pid
        self.company = company  # whether there were processes of commands that could stop it
        self.line = socket.socket(fileno=fds[0])
        self.pipes = fds[1:]
        self.ready = False

    def settle(self) -> bool:
        """Wait until it has nothing left to do but to wait; False when it has ended, or doesn't come to that."""
        if not self.ready:
            self.line.settimeout(READY)
            try:
                receive_packet(self.line)
            except (EOFError, OSError):
                return False
            self.line.settimeout(None)
            self.ready = True
        return True

    def close(self) -> None:
        self.line.close()
        close_all(self.pipes)


class Start:
    """A command that waits for its process, or is being started by it."""

    def __init__(self, channel: int, command: Command, request: dict[str, Json], document: bytes) -> None:
        self.channel, self.command, self.request, self.document = channel, command, request, document
        self.line: socket.socket | None = None
        self.signals: list[int] = []


class Starts:
    """Which commands are to be started, which are being started, and which process each one is."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.standby: Standby | None = None
        self.asked = 0  # so many are being made
        self.on_ready: list[Callable[[], None]] = []  # told when a process stands by
        self.waiting: deque[Start] = deque()
        self.begun: dict[int, Start] = {}  # by pid, until the command runs
        self.channels: dict[int, int] = {}  # by pid, of commands

    def add(self, start: Start) -> None:
        self.waiting.append(start)
        self.serve()

    def serve(self) -> None:
        """Start what waits, as far as there is a process for it; have another made when one is wanted."""
        while self.waiting and self.standby is not None:
            self.begin(self.waiting.popleft(), self.standby)
        if self.waiting:
            self.ask()

    def ask(self) -> None:
        """Have the stage make as many processes that stand by as there are commands that wait, and one at least."""
        wanted = max(1, min(len(self.waiting), MOST_ASKED)) if self.standby is None else 0
        while self.asked < wanted and self.agent.stage is not None:
            self.asked += 1
            self.agent.tell(self.agent.stage, {"op": "standby"})

    def begin(self, start: Start, standby: Standby) -> None:
        self.standby = None
        if self.agent.commands.get(start.channel) is not start.command:
            standby.close()
            return  # it was given up meanwhile
        try:
            company = standby.company or len(self.channels) > 0
            if company and self.agent.stage is not None:  # a command may have stopped all that it sees
                self.agent.tell(self.agent.stage, {"op": "signal", "pid": standby.pid, "signal": signal.SIGCONT})
            send_document(standby.line, start.document, unchanged=not company)
        except OSError:  # it has ended, as by a `kill -9 -1`
            standby.close()
            self.waiting.appendleft(start)
            return
        self.begun[standby.pid] = start
        self.channels[standby.pid] = start.channel
        start.command.process = standby.pid
        self.connect(start, standby)

    def connect(self, start: Start, standby: Standby) -> None:
        """Take over the ends of its streams. A terminal is still to come."""
        stdin, stdout, stderr = standby.pipes
        command, agent = start.command, self.agent
        start.line = standby.line
        if start.request["tty"]:
            close_all(standby.pipes)
        else:
            if start.request["stdin"]:
                command.inlet = Inlet(agent, start.channel, stdin)
            else:
                os.close(stdin)
            window = start.request["window"]
            for stream, fd in ((STDOUT, stdout), (STDERR, stderr)):
                outlet = Outlet(agent, start.channel, stream, fd, window, retain=command.retain)
                command.outlets[stream] = outlet
                if stream in command.unwanted:
                    outlet.close()
        agent.loop.watch(standby.line.fileno(), select.EPOLLIN, lambda _events: self.on_line(standby.pid))
        for number in start.signals:
            self.signal(command, number)

    def on_line(self, pid: int) -> None:
        """Its process says something: that it has a terminal, or why it is no command; or nothing: it runs."""
        start = self.begun.get(pid)
        if start is None or start.line is None:  # an earlier event of this round settled it
            return
        try:
            message, fds = receive_packet(start.line)
        except (EOFError, ConnectionResetError):
            self.settle(pid, start)
            if self.agent.commands.get(start.channel) is start.command:
                start.command.pid = pid
                self.agent.send(encode_json(REPLY, start.channel, {"pid": pid}))
            return
        if message["op"] == "ready":
            return
        if message["op"] == "terminal":
            held = os.dup(fds[0])
            start.command.inlet = Inlet(self.agent, start.channel, held, TerminalEnd(self.agent, held))
            outlet = Outlet(self.agent, start.channel, STDOUT, fds[0], WINDOW, terminal=True)
            start.command.outlets[STDOUT] = outlet
            if STDOUT in start.command.unwanted:
                outlet.close()
            return
        self.settle(pid, start)
        self.channels.pop(pid, None)
        self.refuse(start, message["code"], message["message"])

    def settle(self, pid: int, start: Start) -> None:
        del self.begun[pid]
        if start.line is not None:
            self.agent.loop.close(start.line.detach())
            start.line = None

    def refuse(self, start: Start, code: str, message: str) -> None:
        if self.agent.commands.get(start.channel) is start.command:
            del self.agent.commands[start.channel]
            start.command.close()
            self.agent.refuse(start.channel, code, message)

    def signal(self, command: Command, number: int) -> None:
        """To the command's process group, at once or when it has a process."""
        if command.process and self.agent.stage is not None:
            self.agent.tell(self.agent.stage, {"op": "signal", "pid": command.process, "signal": number})
        for start in self.waiting:
            if start.command is command:
                start.signals.append(number)

    def settle_standby(self, done: Callable[[], None]) -> None:
        """Call `done()` when a process stands by that has nothing left to do but to wait."""
        if self.standby is not None and not self.standby.settle():
            self.standby.close()
            self.standby = None
        if self.standby is None:
            self.on_ready.append(lambda: self.settle_standby(done))
            self.ask()
            return
        done()

    # what the stage says

    def on_standby(self, pid: int, fds: list[int], company: bool) -> None:
        self.asked -= 1
        if self.standby is not None:  # those that it was made for have gone; it ends when its line does
            self.standby.close()
        self.standby = Standby(pid, fds, company)
        self.serve()
        if self.standby is not None:
            ready, self.on_ready = self.on_ready, []
            for tell in ready:
                tell()

    def on_no_standby(self, code: str, message: str) -> None:
        """The guest can't have another process now."""
        self.asked -= 1
        waiting, self.waiting = self.waiting, deque()
        for start in waiting:
            self.refuse(start, code, message)

    def on_exited(self, pid: int) -> int | None:
        """The channel of the command that has ended; None of what was none."""
        while pid in self.begun:  # what it said before comes first
            self.on_line(pid)
        if self.standby is not None and self.standby.pid == pid:
            self.standby.close()
            self.standby = None
            self.serve()
        return self.channels.pop(pid, None)

    def clear(self) -> None:
        """The stage has ended, with all its processes."""
        if self.standby is not None:
            self.standby.close()
        for pid, start in list(self.begun.items()):
            self.settle(pid, start)
        self.standby, self.asked = None, 0
        self.waiting.clear()
        self.channels.clear()
