"""The host's end of the line to the agent: requests, and commands with their streams.

What comes from the guest is hostile until checked: sizes are bounded for each kind of frame and by credit, contents are
read by `gavotte.guest.replies`, and no guest keeps the loop from its other work for longer than some frames take.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from gavotte.errors import AgentError, CommandNotStarted, UsageError
from gavotte.guest import agent
from gavotte.guest.breach import Breach
from gavotte.guest.command import AsyncProcess
from gavotte.guest.liveness import Liveness
from gavotte.guest.replies import (
    LARGEST,
    EndedCommand,
    Listing,
    read_credit,
    read_end,
    read_hello,
    read_listing,
    read_notice,
    read_refusal,
    read_reply,
)
from gavotte.guest.stale import StaleFilter
from gavotte.qmp.link import Link
from gavotte.text import rough_size

__all__ = ["Channel"]

_NOT_STARTED = {"not-found": 127, "not-executable": 126, "no-user": 125, "no-cwd": 125}
_HINTS = {
    "no-user": "take one of the guest's /etc/passwd, or any number",
    "no-cwd": "name a directory that the guest has",
}
_ABANDON = 1.0  # seconds that a line which takes nothing delays the error
_TURN = 16 << 10  # how much the loop's other work waits for: bytes of what has to be decoded, and for each frame
_FRAME = 256
_MOST_NOTICES = 10


class _Request:
    """A request that waits for its reply."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.reply: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()


