"""The host's end of the line to the agent: requests, and commands with their streams.

What comes from the guest is hostile until checked: sizes are bounded by the decoder and by credit, shapes are
checked here, text is stripped of what a terminal would act on.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gavotte.errors import AgentError, CommandNotStarted, UsageError
from gavotte.guest import agent
from gavotte.guest.command import AsyncProcess, Exit
from gavotte.qmp.link import Link
from gavotte.text import harmless
from gavotte.values import dataclass

__all__ = ["Channel", "EndedCommand", "printable"]

_NOT_STARTED = {"not-found": 127, "not-executable": 126, "no-user": 125, "no-cwd": 125}
_HINTS = {
    "no-user": "take one of the guest's /etc/passwd, or any number",
    "no-cwd": "name a directory that the guest has",
}
_BREACHES = (AgentError, ValueError, OverflowError, KeyError, TypeError, AttributeError, struct.error, RecursionError)
_LONGEST_TEXT = 1000
_ABANDON = 1.0  # seconds that a line which takes nothing delays the error
_LARGEST_PID = 1 << 22  # proc(5), pid_max
_MOST_STALE = 64 << 20  # bytes of an earlier manager's that may come before the answer to `attach`
_MOST_EXITS = 64


def printable(text: object) -> str:
    """`text` from the guest, cut to a length and harmless to a terminal."""
    return harmless(str(text)[:_LONGEST_TEXT])


@dataclass(frozen=True)
class EndedCommand:
    """A command that ended under another manager, and how; `exit` is None when that is unknown, and `lost` says why."""

    number: int  # of its channel
    pid: int
    argv: tuple[str, ...]
    exit: Exit | None
    lost: str = ""


class Channel:
    """A connection to one agent. Owns its socket."""

    def __init__(self, sock: socket.socket, last_words: Callable[[], Awaitable[str]]) -> None:
        """`last_words` gives what is known of the guest's end when the line breaks."""
        self._link = Link(sock, self._received, self._on_end)
        self._decoder = agent.Decoder()
        self._numbers = itertools.count(1)
        self._needle = b""  # where what comes begins to be for us; see `attach`
        self._stale = bytearray()
        self._skipped = 0
        self._requests: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._processes: dict[int, AsyncProcess] = {}
        self._last_words = last_words
        self._farewell: asyncio.Task[None] | None = None
        self.hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.ended: str | None = None
        self.notices: list[str] = []  # what the agent reported by itself; the last few
        self.exits: tuple[EndedCommand, ...] = ()  # the last commands that ended before `attach`, oldest first

    @classmethod
    async def attach(
        cls, sock: socket.socket, token: str, last_words: Callable[[], Awaitable[str]], deadline: float = 30.0
    ) -> Channel:
        """The line to an agent that another manager has set up with this `token`, 16 bytes in hex.

        Its commands go on in `processes`, its last exits are in `exits`. Output is lost as far as the line had taken
        it when it broke. Raises AgentError on a broken line, and at the deadline when the agent doesn't know the token
        or the other manager still has the line. Owns `sock` in any case.
        """
        channel, _ = await cls._taken(sock, token, last_words, deadline, "resume", {})
        return channel

    @classmethod
    async def restore(
        cls,
        sock: socket.socket,
        token: str,
        last_words: Callable[[], Awaitable[str]],
        fields: Mapping[str, Any],
        deadline: float = 30.0,
    ) -> tuple[Channel, dict[str, Any]]:
        """The line to the agent of a copy of a guest that was set up with this `token`, and what it says.

        It is a guest of its own by then, as `fields` tell (`gavotte.guest.agent.restore`). Raises as `attach`, and
        AgentError when it can't be. Owns `sock` in any case.
        """
        channel, answer = await cls._taken(sock, token, last_words, deadline, "restore", fields)
        return channel, await channel._restored(answer)

    @classmethod
    async def await_restore(
        cls,
        sock: socket.socket,
        token: str,
        last_words: Callable[[], Awaitable[str]],
        asked: int,
        shift: float,
        deadline: float = 30.0,
    ) -> tuple[Channel, dict[str, Any]]:
        """The same where the request was sent before, under the number `asked` and without a shift of the clock: that
        is done before any command is started, which would be refused if it couldn't be."""
        channel = cls(sock, last_words)
        try:
            shifting = {"op": "renew", "shift": shift, "silent": True}
            renewal = agent.encode_json(agent.REQUEST, agent.pick_resumer(), shifting)
            answer = await channel._await_line(bytes.fromhex(token), asked, deadline, renewal)
        except BaseException:
            await channel.close()
            raise
        return channel, await channel._restored(answer)

    async def _restored(self, answer: dict[str, Any]) -> dict[str, Any]:
        if problem := answer.get("problem"):
            await self.close()
            raise AgentError(f"the guest can't become one of its own: {printable(problem)}")
        return answer

    @classmethod
    async def _taken(
        cls,
        sock: socket.socket,
        token: str,
        last_words: Callable[[], Awaitable[str]],
        deadline: float,
        operation: str,
        fields: Mapping[str, Any],
    ) -> tuple[Channel, dict[str, Any]]:
        channel = cls(sock, last_words)
        try:
            number = agent.pick_resumer()
            request = agent.encode_takeover(bytes.fromhex(token), number, {"op": operation, **fields})
            return channel, await channel._await_line(bytes.fromhex(token), number, deadline, request)
        except BaseException:
            await channel.close()
            raise

    @property
    def processes(self) -> Mapping[int, AsyncProcess]:
        """The commands that run, by the number of their channel."""
        return MappingProxyType(self._processes)

    # requests

    async def request(self, operation: str, *, deadline: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Ask the agent; gives its reply. Raises AgentError on refusal, on a broken line and at the deadline."""
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._requests[number] = future
        try:
            async with asyncio.timeout(deadline):
                await self._send_request(number, operation, fields)
                return await future
        except TimeoutError:
            raise AgentError(f"the guest's agent didn't answer {operation!r} within {deadline:g} s") from None
        finally:
            del self._requests[number]

    async def tell(self, operation: str, **fields: Any) -> None:
        """Ask, and look for no reply. What is asked for next is served next. Raises AgentError on a broken line."""
        await self._send_request(agent.pick_resumer(), operation, fields)

    async def _await_line(self, token: bytes, number: int, deadline: float, request: bytes) -> dict[str, Any]:
        """Send a `request`; gives the answer to the one that takes the line over, which `number` tells from what comes
        before it."""
        self._needle = token + agent.encode(agent.REPLY, number)[: agent.HEADER.size - 4]  # but for the length
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._requests[number] = future
        try:
            async with asyncio.timeout(deadline):
                await self.send(request)
                return dict(await future)
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
        deadline: float = 60.0,
    ) -> AsyncProcess:
        """Start a command; returns when it runs. `tty` is (rows, columns) of a terminal for it.

        Raises CommandNotStarted (not found, not executable, no such user or directory) and AgentError.
        """
        number = next(self._numbers)
        process = AsyncProcess(self, number, list(argv), stdin)
        fields = {"argv": list(argv), "env": env, "cwd": cwd, "user": user, "window": agent.WINDOW}
        self._processes[number] = process
        try:
            async with asyncio.timeout(deadline):
                await self._send_request(number, "exec", {**fields, "stdin": stdin, "tty": list(tty) if tty else None})
                process.pid = int((await process.started)["pid"])
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
                    await self._send_request(next(self._numbers), "signal", {"target": number, "signal": 9})
                    for stream in (agent.STDOUT, agent.STDERR):  # else what it wrote would wait for credit for ever
                        await self.send(agent.encode(agent.CLOSE, number, stream=stream))
            except (AgentError, TimeoutError):
                pass  # the guest has gone, and the command with it

    async def _send_request(self, number: int, operation: str, fields: dict[str, Any]) -> None:
        try:
            frame = agent.encode_json(agent.REQUEST, number, {"op": operation, **fields})
        except (TypeError, ValueError) as error:
            raise UsageError(f"can't be sent to the guest: {error}", path=operation) from None
        if len(frame) > agent.MAX_PAYLOAD:
            raise UsageError(f"{len(frame)} bytes of argv and env are more than a guest takes", path=operation)
        await self.send(frame)

    async def send(self, frame: bytes) -> None:
        """Send one frame. Raises AgentError when the line is broken."""
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
        self._end("the sandbox was closed")
        if self._farewell is not None:
            await self._farewell

    # what arrives

    def _received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(self._without_stale(data)):
                self._handle(frame)
            if self._decoder.skipped:
                raise AgentError("the guest sent bytes that are no frame")
        except _BREACHES as error:
            self._link.close()  # a guest that breaks the protocol isn't listened to any more
            self._end(f"the guest's agent broke the protocol: {printable(error)}")

    def _without_stale(self, data: bytes) -> bytes:
        """What of `data` is for us: on a line that was another manager's, nothing before our answer."""
        if not self._needle:
            return data
        self._stale += data
        at = self._stale.find(self._needle)
        if at < 0:
            stale = max(0, len(self._stale) - len(self._needle))
            self._skipped += stale
            if self._skipped > _MOST_STALE:
                raise AgentError(f"more than {_MOST_STALE} bytes came that answer another manager")
            del self._stale[:stale]
            return b""
        ours = bytes(self._stale[at + agent.TOKEN_LENGTH :])
        self._needle = b""
        self._stale.clear()
        return ours

    def _adopt(self, listing: dict[str, Any]) -> None:
        """Take over the commands that still run; before the next frame, which may be one of theirs."""
        last = _number(listing["last"], agent.FIRST_RESUMER - 1)
        self._numbers = itertools.count(last + 1)
        for one in listing["commands"]:
            number, credit = _number(one["channel"], last), one["stdin"]
            if number in self._processes:
                raise AgentError(f"two commands on channel {number}")
            process = AsyncProcess(self, number, list(_words(one["argv"])), stdin=False)
            credit = None if credit is None else _number(credit, agent.WINDOW)
            process.adopt(_number(one["pid"], _LARGEST_PID), credit, one["stdout"] is True, one["stderr"] is True)
            self._processes[number] = process
        self.exits = tuple(
            EndedCommand(
                _number(one["channel"], last),
                _number(one["pid"], _LARGEST_PID),
                _words(one["argv"]),
                _exit(one),
                printable(one.get("lost", "")),
            )
            for one in listing["exits"][-_MOST_EXITS:]
        )

    def _handle(self, frame: agent.Frame) -> None:
        if frame.kind == agent.HELLO:
            if not self.hello.done():
                self.hello.set_result(dict(json.loads(frame.payload)))
        elif frame.kind in (agent.REPLY, agent.ERROR):
            self._on_answer(frame)
        elif frame.kind == agent.NOTICE:
            self.notices = [*self.notices[-9:], printable(json.loads(frame.payload)["why"])]
        elif process := self._processes.get(frame.channel):
            self._on_stream(process, frame)

    def _on_answer(self, frame: agent.Frame) -> None:
        value = json.loads(frame.payload)
        process = self._processes.get(frame.channel)
        waiting = process.started if process else self._requests.get(frame.channel)
        if waiting is None or waiting.done():
            if frame.kind == agent.ERROR:
                self.notices = [*self.notices[-9:], printable(value["message"])]
            return
        if frame.kind == agent.ERROR:
            waiting.set_exception(_refusal(value["code"], printable(value["message"])))
            if process:
                waiting.exception()  # whoever started it gets it, if that is still this manager
                process.finish(None, "it was not started")
                self._processes.pop(frame.channel, None)
            return
        if process:
            if not 0 < int(value["pid"]) <= _LARGEST_PID:
                raise AgentError("no command has that process id")
            process.pid = int(value["pid"])
        elif frame.channel >= agent.FIRST_RESUMER:
            self._adopt(value)
        waiting.set_result(dict(value))

    def _on_stream(self, process: AsyncProcess, frame: agent.Frame) -> None:
        outputs = {agent.STDOUT: process.stdout, agent.STDERR: process.stderr}
        if frame.kind == agent.DATA:
            outputs[frame.stream].feed(frame.payload)
        elif frame.kind == agent.EOF:
            outputs[frame.stream].end()
        elif frame.kind == agent.CREDIT and process.stdin:
            process.stdin.grant(struct.unpack(">I", frame.payload)[0])
        elif frame.kind == agent.CLOSE and process.stdin:
            process.stdin.end()
        elif frame.kind == agent.EXIT:
            outcome = json.loads(frame.payload)
            process.finish(_exit(outcome), printable(outcome.get("lost", "")))
            del self._processes[frame.channel]

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
        for future in [self.hello, *starting, *self._requests.values()]:
            if not future.done():
                future.set_exception(AgentError(why))
                future.exception()  # whoever waits gets it; nobody has to
        for process in self._processes.values():
            process.finish(None, why)
        self._processes.clear()


def _refusal(code: object, message: str) -> Exception:
    if code in _NOT_STARTED:
        return CommandNotStarted(message, exit_code=_NOT_STARTED[str(code)], hint=_HINTS.get(str(code), ""))
    return AgentError(f"the guest's agent refused: {message}")


def _number(value: object, largest: int) -> int:
    """`value` if it is a number from 0 to `largest`. Raises AgentError."""
    if type(value) is not int or not 0 <= value <= largest:
        raise AgentError(f"{str(value)[:40]!r} is no number from 0 to {largest}")
    return value


def _words(argv: object) -> tuple[str, ...]:
    """A command line as the guest tells it. Raises AgentError when it has no program."""
    if type(argv) is not list or not argv:
        raise AgentError("a command has no argv")
    return tuple(printable(word) for word in argv)


def _exit(outcome: dict[str, Any]) -> Exit | None:
    """What EXIT says, within the bounds of wait(2); None when the outcome is lost."""
    if "lost" in outcome:
        return None
    code = -int(outcome["signal"]) if "signal" in outcome else int(outcome["status"])
    if not -64 <= code <= 255:
        raise AgentError(f"no command ends with status {code}")
    return Exit(code, int(outcome.get("oom_kills", 0)), int(outcome.get("forks_denied", 0)))
