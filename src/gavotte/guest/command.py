"""A command in the guest, seen from the host: three streams with credit, signals, and how it ended."""

from __future__ import annotations

import asyncio
import signal as signals
import struct
from collections import deque
from typing import TYPE_CHECKING, Generic, Self, cast

from gavotte.arguments import BytesLike, check_bytes, check_number
from gavotte.compat import TypeVar, override
from gavotte.errors import AgentError, CommandLost, GuestError
from gavotte.guest import agent
from gavotte.guest.breach import Breach
from gavotte.guest.liveness import GRACE
from gavotte.text import size_text
from gavotte.values import dataclass

if TYPE_CHECKING:
    from gavotte.guest.channel import Channel

__all__ = ["AsyncProcess", "Exit", "InputStream", "OutputStream"]


LONGEST_LINE = 1 << 20  # bytes, unless the reader says otherwise
LAST_SIGNAL = 64  # signal(7)
READS_IN_A_TURN = 64  # of one stream, that a task may do while everything else waits
_MOST_CELLS = (1 << 16) - 1  # rows or columns of a terminal (struct winsize, ioctl_tty(2))


@dataclass(frozen=True)
class Exit:
    """How a command ended. `returncode` as in `subprocess`: -n when signal n ended it.

    `oom_kills` and `forks_denied` count what the guest's kernel did to the command and its children.
    """

    returncode: int
    oom_kills: int = 0
    forks_denied: int = 0

    @property
    def status(self) -> int:
        """The status that a shell would report: 128+n after signal n."""
        return self.returncode if self.returncode >= 0 else 128 - self.returncode


def check_line(line: bytes | bytearray, limit: int) -> None:
    """Raises GuestError when what there is of a line is longer than `limit`."""
    if len(line) > limit:
        raise GuestError(f"a line of more than {size_text(limit)}", hint="raise the limit, or use read()")


def check_size(rows: object, columns: object, names: tuple[str, str] = ("rows", "columns")) -> tuple[int, int]:
    """A terminal's size, in which 0 stands for one that isn't known. Raises UsageError, with the name that it has."""
    return check_number(rows, 0, _MOST_CELLS, names[0]), check_number(columns, 0, _MOST_CELLS, names[1])


class InputStream:
    """A command's stdin. `write` waits while the command is behind; BrokenPipeError once it reads no more."""

    def __init__(self, channel: Channel, number: int, credit: int = agent.WINDOW) -> None:
        self._channel = channel
        self._number = number
        self._credit = credit
        self._open = True
        self._writable = True  # False: the command closed its end, or is over
        self._news = asyncio.Event()

    async def write(self, data: BytesLike) -> None:
        """Send all of `data`; returns when the last of it is on its way."""
        rest = check_bytes(data, "data")
        while rest:
            while not self._credit and self._writable:
                self._news.clear()
                await self._channel.liveness.over(self._news.wait())
            if not self._open or not self._writable:
                raise BrokenPipeError("the command reads no more from its stdin")
            piece = rest[: min(self._credit, agent.CHUNK)]
            rest = rest[len(piece) :]
            self._credit -= len(piece)
            await self._channel.send(agent.encode(agent.DATA, self._number, bytes(piece), agent.STDIN))

    async def close(self) -> None:
        """Tell the command that nothing more comes. A second call does nothing."""
        if self._open:
            self._open = False
            if self._writable:
                await self._channel.send(agent.encode(agent.EOF, self._number, stream=agent.STDIN))

    def grant(self, count: int) -> None:
        if not self._open:  # what a terminal is told at its input's end isn't ours to count
            return
        self._credit += count
        if self._credit > agent.WINDOW:
            raise Breach("it took more of a command's input than it was sent")
        self._news.set()

    def end(self) -> None:
        self._writable = False
        self._news.set()


