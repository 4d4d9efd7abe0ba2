"""The QMP client: commands and their answers, one connection.

Each command ends in one of QEMU's words (a value, QmpRefused), QmpNotSent (no byte of it left: no effect), or
OutcomeUnknown (it left, and no answer came).
"""

from __future__ import annotations

import asyncio
import reprlib
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Final

from gavotte.compat import override
from gavotte.errors import OutcomeUnknown, QmpNotSent, QmpProtocolError, QmpRefused, UsageError
from gavotte.qmp.events import EventStream, Listener, Listeners
from gavotte.qmp.link import Link
from gavotte.qmp.wire import Decoder, Event, Greeting, Json, Refusal, Reply, Words, encode, encode_opening

__all__ = ["Deadline", "QmpClient"]

LastWords = Callable[[], Awaitable[str]]

_LAST_WORDS = 2.0  # seconds that QEMU's last words may take to be gathered

# QEMU holds eight requests of a monitor and reads no further at the eighth, not even what is out-of-band
# (QMP_REQ_QUEUE_LEN_MAX in monitor/qmp.c). So no more than seven in-band commands are let out unanswered.
_WINDOW_OOB = 7
_WINDOW = 1024  # without OOB, QEMU reads one command at a time; the number only bounds what we remember

_MAX_FDS = 16  # QEMU takes no more with one message (SOCKET_MAX_FDS in io/channel-socket.c)


class Deadline:
    """Seconds that a class of commands may take, waiting for its turn included."""

    QUICK: Final = 5.0  # queries
    NORMAL: Final = 30.0  # changes
    SLOW: Final = 300.0  # migration, dumps


class _Call:
    """One command, until it is answered. `answer` is cancelled when its caller gives up before."""

    __slots__ = ("answer", "command", "final", "held")

    def __init__(self, command: str, final: bool, answer: asyncio.Future[Json]) -> None:
        self.command = command
        self.final = final
        self.answer = answer
        self.held: list[asyncio.Semaphore] = []  # places that the answer, and nothing else, frees

    async def hold(self, place: asyncio.Semaphore) -> None:
        await place.acquire()
        self.held.append(place)

    def succeed(self, value: Json) -> None:
        if not self.answer.done():
            self.answer.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def release(self) -> None:
        while self.held:
            self.held.pop().release()


