"""A command's streams, between a keeper's line and this process: one poll loop, no thread, no asyncio."""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from gavotte.errors import HostError
from gavotte.faces.terminal import closed_streams, is_broken_pipe, window_size
from gavotte.sandbox.keeper.client import Line
from gavotte.sandbox.keeper.wire import CHUNK, ERR, IN, MESSAGE, OUT, WINDOW, encode, encode_message
from gavotte.sandbox.words import GRACE

__all__ = ["Interrupted", "Streams"]

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_ATOM = 4096  # what a pipe that is ready takes without blocking (pipe(7), PIPE_BUF)
_NAMES = {OUT: "stdout", ERR: "stderr"}


class Interrupted(Exception):
    """A second signal, or the byte to leave by (number 0): this process leaves."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number
        self.exit_code = 128 + number


class Streams:
    """Copies until the other side tells the end.

    SIGINT and its like are the command's; a second one, of whichever kind, ends this process instead, and so does GRACE
    after SIGTERM. `leave` is a byte of the input that ends it too.
    """

    def __init__(self, line: Line, *, stdin: bool, tty: bool = False, leave: bytes = b"") -> None:
        self._line = line
        self._stdin = stdin
        self._tty = tty
        self._leave = leave
        self._granted = WINDOW
        self._outputs = {OUT: Output(1), ERR: Output(2)}
        self._signals: list[int] = []
        self._forwarded = False
        self._until: float | None = None  # when this process leaves, whatever the command does
        self._end: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """What the other side said at the end. Raises Interrupted, HostError, and what the keeper raises."""
        with self._watch_signals() as wakeup:
            if self._line.pending:
                self._take_in()
            while not self._end or any(output.waiting for output in self._outputs.values()):
                self._turn(wakeup)
        return self._end

    def _turn(self, wakeup: int) -> None:
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        if not self._end:
            poll.register(self._line.sock, select.POLLIN)
            if self._stdin and self._granted:
                poll.register(0, select.POLLIN)
        for output in self._outputs.values():
            if output.waiting:
                poll.register(output.fd, select.POLLOUT)
        left = None if self._until is None else max(0.0, self._until - time.monotonic())
        ready = {fd for fd, _ in poll.poll(None if left is None else left * 1000)}
        if left == 0:
            raise Interrupted(signal.SIGTERM)
        if wakeup in ready:
            os.read(wakeup, 1024)
            self._forward()
        if self._line.sock.fileno() in ready:
            self._take_in()
        for kind, output in self._outputs.items():
            if output.fd in ready and output.waiting:
                self._write(kind, output)
        if 0 in ready:
            self._read()

    # --- from the keeper ----------------------------------------------------------------------------------------------

    def _take_in(self) -> None:
        for kind, payload in self._line.receive():
            self._on_frame(kind, payload)

    def _on_frame(self, kind: int, payload: bytes) -> None:
        if kind in self._outputs:
            self._outputs[kind].waiting += payload
        elif kind == MESSAGE:
            message = self._line.opened(payload)
            if "credit" in message:
                self._granted += message["credit"]
            elif "closed" in message:
                self._stdin = False
            elif "exit" in message:
                self._end = message
            elif "note" in message:
                end = "\r\n" if self._tty else "\n"
                self._outputs[ERR].waiting += f"gavotte: {message['note']}{end}".encode()

    def _write(self, kind: int, output: Output) -> None:
        try:
            count = output.write()
        except OSError as error:
            if not is_broken_pipe(error):
                raise HostError(f"can't write to {_NAMES[kind]}: {error.strerror}") from error
            self._line.send(encode_message(close=kind))  # the command gets SIGPIPE, as it would here
            return
        output.owed += count
        if output.owed >= WINDOW // 4:
            self._line.send(encode_message(credit=output.owed, stream=kind))
            output.owed = 0

    # --- to the keeper ------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = os.read(0, min(CHUNK, self._granted))
        except BlockingIOError:  # somebody else made this description non-blocking, and took what there was
            return
        except OSError as error:
            if not is_closed(error):
                hint = "give it a file, a pipe or </dev/null"
                raise HostError(f"can't read stdin: {error.strerror}", hint=hint) from error
            data = b""
        if self._leave and self._leave in data:
            raise Interrupted(0)
        self._granted -= len(data)
        self._stdin = bool(data)
        self._line.send(encode(IN, data))

    def _forward(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGWINCH:
                self._line.send(encode_message(window=window_size()))
            elif self._forwarded:
                raise Interrupted(number)
            else:
                self._forwarded = True
                self._line.send(encode_message(signal=number))
                if number == signal.SIGTERM:
                    self._until = time.monotonic() + GRACE

    @contextmanager
    def _watch_signals(self) -> Iterator[int]:
        """A descriptor that is ready when there are `_signals`."""
        with ExitStack() as undo:
            ours, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            undo.callback(os.close, ours)
            undo.callback(os.close, theirs)
            undo.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(theirs, warn_on_full_buffer=False))
            for number in (*_FORWARDED, *[signal.SIGWINCH] * self._tty):
                before = signal.getsignal(number)
                if before is not signal.SIG_IGN:  # nohup's wish is respected
                    signal.signal(number, lambda number, _frame: self._signals.append(number))
                    undo.callback(signal.signal, number, before)
            yield ours


class Output:
    """What waits to be written to one of our streams."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.waiting = bytearray()
        self.owed = 0
        self._closed = fd in closed_streams()  # what comes for it is for nobody
        self._atom = CHUNK if is_file(fd) else _ATOM

    def write(self) -> int:
        """Write what the stream takes now; how much that was. Raises OSError, once."""
        if self._closed:
            count = len(self.waiting)
            self.waiting.clear()
            return count
        try:
            count = os.write(self.fd, self.waiting[: self._atom])
        except BlockingIOError:
            return 0
        except OSError:
            self._closed = True
            self.waiting.clear()
            raise
        del self.waiting[:count]
        return count


def is_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def is_closed(error: OSError) -> bool:
    import errno

    return error.errno == errno.EBADF