class OutputStream:
    """A command's stdout or stderr: bytes in order, at most a window of them waiting here.

    Reads that find bytes waiting let the loop's other work run now and then, since a window may hold a million lines.
    """

    def __init__(self, channel: Channel, number: int, stream: int) -> None:
        self._channel = channel
        self._number = number
        self._stream = stream
        self._chunks: deque[bytearray] = deque()  # few, however small the frames are that they came in
        self._reads = 0  # since the loop had its turn
        self._credit = agent.WINDOW
        self._owed = 0
        self._ended = False
        self._closed = False
        self._news = asyncio.Event()
        self.watched = True  # see `AsyncProcess.unwatch`
        self.offset: int | None = None  # of a retained stream that was taken over: how many bytes came before these

    async def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, at least one, as soon as there are any; b"" at the end. Without `size`: all there is
        until the end. What was read before is done with then: the guest has no more need of what it retains of it."""
        if check_number(size, -1, None, "size") < 0:
            return b"".join([chunk async for chunk in self])
        if size == 0:
            return b""
        await self._give_back()
        await self._let_others_run()
        while not self._chunks and not self._ended:
            self._news.clear()
            await (self._channel.liveness.over(self._news.wait()) if self.watched else self._news.wait())
        if not self._chunks:
            return b""
        data = self._take(size)
        self._owed += len(data)
        return data

    async def _let_others_run(self) -> None:
        self._reads += 1
        if self._reads >= READS_IN_A_TURN:
            self._reads = 0
            passed = asyncio.Event()
            asyncio.get_running_loop().call_soon(passed.set)
            await passed.wait()

    def _take(self, size: int) -> bytes:
        """At most `size` bytes of the first chunk."""
        if len(self._chunks[0]) <= size:
            return bytes(self._chunks.popleft())
        data = bytes(self._chunks[0][:size])
        del self._chunks[0][:size]
        return data

    async def readline(self, limit: int = LONGEST_LINE) -> bytes:
        """Up to and with the next newline, or what is left before the end; b"" at the end.

        Raises GuestError for a line of more than `limit` bytes: a guest need not end its lines.
        """
        check_number(limit, 1, None, "limit")
        line = bytearray()
        while not line.endswith(b"\n"):
            check_line(line, limit)
            byte_or_more = await self.read(self._to_newline())
            if not byte_or_more:
                break
            line += byte_or_more
        return bytes(line)

    def _to_newline(self) -> int:
        chunk = self._chunks[0] if self._chunks else b""
        return chunk.find(b"\n") + 1 or len(chunk) or 1

    def __aiter__(self) -> OutputStream:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read(agent.CHUNK)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def close(self) -> None:
        """Read no more: the command's next write gets SIGPIPE."""
        if not self._closed:
            self._closed = True
            self._chunks.clear()
            if not self._ended:
                self.end()
                await self._channel.send(agent.encode(agent.CLOSE, self._number, stream=self._stream))

    async def _give_back(self) -> None:
        """Grant new credit in a few large steps: each is a message that the guest must handle."""
        if self._owed >= agent.WINDOW // 4 and not self._ended:
            owed, self._owed = self._owed, 0
            self._credit += owed
            frame = agent.encode(agent.CREDIT, self._number, struct.pack(">I", owed), self._stream)
            await self._channel.send(frame)

    def feed(self, data: bytes) -> None:
        self._credit -= len(data)
        if self._credit < 0:
            raise Breach("it sent more of a stream than it was granted")
        if data and not self._closed:
            if self._chunks and len(self._chunks[-1]) + len(data) <= agent.CHUNK:
                self._chunks[-1] += data
            else:
                self._chunks.append(bytearray(data))
            self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()


Stdin = TypeVar("Stdin", bound="InputStream | None", default="InputStream | None", covariant=True)