class Channel:
    """A connection to one agent. Owns its socket."""

    def __init__(self, sock: socket.socket, last_words: Callable[[], Awaitable[str]]) -> None:
        """`last_words` gives what is known of the guest's end when the line breaks."""
        self._link = Link(sock, self._received, self._on_end)
        self._decoder = agent.Decoder(0, LARGEST)
        self._steps: Iterator[int] = iter(())  # what is to be done about what came, and waits for its turn
        self._numbers = itertools.count(1)
        self._stale: StaleFilter | None = None  # where the line was another manager's
        self._requests: dict[int, _Request] = {}
        self._processes: dict[int, AsyncProcess] = {}
        self._last_words = last_words
        self._farewell: asyncio.Task[None] | None = None
        self.liveness = Liveness(self._ping)
        self.hello: asyncio.Future[int] = asyncio.get_running_loop().create_future()  # the agent's protocol
        self.ended: str | None = None
        self.notices: deque[str] = deque(maxlen=_MOST_NOTICES)  # what the agent reported by itself
        self.adopted: Mapping[int, AsyncProcess] = {}  # the commands that ran at `attach`, also if they have ended
        self.exits: tuple[EndedCommand, ...] = ()  # the last commands that ended before `attach`, oldest first

    @classmethod
    async def attach(
        cls,
        sock: socket.socket,
        token: str,
        last_words: Callable[[], Awaitable[str]],
        deadline: float = 30.0,
        stored: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    ) -> Channel:
        """The line to an agent that another manager has set up with this `token`, 16 bytes in hex.

        Its commands go on in `processes`, its last exits are in `exits`. Output is lost as far as the line had taken
        it when it broke; that of a command which was spawned with `retain` comes from where `stored` says, by channel,
        how many bytes of stdout and stderr are known already. Raises AgentError on a broken line, and at the deadline
        when the agent doesn't know the token or the other manager still has the line. Owns `sock` in any case.
        """
        fields = {"stored": {str(number): list(offsets) for number, offsets in stored.items()}} if stored else {}
        channel, _ = await cls._taken(sock, token, last_words, deadline, "resume", fields)
        return channel

    @classmethod
    async def restore(
        cls,
        sock: socket.socket,
        token: str,
        last_words: Callable[[], Awaitable[str]],
        fields: Mapping[str, Any],
        deadline: float = 30.0,
    ) -> tuple[Channel, dict[str, int]]:
        """The line to the agent of a copy of a guest that was set up with this `token`, and what it says.

        It is a guest of its own by then, as `fields` tell (`gavotte.guest.agent.restore`). Raises as `attach`, and
        AgentError when it can't be. Owns `sock` in any case.
        """
        return await cls._taken(sock, token, last_words, deadline, "restore", fields)

    @classmethod
    async def await_restore(
        cls,
        sock: socket.socket,
        token: str,
        last_words: Callable[[], Awaitable[str]],
        asked: int,
        shift: float,
        deadline: float = 30.0,
    ) -> tuple[Channel, dict[str, int]]:
        """The same where the request was sent before, under the number `asked` and without a shift of the clock: that
        is done before any command is started, which would be refused if it couldn't be."""
        channel = cls(sock, last_words)
        try:
            shifting = {"op": "renew", "shift": shift, "silent": True}
            renewal = agent.encode_json(agent.REQUEST, agent.pick_resumer(), shifting)
            return channel, await channel._await_line(bytes.fromhex(token), asked, "restore", deadline, renewal)
        except BaseException:
            await channel.close()
            raise

    @classmethod
    async def _taken(
        cls,
        sock: socket.socket,
        token: str,
        last_words: Callable[[], Awaitable[str]],
        deadline: float,
        operation: str,
        fields: Mapping[str, Any],
    ) -> tuple[Channel, dict[str, int]]:
        channel = cls(sock, last_words)
        try:
            number = agent.pick_resumer()
            request = agent.encode_takeover(bytes.fromhex(token), number, {"op": operation, **fields})
            return channel, await channel._await_line(bytes.fromhex(token), number, operation, deadline, request)
        except BaseException:
            await channel.close()
            raise

    @property
    def processes(self) -> Mapping[int, AsyncProcess]:
        """The commands that run, by the number of their channel."""
        return MappingProxyType(self._processes)

    # requests

    async def request(self, operation: str, *, deadline: float | None = 30.0, **fields: Any) -> dict[str, int]:
        """Ask the agent; gives its reply. Raises AgentError on refusal, on a broken line and at the deadline."""
        number = next(self._numbers)
        waiting = self._requests[number] = _Request(operation)
        try:
            async with asyncio.timeout(deadline):
                await self._put(self._encode_request(number, operation, fields))
                return await waiting.reply
        except TimeoutError:
            raise AgentError(f"the guest's agent didn't answer {operation!r} within {deadline:g} s") from None
        finally:
            del self._requests[number]

    async def tell(self, operation: str, **fields: Any) -> None:
        """Ask, and look for no reply. What is asked for next is served next. Raises AgentError on a broken line."""
        await self.send(self._encode_request(agent.pick_resumer(), operation, fields))

    async def _ping(self) -> None:
        await self.request("ping", deadline=None)

    async def _await_line(
        self, token: bytes, number: int, operation: str, deadline: float, request: bytes
    ) -> dict[str, int]:
        """Send a `request`; gives the answer to the one that takes the line over, which `number` tells from what comes
        before it."""
        self._stale = StaleFilter(token, agent.encode(agent.REPLY, number)[: agent.HEADER.size - 4])  # but its length
        waiting = self._requests[number] = _Request(operation)
        try:
            async with asyncio.timeout(deadline):
                await self._put(request)
                return await waiting.reply
        except TimeoutError:
            raise AgentError(
                f"the guest's agent didn't hand over the line within {deadline:g} s",
                hint="end the manager that still has it; an agent that has another token than ours never answers",
            ) from None
        finally:
            del self._requests[number]

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: dict[str, str],
        cwd: str = "",
        user: str = "0",
        stdin: bool = False,
        tty: tuple[int, int] | None = None,
        retain: bool = False,
        closed: Sequence[int] = (),
        deadline: float = 60.0,
    ) -> AsyncProcess:
        """Start a command; returns when it runs. `tty` is (rows, columns) of a terminal for it; without one, it doesn't
        have those of its streams 0, 1 and 2 that are `closed`. With `retain`, the agent keeps what it wrote until we
        have read it, and read again: see `attach`.

        Raises CommandNotStarted (not found, not executable, no such user or directory) and AgentError.
        """
        number = next(self._numbers)
        process = AsyncProcess(self, number, list(argv), stdin)
        fields = {"argv": list(argv), "env": env, "cwd": cwd, "user": user, "window": agent.WINDOW}
        if retain:
            fields["retain"] = True
        if closed:
            fields["closed"] = list(closed)
        self._processes[number] = process
        try:
            async with asyncio.timeout(deadline):
                fields |= {"stdin": stdin, "tty": list(tty) if tty else None}
                await self._put(self._encode_request(number, "exec", fields))
                process.pid = await process.started
        except TimeoutError:
            raise AgentError(f"the guest didn't start {argv[0]!r} within {deadline:g} s") from None
        finally:
            if not process.pid:
                await self._abandon(number)
        return process

    async def _abandon(self, number: int) -> None:
        """Forget a command that isn't known to run; if it does all the same, end it."""
        self._processes.pop(number, None)
        if self.ended is None:
            try:
                async with asyncio.timeout(_ABANDON):
                    await self._put(
                        self._encode_request(next(self._numbers), "signal", {"target": number, "signal": 9})
                    )
                    for stream in (agent.STDOUT, agent.STDERR):  # else what it wrote would wait for credit for ever
                        await self._put(agent.encode(agent.CLOSE, number, stream=stream))
            except (AgentError, TimeoutError):
                pass  # the guest has gone, and the command with it

    def _encode_request(self, number: int, operation: str, fields: dict[str, Any]) -> bytes:
        try:
            frame = agent.encode_json(agent.REQUEST, number, {"op": operation, **fields})
        except (TypeError, ValueError):
            raise UsageError("what it was given can't be sent to the guest", path=operation, hint="give text") from None
        if len(frame) > agent.MAX_PAYLOAD:
            raise UsageError(f"{rough_size(len(frame))} of argv and env are more than a guest takes", path=operation)
        return frame

    async def send(self, frame: bytes) -> None:
        """Send one frame, when the line takes it. Raises AgentError when that is broken, GuestSilent."""
        await self.liveness.over(self._put(frame))

    async def _put(self, frame: bytes) -> None:
        """`send`, for callers with a deadline."""
        if self.ended is not None:
            raise AgentError(self.ended)
        try:
            await self._link.send(frame)
        except OSError as error:
            why = self.ended or await self._last_words()
            raise AgentError(why or f"the line to the guest broke: {error.strerror or error}") from None

    async def close(self) -> None:
        """Close the line. Commands whose end isn't known yet are lost."""
        self._link.close()
        self.liveness.close()
        self._end("the sandbox was closed")
        if self._farewell is not None:
            await self._farewell

    # what arrives

    def _received(self, data: bytes) -> None:
        with self._breaches_end_it():
            self._steps = self._act_on(self._stale.feed(data) if self._stale else data)
            self._take_some()

    def _act_on(self, data: bytes) -> Iterator[int]:
        """Act on what came, step by step. Gives what each step takes of a turn."""
        for frame in self._decoder.frames(data):
            asked = self._requests.get(frame.channel)
            if asked and frame.kind == agent.REPLY and frame.channel >= agent.FIRST_RESUMER:
                yield from self._on_line(asked, frame.payload)
            else:
                self._handle(frame)
            yield _FRAME if frame.kind == agent.DATA else _FRAME + len(frame.payload)

    def _take_some(self) -> None:
        """Do some of the steps at once: more wait for the loop's next turn, and what follows in the socket."""
        if self.ended is not None:
            return
        done = 0
        with self._breaches_end_it():
            for step in self._steps:
                done += step
                if done >= _TURN:
                    self._link.pause()
                    asyncio.get_running_loop().call_soon(self._take_some)
                    return
            if self._decoder.skipped:
                raise Breach("it sent bytes that are no frame, or a frame larger than its kind can be")
            self._link.resume()

    @contextmanager
    def _breaches_end_it(self) -> Iterator[None]:
        """A guest that breaks the protocol isn't listened to any more."""
        try:
            yield
        except Breach as breach:
            self._link.close()
            self._end(f"the guest's agent broke the protocol: {breach}")

    def _adopt(self, listing: Listing) -> Iterator[int]:
        """Take over the commands that still run; before the next frame, which may be one of theirs."""
        self._numbers = itertools.count(listing.last + 1)
        for one in listing.commands:
            yield _FRAME
            if one.number in self._processes:
                raise Breach(f"it has two commands on channel {one.number}")
            process = AsyncProcess(self, one.number, list(one.argv), stdin=False)
            process.adopt(one.pid, one.stdin, one.stdout, one.stderr, one.at)
            self._processes[one.number] = process
        self.adopted = dict(self._processes)
        self.exits = listing.exits

    def _handle(self, frame: agent.Frame) -> None:
        if frame.kind == agent.HELLO:
            if not self.hello.done():
                self.hello.set_result(read_hello(frame.payload))
        elif frame.kind == agent.NOTICE:
            self.notices.append(read_notice(frame.payload))
        elif process := self._processes.get(frame.channel):
            self._on_stream(process, frame)
        elif request := self._requests.get(frame.channel):
            self._on_answer(request, frame)
        elif frame.kind == agent.ERROR:
            self.notices.append(read_refusal(frame.payload)[1])

    def _on_answer(self, request: _Request, frame: agent.Frame) -> None:
        if request.reply.done():
            return
        if frame.kind == agent.ERROR:
            request.reply.set_exception(_refusal(*read_refusal(frame.payload)))
            request.reply.exception()  # whoever asked gets it, if it isn't given up by then
        elif frame.kind == agent.REPLY:
            request.reply.set_result(read_reply(request.operation, frame.payload))

    def _on_line(self, request: _Request, document: bytes) -> Iterator[int]:
        if request.reply.done():
            return
        try:
            listing = read_listing(request.operation, document)
        except AgentError as error:
            request.reply.set_exception(error)
            request.reply.exception()
            return
        yield len(document)
        yield from self._adopt(listing)
        if not request.reply.done():  # it isn't given up meanwhile
            request.reply.set_result(dict(listing.fields))

    def _on_stream(self, process: AsyncProcess, frame: agent.Frame) -> None:
        outputs = {agent.STDOUT: process.stdout, agent.STDERR: process.stderr}
        if frame.kind in (agent.DATA, agent.EOF) and frame.stream not in outputs:
            raise Breach(f"it sent what a command wrote to a stream {frame.stream}")
        if frame.kind == agent.DATA:
            outputs[frame.stream].feed(frame.payload)
        elif frame.kind == agent.EOF:
            outputs[frame.stream].end()
        elif frame.kind == agent.CREDIT and process.stdin:
            process.stdin.grant(read_credit(frame.payload))
        elif frame.kind == agent.CLOSE and process.stdin:
            process.stdin.end()
        elif frame.kind == agent.EXIT:
            process.finish(*read_end(frame.payload))
            del self._processes[frame.channel]
        elif frame.kind == agent.REPLY and not process.started.done():
            process.pid = read_reply("exec", frame.payload)["pid"]
            process.started.set_result(process.pid)
        elif frame.kind == agent.ERROR:
            self._on_not_started(process, frame)

    def _on_not_started(self, process: AsyncProcess, frame: agent.Frame) -> None:
        code, message = read_refusal(frame.payload)
        if process.started.done():
            self.notices.append(message)
            return
        process.started.set_exception(_refusal(code, message))
        process.started.exception()  # whoever started it gets it, if that is still this manager
        process.finish(None, "it was not started")
        self._processes.pop(frame.channel, None)

    # the end

    def _on_end(self, why: str) -> None:
        self._link.close()
        self._farewell = asyncio.get_running_loop().create_task(self._explain(why))

    async def _explain(self, why: str) -> None:
        self._end(await self._last_words() or f"the line to the guest broke: {why}")

    def _end(self, why: str) -> None:
        if self.ended is not None:
            return
        self.ended = why
        starting = [process.started for process in self._processes.values()]
        asked = [request.reply for request in self._requests.values()]
        futures: list[asyncio.Future[Any]] = [self.hello, *starting, *asked]
        for future in futures:
            if not future.done():
                future.set_exception(AgentError(why))
                future.exception()  # whoever waits gets it; nobody has to
        for process in self._processes.values():
            process.finish(None, why)
        self._processes.clear()


def _refusal(code: str, message: str) -> Exception:
    if code in _NOT_STARTED:
        return CommandNotStarted(message, exit_code=_NOT_STARTED[code], hint=_HINTS.get(code, ""))
    return AgentError(f"the guest's agent refused: {message}")
