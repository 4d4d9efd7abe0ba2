"""The agent proper: it serves the host's requests over one port."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
from collections.abc import Sequence

from gavotte.guest.agent import (
    CHUNK,
    CLOSE,
    CREDIT,
    DATA,
    EOF,
    ERROR,
    EXIT,
    FIRST_RESUMER,
    HELLO,
    NOTICE,
    PAGE,
    PROTOCOL,
    REPLY,
    REQUEST,
    STDOUT,
    TOKEN_LENGTH,
    Decoder,
    encode,
    encode_json,
    from_json,
)
from gavotte.guest.agent.loop import Backlog, Loop
from gavotte.guest.agent.online import total_memory
from gavotte.guest.agent.packets import NONSENSE, Refusal, problem, receive_packet, send_packet
from gavotte.guest.agent.renewal import reseed, set_clock, shift_clock
from gavotte.guest.agent.starts import Start, Starts
from gavotte.guest.agent.streams import Command
from gavotte.guest.agent.system import ended_children, log
from gavotte.guest.agent.world import StageHandle

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Frame, Json
    from gavotte.guest.agent.boot import Boot
    from gavotte.guest.agent.restore import Restore
    from gavotte.guest.agent.resume import TokenCutter

RESERVE = 40 << 20  # bytes kept from commands: with less, the guest reads its programs over and over, not running any
LEAST = 24 << 20  # bytes that commands have in the smallest guest

LONGEST_MESSAGE = 1000  # characters
MOST_ENDED = 64  # commands whose end is kept for the next manager
MOST_RETAINED = 4  # of them with the last of their output, a window of each stream


def check_exec(request: dict[str, Json]) -> None:
    """Refuse a field of the wrong type here: the stage, which all commands hang on, relies on them."""
    texts = [request["cwd"], request["user"], *request["argv"], *request["env"].values()]
    numbers = [request["window"] >> 16, *(request["tty"] or (24, 80)), int(bool(request["stdin"]))]
    good = type(request["argv"]) is list and request["argv"] and all(type(text) is str for text in texts)
    if not good or len(numbers) != 4 or not all(type(n) is int and 0 <= n < 1 << 16 for n in numbers):
        raise Refusal("malformed", "argv, env, cwd and user are text; window and the two of tty are numbers")
    if not {0, 1, 2}.issuperset(request.get("closed", ())):
        raise Refusal("malformed", "closed are some of 0, 1 and 2")


class Agent:
    """Serves the host over `port`: one event loop, never blocking on any one command."""

    def __init__(self, port: int, boot: Boot) -> None:
        self.loop = Loop()
        self.port = port
        self.boot = boot
        self.decoder = Decoder()
        self.cutter: TokenCutter | None = None
        self.token = b""
        self.last_channel = 0
        self.commands: dict[int, Command] = {}
        self.starts = Starts(self)
        self.ended: dict[int, Command] = {}  # the last ones, by the channel they had
        self.stage: StageHandle | None = None
        self.world: tuple[str, str, int] | None = None  # root, hostname and memory, for a new stage
        self.nodes: dict[str, Json] = {}  # of devices, in the commands' /dev
        self.reserved = 0  # bytes of the guest's memory that commands don't get
        self.backlog = Backlog()
        self.document = b""  # of the request that is served
        self.restorer: type[Restore] | None = None  # in a guest that is to be copied
        self.renewed = True  # unless it was to be brought up to date, and wasn't
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
                if self.cutter:
                    self.decode(self.cutter.let_go())
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self.open = os.fstat(self.port).st_mode & 0o170000 == 0o020000  # a character device
                return
            first, *rest = self.cutter.cut(data) if self.cutter else [data]
            self.decode(first)
            for piece in rest:  # a token was in between: what was half read has no other half
                self.decoder = Decoder()
                self.decode(piece)

    def decode(self, data: bytes) -> None:
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
                if frame.channel < FIRST_RESUMER:
                    self.last_channel = max(self.last_channel, frame.channel)
                self.request(frame.channel, from_json(frame.payload), frame.payload)
            elif frame.kind in (DATA, EOF, CREDIT, CLOSE):
                self.stream(frame)
            else:
                raise Refusal("malformed", f"frames of kind {frame.kind} aren't for the agent")
        except (Refusal, OSError) as error:
            self.refuse(frame.channel, **problem(error))
        except NONSENSE as error:
            self.refuse(frame.channel, "malformed", f"the request makes no sense: {error!r}")

    def refuse(self, channel: int, code: str, message: str) -> None:
        self.send(encode_json(ERROR, channel, {"code": code, "message": message[:LONGEST_MESSAGE]}))

    def request(self, channel: int, request: dict[str, Json], document: bytes) -> None:
        operation = getattr(self, f"op_{request['op']}", None)
        if operation is None:
            raise Refusal("unknown", f"the agent has no operation {request['op']!r}")
        self.document = document
        answer = operation(channel, request)
        if answer is not None:
            self.send(encode_json(REPLY, channel, answer))

    def stream(self, frame: Frame) -> None:
        command = self.commands.get(frame.channel)
        if command is None:
            return  # it ended while this was under way
        outlet = command.outlets.get(frame.stream)
        if frame.kind == CREDIT and outlet:
            outlet.grant(struct.unpack(">I", frame.payload)[0])
        elif frame.kind == CLOSE and outlet:
            outlet.close()
            if outlet.terminal and command.inlet:
                command.inlet.close()  # hung up, since nobody looks at it any more: who writes would wait for ever
            self.finish_if_done(frame.channel)
        elif frame.kind == CLOSE:
            command.unwanted.add(frame.stream)
        elif frame.kind == DATA and command.inlet:
            command.inlet.feed(frame.payload)
        elif frame.kind == EOF and command.inlet:
            command.inlet.end()

    # operations

    def op_setup(self, _channel: int, request: dict[str, Json]) -> Json:
        """Set the clock, make the user's root and start the stage. Replies with the writable root's size in bytes.

        With a `token`, 16 bytes in hex, another manager can take the line over: see `resume`. With `latent`, the guest
        is to be copied: it has one processor online, and leaves its latent devices to `restore`.
        """
        if self.stage is not None:
            raise Refusal("state", "the guest is set up already")
        token = self.check_token(request.get("token"))
        latent = bool(request.get("latent"))
        set_clock(request["time"])
        memory = max(os.sysconf("SC_AVPHYS_PAGES") * PAGE - RESERVE, LEAST)
        size = self.boot.make_root(request["root"], memory, latent=latent)
        self.world = (self.boot.ROOT, request["hostname"], memory)
        self.reserved = os.sysconf("SC_PHYS_PAGES") * PAGE - memory
        if latent:
            from gavotte.guest.agent.online import turn_processors

            turn_processors(1)
        self.start_stage()
        self.boot.devices.serve(self.loop, self.show_nodes)
        self.take_token(token)
        if latent:
            from gavotte.guest.agent.restore import Restore

            self.restorer = Restore
            Restore.prepare(self, request["hostname"])
        return {"root_size": size}

    def check_token(self, text: Json) -> bytes:
        token = bytes.fromhex(text or "")
        if len(token) not in (0, TOKEN_LENGTH):
            raise Refusal("malformed", f"a token has {TOKEN_LENGTH} bytes, not {len(token)}")
        return token

    def take_token(self, token: bytes) -> None:
        """From now on, whoever has this may take the line over; nobody without one."""
        self.token, self.cutter = token, None
        if token:
            from gavotte.guest.agent.resume import TokenCutter

            self.cutter = TokenCutter(token)

    def op_ping(self, _channel: int, _request: dict[str, Json]) -> Json:
        """A sign of life."""
        return {}

    def op_settle(self, channel: int, _request: dict[str, Json]) -> Json:
        """Reply when a process stands by for the next command, and nothing is under way."""
        self.starts.settle_standby(lambda: self.send(encode_json(REPLY, channel, {})))
        return None  # when it is so

    def op_restore(self, channel: int, request: dict[str, Json]) -> Json:
        """Become a guest of its own, after a copy: see `restore`. Whoever asks has the token of the template."""
        if self.restorer is None:
            raise Refusal("state", "this guest wasn't made to be copied")
        self.restorer(self, channel, request).begin()
        return None  # when it is done

    def op_renew(self, _channel: int, request: dict[str, Json]) -> Json:
        """Set the clock to a `time`, or by a `shift`; and have other random numbers, if there is a `seed`.

        Where that fails no command is started any more, which may be asked for already. With `silent` there is no reply
        that it worked: under emulation that takes a while, too.
        """
        self.renewed = False
        if request.get("seed"):
            reseed(bytes.fromhex(request["seed"]))
        if "shift" in request:
            shift_clock(request["shift"])
        else:
            set_clock(request["time"])
        self.renewed = True
        return None if request.get("silent") else {}

    def op_online(self, channel: int, request: dict[str, Json]) -> Json:
        """Bring what was plugged online, and give commands what memory there is now, more or less than before.

        With `cpus` just so many processors are online then, the lowest; 0 leaves them as they are. Replies with the
        processors online, the guest's memory, the unit that it comes in and the root's size, in bytes.
        """
        cpus = request.get("cpus")
        if cpus is not None and (type(cpus) is not int or cpus < 0):
            raise Refusal("malformed", f"{cpus!r} is no number of processors")
        self.loop.aside(lambda: self.bring_online(cpus), lambda result: self.on_online(channel, result))
        return None  # when it is done: a processor takes its time

    def give_memory(self) -> int:
        """Give the commands what memory there is now; the root's size then."""
        if self.world is None:
            raise Refusal("state", "the guest isn't set up yet")
        memory = max(total_memory() - self.reserved, LEAST)
        self.world = (*self.world[:2], memory)
        if self.stage:
            self.stage.limit(memory)
        self.make_room()
        return self.boot.resize_root(memory)

    def make_room(self) -> None:
        """Have the file systems in memory that commands share follow the guest's, half of which each may have."""
        if self.stage is not None:
            try:
                self.tell(self.stage, {"op": "room", "size": total_memory() // 2})
            except OSError as error:
                log(f"no room: {error}")

    def bring_online(self, cpus: int | None) -> Json:
        from gavotte.guest.agent import online

        found = online.bring_online(cpus)
        memory = max(found["memory"] - self.reserved, LEAST)
        if self.world is None:
            return {"reply": found}
        if self.stage:
            self.stage.limit(memory)
        return {"reply": {**found, "root_size": self.boot.resize_root(memory)}, "limit": memory}

    def on_online(self, channel: int, result: Json) -> None:
        if "problem" in result:
            self.refuse(channel, **result["problem"])
            return
        if self.world is not None:
            self.world = (*self.world[:2], result["answer"].get("limit", self.world[2]))
            self.make_room()
        self.send(encode_json(REPLY, channel, result["answer"]["reply"]))

    def start_stage(self) -> None:
        if self.world is None:
            raise Refusal("state", "the guest isn't set up yet")
        self.stage = StageHandle(*self.world, self.boot.cgroups)
        self.loop.watch(self.stage.control.fileno(), select.EPOLLIN, self.on_stage)
        self.starts.ask()
        if self.nodes:
            self.show_nodes(self.nodes)

    def show_nodes(self, nodes: dict[str, Json]) -> None:
        """Have the stage make the nodes of these devices, and remove those of others; a new stage has none yet."""
        self.nodes = nodes
        if self.stage is not None:
            try:
                self.tell(self.stage, {"op": "nodes", "nodes": nodes})
            except OSError as error:  # no memory, no fd: commands go on without them
                log(f"no nodes: {error}")

    def tell(self, stage: StageHandle, message: Json, fds: Sequence[int] = ()) -> None:
        """Send, and take in what the stage says meanwhile: if both waited to be read, they would for ever.

        One that has ended hears nothing; what it had is dealt with when its end is seen (`on_stage_end`).
        """
        poll = select.poll()
        poll.register(stage.control, select.POLLIN | select.POLLOUT)
        while not poll.poll()[0][1] & (select.POLLOUT | select.POLLHUP):
            self.on_stage(0)
        try:
            send_packet(stage.control, message, fds)
        except ConnectionError:  # ECONNRESET where there was something left that it hadn't read
            pass

    def op_exec(self, channel: int, request: dict[str, Json]) -> Json:
        """Start a command. `started` and what follows comes from its process: see `starts`."""
        if channel in self.commands:
            raise Refusal("state", f"channel {channel} is in use")
        if self.stage is None:
            raise Refusal("state", "there is no stage to start commands in")
        if not self.renewed:
            raise Refusal("state", "the guest could not be brought up to date")
        check_exec(request)
        command = self.commands[channel] = Command(request["argv"], bool(request["tty"]), bool(request.get("retain")))
        self.starts.add(Start(channel, command, request, self.document))
        return None  # its process will say

    def op_signal(self, channel: int, request: dict[str, Json]) -> Json:
        """To the process group of the command on channel `target`; SIGKILL reaches all that it started."""
        number = request["signal"]
        if type(number) is not int or not 0 <= number <= 64:
            raise Refusal("malformed", f"there is no signal {number!r}")
        command = self.commands.get(request["target"])
        if command is not None:
            self.starts.signal(command, number)
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

    def op_resume(self, channel: int, request: dict[str, Json]) -> Json:
        """The manager is another one: it gets the token, the REPLY with what runs, then what was not sent whole.

        `stored` says by channel how many bytes of stdout and of stderr it has: of a command whose output is retained it
        gets what follows these, or all that is retained.
        """
        if not self.token:
            raise Refusal("state", "the guest was set up without a token")
        from gavotte.guest.agent import resume

        retained = resume.retaining(self.commands, self.ended)
        resume.release(retained, request.get("stored") or {})
        frames = (frame for frame in self.backlog.queue if not frame.startswith(self.token))
        unsent = resume.Unsent(resume.again(frames, retained))
        listing = resume.listing(self.commands, self.ended, unsent, self.last_channel)
        self.backlog.replace([self.token + encode(REPLY, channel, listing), *unsent.frames])
        self.flush()
        for number, command in list(self.commands.items()):
            resume.restore_credit(command, number, unsent)
        return None

    # what the stage says

    def on_stage(self, _events: int) -> None:
        if self.stage is None:
            return
        try:
            message, fds = receive_packet(self.stage.control)
        except ConnectionResetError:  # it has ended, and left something unread; what it had said comes now
            return
        except EOFError:
            self.loop.watch(self.stage.control.fileno(), 0, self.on_stage)
            return  # its end follows
        if message["op"] == "standby":
            self.starts.on_standby(message["pid"], fds, message["company"])
        elif message["op"] == "no-standby":
            self.starts.on_no_standby(message["code"], message["message"])
        else:
            channel = self.starts.on_exited(message["pid"])
            if channel is not None:
                self.end_command(channel, {k: v for k, v in message.items() if k not in ("op", "pid")})
            self.starts.ask()

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
            command.close()
            self.ended[channel] = command
            retained = [number for number, ended in self.ended.items() if ended.retain]
            if len(retained) > MOST_RETAINED:
                del self.ended[retained[0]]
            elif len(self.ended) > MOST_ENDED:
                del self.ended[next(iter(self.ended))]
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
        self.starts.clear()
        for channel in list(self.commands):
            self.end_command(channel, {"lost": why})
        self.send(encode_json(NOTICE, 0, {"event": "stage-ended", "why": why}))
        if self.world is not None:
            try:
                self.start_stage()
            except OSError as error:  # the next command will be told that there is none
                log(str(error))