class AsyncProcess(Generic[Stdin]):
    """A running command. Made by `AsyncSandbox.spawn`; as a context manager it ends the command on the way out.

    `stdin` is None unless it was started with `stdin=True` or a terminal: type checkers know which.
    """

    def __init__(self, channel: Channel, number: int, argv: list[str], stdin: bool) -> None:
        self._channel = channel
        self.number = number  # of its channel; stays its own when another process attaches
        self.argv = argv
        self.pid = 0  # in the commands' pid namespace
        self.stdin: Stdin = cast("Stdin", InputStream(channel, number) if stdin else None)
        self.stdout = OutputStream(channel, number, agent.STDOUT)
        self.stderr = OutputStream(channel, number, agent.STDERR)
        self.started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._watched = True

    @override
    def __repr__(self) -> str:
        state = f"exit {self.returncode}" if self.returncode is not None else f"pid {self.pid}"
        return f"<{type(self).__name__} {self.argv[0]!r} {state}>"

    @property
    def returncode(self) -> int | None:
        """None while it runs or when its outcome is unknown; -n when signal n ended it."""
        known = self._exit.done() and not self._exit.exception()
        return self._exit.result().returncode if known else None

    @property
    def exit(self) -> Exit | None:
        """How it ended, once that is known."""
        return self._exit.result() if self._exit.done() and not self._exit.exception() else None

    async def wait(self) -> int:
        """Wait for its end; gives `returncode`. Output that nobody reads can keep it from ending, as in `subprocess`.

        Raises CommandLost when what ran it has gone, GuestSilent when the guest doesn't answer any more; it may then be
        waited for again.
        """
        end = asyncio.shield(self._exit)
        return (await (self._channel.liveness.over(end) if self._watched else end)).returncode

    def unwatch(self) -> None:
        """Have all waits for it last until it or the machine ends: they are nobody's errand, and the guest, which may
        have nothing to do, isn't asked for signs of life."""
        self._watched = self.stdout.watched = self.stderr.watched = False

    async def send_signal(self, number: int) -> None:
        """To its process group. SIGKILL ends all that it started as well, whatever session that is in."""
        check_number(number, 1, LAST_SIGNAL, "number", hint="the module signal has them, such as signal.SIGTERM")
        if not self._exit.done():
            await self._channel.request("signal", target=self.number, signal=int(number))

    async def terminate(self) -> None:
        await self.send_signal(signals.SIGTERM)

    async def kill(self) -> None:
        await self.send_signal(signals.SIGKILL)

    async def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size; it gets SIGWINCH."""
        check_size(rows, columns)
        if not self._exit.done():
            await self._channel.request("window", target=self.number, size=[rows, columns])

    async def close(self) -> None:
        """End it, with all that it started, if it still runs. A guest that doesn't tell its end isn't waited for any
        longer than GRACE, whatever else it does."""
        if self._exit.done():
            return
        try:
            async with asyncio.timeout(GRACE):
                for stream in (self.stdout, self.stderr):  # else its end would wait until all that it wrote is read
                    await stream.close()
                await self.kill()
                await self.wait()
        except (GuestError, TimeoutError):
            pass  # the guest has gone, and the command with it, or it keeps the end to itself

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self.close())

    # what the channel learns about it

    def adopt(
        self, pid: int, stdin_credit: int | None, stdout: bool, stderr: bool, at: tuple[int, int] | None = None
    ) -> None:
        """Take it as it is where another manager left it. `pid` is 0 if it isn't known to run yet; `at` are the offsets
        from which retained stdout and stderr come again."""
        if at is not None:
            self.stdout.offset, self.stderr.offset = at
        end = None if stdin_credit is None else InputStream(self._channel, self.number, stdin_credit)
        self.stdin = cast("Stdin", end)
        for stream, is_open in ((self.stdout, stdout), (self.stderr, stderr)):
            if not is_open:
                stream.end()
        if pid:
            self.pid = pid
            self.started.set_result(pid)

    def finish(self, exit: Exit | None, lost: str = "") -> None:
        if not self._exit.done():
            if exit is not None:
                self._exit.set_result(exit)
            else:
                hint = "it may have done its work or a part of it: look, then run it again"
                self._exit.set_exception(CommandLost(f"the outcome of {self.argv[0]!r} is unknown: {lost}", hint=hint))
                self._exit.exception()  # whoever waits gets it; nobody has to
        if not self.started.done():
            self.started.set_exception(AgentError(f"{self.argv[0]!r} ended before it had started: {lost}"))
            self.started.exception()
        self.stdout.end()
        self.stderr.end()
        if self.stdin is not None:
            self.stdin.end()