class QmpClient:
    """A negotiated QMP connection; made by `connect`, closed by `close` or by the end of `async with`.

    Belongs to the event loop it was connected on. `greeting` is what QEMU said first.
    """

    greeting: Greeting

    def __init__(self, sock: socket.socket, last_words: LastWords | None, *, hold: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._last_words = last_words
        self._decoder = Decoder()
        self._greeted: asyncio.Future[Greeting] = loop.create_future()
        self._greeted.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, so not logged
        self._ids = count(1)
        self._calls: dict[str, _Call] = {}  # sent, unanswered
        self._window = asyncio.Semaphore(_WINDOW)
        self._oob_window: asyncio.Semaphore | None = None  # None: out-of-band execution wasn't negotiated
        self._fd_turn = asyncio.Semaphore(1)
        self._listeners = Listeners(hold=hold)
        self._why = ""  # the connection ended
        self._fault: QmpProtocolError | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._link = Link(sock, self._on_data, self._on_end)

    @classmethod
    async def connect(
        cls,
        sock: socket.socket,
        *,
        deadline: float = Deadline.NORMAL,
        last_words: LastWords | None = None,
        opening: Sequence[Words] = (),
        said: bool = False,
    ) -> QmpClient:
        """Take over a connected AF_UNIX stream socket, and negotiate; with out-of-band execution where it is offered.

        The commands in `opening`, of which the first is `qmp_capabilities` with that, are said at once instead, or were
        `said` before (`encode_opening`), and all of them are answered when this returns. The events of that time are
        kept for the first who listens.

        `last_words` is awaited when QEMU ends the connection; what it gives (exit code, stderr, command line) is
        quoted in the errors of that moment. Raises QmpNotSent if no greeting comes within `deadline` seconds or the
        connection ends before it, QmpProtocolError if something else comes, and all that `execute` raises.
        """
        client = cls(sock, last_words, hold=bool(opening))
        try:
            if opening:
                await client._open_with(opening, deadline, said=said)
            else:
                await client._negotiate(deadline)
        except BaseException:
            await client.close()
            raise
        return client

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        fds: Sequence[int] = (),
        deadline: float = Deadline.NORMAL,
        oob: bool = False,
        final: bool = False,
    ) -> Json:
        """Give QEMU's answer to a command.

        The `fds` travel with the command and stay the caller's to close, once this has returned or raised. `oob` runs
        it out-of-band, which only a few commands allow. With `final`, the end of the connection is a success too.

        Raises QmpRefused; QmpNotSent; OutcomeUnknown, also when `deadline` (seconds) passes after the command has
        left; UsageError for arguments or fds that can't be sent.
        """
        id = str(next(self._ids))
        data = encode(command, arguments, id=id, oob=oob)
        if len(fds) > _MAX_FDS:
            raise UsageError(f"QEMU takes {_MAX_FDS} fds with one command, not {len(fds)}", path="fds")
        call = _Call(command, final, self._loop.create_future())
        try:
            async with asyncio.timeout(deadline):
                await self._send(call, id, data, fds, oob)
                return await call.answer
        except TimeoutError:
            if call.answer.done() and not call.answer.cancelled():  # both in the same moment: the answer wins
                return call.answer.result()
            raise self._late(call, id, deadline) from self._fault

    def events(self, *names: str, limit: int = 1024) -> EventStream:
        """Give a stream of the events with these names, of all without a name; see EventStream."""
        return EventStream(self._listeners, frozenset(names), limit)

    def listen(self, listener: Listener) -> bool:
        """Show every event to `listener` from now on, until the connection ends; False if it has ended."""
        return self._listeners.add(listener)

    async def close(self) -> None:
        """Close the connection and return when that is done. QEMU itself doesn't mind, and goes on."""
        self._end("it was closed on this side")
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Return when the connection has ended, by whatever cause, and all who waited for an answer know."""
        await self._ended.wait()

    @property
    def closed(self) -> bool:
        """True from the moment at which the connection ended."""
        return bool(self._why)

    async def __aenter__(self) -> QmpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @override
    def __repr__(self) -> str:
        if self._why:
            return f"<QmpClient closed: {self._why.splitlines()[0]}>"
        state = "open" if self._greeted.done() else "not greeted"
        oob = ", oob" if self._oob_window else ""
        return f"<QmpClient {state}, {len(self._calls)} unanswered{oob}>"

    async def _open_with(self, words: Sequence[Words], deadline: float, *, said: bool) -> None:
        calls = {str(next(self._ids)): _Call(command, False, self._loop.create_future()) for command, _ in words}
        self._calls.update(calls)
        until = self._loop.time() + deadline
        try:
            if not said:
                await self._say(encode_opening(words))
            await self._greet(until, deadline)
            async with asyncio.timeout_at(until):
                await asyncio.gather(*(call.answer for call in calls.values()))
        except TimeoutError:
            for id, call in calls.items():
                if not call.answer.done() or call.answer.cancelled():  # else it came in the same moment, and wins
                    raise self._late(call, id, deadline) from self._fault
                call.answer.result()
        finally:
            for call in calls.values():
                call.answer.cancel()  # those that came are as they were
        self._allow_oob()

    async def _say(self, opening: bytes) -> None:
        try:
            await self._link.send(opening)
        except OSError as e:
            await self.wait_closed()
            raise QmpNotSent(f"nothing was sent: {self._why or e.strerror}") from self._fault

    async def _greet(self, until: float, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                self.greeting = await self._greeted
        except TimeoutError:
            raise QmpNotSent(
                f"QEMU sent no QMP greeting within {deadline:g} s",
                hint="a monitor greets one client at a time: see whether another one is connected",
            ) from None

    async def _negotiate(self, deadline: float) -> None:
        until = self._loop.time() + deadline
        await self._greet(until, deadline)
        oob = "oob" in self.greeting.capabilities
        await self.execute("qmp_capabilities", {"enable": ["oob"]} if oob else None, deadline=until - self._loop.time())
        if oob:
            self._allow_oob()

    def _allow_oob(self) -> None:
        self._window = asyncio.Semaphore(_WINDOW_OOB)
        self._oob_window = asyncio.Semaphore(_WINDOW_OOB)

    async def _send(self, call: _Call, id: str, data: bytes, fds: Sequence[int], oob: bool) -> None:
        window = self._oob_window if oob else self._window
        if window is None:
            raise QmpNotSent(f"{call.command} was not sent: this monitor has no out-of-band execution")
        try:
            if fds:  # QEMU keeps the last set received, so a set must be used before the next is sent
                await call.hold(self._fd_turn)
            await call.hold(window)
            await self._link.send(data, fds)
            self._calls[id] = call
        except ConnectionError:
            await self.wait_closed()
            raise QmpNotSent(f"{call.command} was not sent: {self._why}") from self._fault
        except OSError as e:
            raise QmpNotSent(f"{call.command} was not sent: {e.strerror}") from e
        finally:
            if id not in self._calls:
                call.release()

    def _late(self, call: _Call, id: str, deadline: float) -> OutcomeUnknown | QmpNotSent:
        if id in self._calls:
            return OutcomeUnknown(call.command, self._why or f"no answer within {deadline:g} s")
        others = f"{len(self._calls)} others are unanswered"
        why = self._why or f"it had no turn within {deadline:g} s; {others}"
        return QmpNotSent(f"{call.command} was not sent: {why}")

    def _on_data(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                match message:
                    case Reply():
                        self._take(message).succeed(message.value)
                    case Refusal():
                        call = self._take(message)
                        call.fail(QmpRefused(call.command, message.error_class, message.desc))
                    case Event():
                        self._listeners.offer(message)
                    case Greeting():
                        self._on_greeting(message)
        except QmpProtocolError as fault:
            self._fault = fault
            self._end(fault.message)

    def _on_greeting(self, greeting: Greeting) -> None:
        if self._greeted.done():
            raise QmpProtocolError("QEMU sent a second greeting")
        self._greeted.set_result(greeting)

    def _take(self, answer: Reply | Refusal) -> _Call:
        """Give the call that this answers, and free its places."""
        id = answer.id
        if id is None and isinstance(answer, Refusal) and len(self._calls) == 1:
            id = next(iter(self._calls))  # QEMU could not parse it, so it found no id in it; but it is the only one
        call = self._calls.pop(id, None) if isinstance(id, str) else None
        if call is None:
            raise QmpProtocolError(f"QEMU answered {reprlib.repr(id)}, which is no unanswered command's id")
        call.release()
        return call

    def _on_end(self, why: str) -> None:
        for call in self._calls.values():
            if call.final:
                call.succeed({})
        self._end(why, self._last_words)

    def _end(self, why: str, last_words: LastWords | None = None) -> None:
        if self._why:
            return
        self._why = why
        self._link.close()
        self._listeners.end()
        if last_words is None:
            self._settle()
        else:
            self._ending = self._loop.create_task(self._settle_after(last_words))

    async def _settle_after(self, last_words: LastWords) -> None:
        try:
            async with asyncio.timeout(_LAST_WORDS):
                words = await last_words()
            self._why += f"\n{words}" if words else ""
        except Exception as e:  # it is the caller's code: nothing in it may hide that the connection ended
            self._why += f"\nQEMU's last words are lost: {e!r}"
        finally:
            self._settle()

    def _settle(self) -> None:
        """Tell everybody who waits that nothing more will come."""
        for call in self._calls.values():
            error = OutcomeUnknown(call.command, self._why)
            error.__cause__ = self._fault
            call.fail(error)
            call.release()
        self._calls.clear()
        if not self._greeted.done():
            self._greeted.set_exception(
                self._fault or QmpNotSent(f"the connection ended before QEMU's greeting: {self._why}")
            )
        self._ended.set()
