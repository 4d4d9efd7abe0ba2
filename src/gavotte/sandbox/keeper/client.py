"""A client's end of the line to a keeper, without asyncio. It starts a keeper, and a new one where that has died."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from gavotte.errors import HostError, OutcomeUnknown, StateError
from gavotte.flock import FileLock
from gavotte.sandbox.keeper.wire import (
    MESSAGE,
    PROTOCOL,
    VERSION,
    Decoder,
    Malformed,
    decode_message,
    encode_message,
    error_from_json,
)
from gavotte.sandbox.register import DEAD, SOCKET, STARTING, Entry
from gavotte.sandbox.store import run_root

__all__ = ["Line", "connect", "launch"]

_RECEIVE = 128 << 10
_TURN = 60.0  # seconds in which another client has brought a keeper
_ANSWER = 10.0  # seconds until hello; a keeper only waits, so it answers at once


class Line:
    """A connection to the keeper of sandbox `name`, owned."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock = sock
        self.name = name
        self._decoder = Decoder()
        self._frames: list[tuple[int, bytes]] = []
        self._asked = "hello"

    def ask(
        self,
        op: str,
        *,
        on_note: Callable[[dict[str, Any]], None] | None = None,
        patience: float | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Send a request and wait for its reply; `on_note` is called with what the keeper tells in between.

        Raises what the keeper raises, OutcomeUnknown when it dies meanwhile, and HostError when it says nothing for
        `patience` seconds.
        """
        self.sock.settimeout(patience)
        self.request(op, **fields)
        while True:
            message = self.message()
            if "reply" in message:
                reply: dict[str, Any] = message["reply"]
                return reply
            if on_note is not None:
                on_note(message)

    def request(self, op: str, **fields: Any) -> None:
        """Send a request. Raises OutcomeUnknown when the keeper has gone."""
        self._asked = op
        self.send(encode_message(op=op, protocol=PROTOCOL, gavotte=VERSION, **fields))

    def send(self, frame: bytes) -> None:
        """Send a frame. A keeper that has gone is noticed by the reader, which hears what it said before."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(frame)

    def message(self) -> dict[str, Any]:
        """Wait for the next message. Raises the error that it is, and OutcomeUnknown when the keeper dies."""
        while not self._frames:
            self._frames += self.receive()
        kind, payload = self._frames.pop(0)
        if kind != MESSAGE:
            raise self._broken(f"it sent a frame of kind {kind} out of turn")
        return self.opened(payload)

    def opened(self, payload: bytes) -> dict[str, Any]:
        """A message's payload. Raises the error that it is."""
        try:
            message = decode_message(payload)
            error = error_from_json(message["error"]) if "error" in message else None
        except Malformed as malformed:
            raise self._broken(str(malformed)) from None
        if error is not None:
            raise error
        return message

    @property
    def pending(self) -> bool:
        """Whether frames came with the last message: `receive` gives them at once, though the socket is silent."""
        return bool(self._frames)

    def receive(self) -> list[tuple[int, bytes]]:
        """Wait for bytes; the frames that they complete. Raises OutcomeUnknown when the keeper has gone."""
        frames, self._frames = self._frames, []
        if frames:
            return frames
        try:
            data = self.sock.recv(_RECEIVE)
            if data:
                return self._decoder.feed(data)
        except TimeoutError:
            raise silent(self.name) from None
        except (OSError, Malformed) as error:
            raise self._broken(str(error)) from error
        raise self._broken("it closed the line")

    def _broken(self, why: str) -> OutcomeUnknown:
        error = OutcomeUnknown(f"{self._asked!r} on {self.name}", f"its keeper has gone ({why})")
        error.hint = "gavotte ps shows what is left; where the machine lives, the next command brings a new keeper"
        return error

    def hello(self) -> Self:
        """Wait for the keeper's greeting. Raises HostError when it is of another release, or silent."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(_ANSWER * 1000):
            raise silent(self.name)
        greeting = self.message()
        if greeting.get("protocol") != PROTOCOL:
            raise HostError(
                f"the keeper of {self.name} is of Gavotte {greeting.get('gavotte')} and speaks protocol "
                f"{greeting.get('protocol')}; this is {VERSION} and speaks {PROTOCOL}",
                hint=f"use that Gavotte, or end the sandbox: kill {greeting.get('pid')}",
            )
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def silent(name: str) -> HostError:
    """The error for a keeper that should have answered."""
    return HostError(
        f"the keeper of {name} is silent",
        hint=f"is the host overloaded? try again; gavotte stop --force {name} ends the sandbox without its keeper",
    )


def connect(entry: Entry) -> Line:
    """The line to a sandbox's keeper; where that has died and the machine lives on, to a new one.

    Raises StateError for a sandbox that is over, and for a keeper that was stopped by a signal; HostError for one that
    is silent.
    """
    if (pid := entry.halted) is not None:
        way = f"kill -CONT {pid} has it go on; gavotte stop --force {entry.name} ends the sandbox without it"
        raise StateError(f"the keeper of {entry.name} (pid {pid}) was stopped by a signal", hint=way)
    line = _dial(entry)
    if line is None:
        with _turn(entry.path):
            entry = Entry.read(entry.path)
            line = _dial(entry) or _revive(entry)
    return line


def _revive(entry: Entry) -> Line:
    if entry.over:
        raise over(entry)
    if entry.kept and entry.state == STARTING:
        raise StateError(f"{entry.name} is {entry.state}", hint="try again when gavotte ps shows it running")
    if entry.kept:
        raise StateError(
            f"nobody listens for {entry.name}, though its keeper runs: it is just ending, or its socket was removed",
            hint=f"try again; gavotte stop --force {entry.name} ends it all the same",
        )
    with launch(entry.name) as line:
        line.ask("attach")
    revived = _dial(entry)
    if revived is None:
        raise over(Entry.read(entry.path))
    return revived


def over(entry: Entry) -> StateError:
    """The error for a sandbox that has ended."""
    state, why = entry.observed
    status = "" if entry.status is None else f", its command with status {entry.status}"
    log = entry.path / "console.log"
    console = f"its console's log is {log}; " if state == DEAD and log.exists() else ""
    return StateError(
        f"{entry.name} is over: {state}{status}{f' ({why})' if why else ''}",
        hint=f"{console}gavotte logs {entry.name} shows what it wrote; gavotte rm {entry.name} frees the name",
    )


def _dial(entry: Entry) -> Line | None:
    """The line, unless nobody listens."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        with directory_fd(entry.path) as fd:
            sock.settimeout(_ANSWER)  # a backlog that is full
            sock.connect(f"/proc/self/fd/{fd}/{SOCKET}")
            sock.settimeout(None)
        return Line(sock, entry.name).hello()
    except (ConnectionRefusedError, FileNotFoundError, OutcomeUnknown):
        sock.close()
        return None
    except TimeoutError:
        sock.close()
        raise silent(entry.name) from None
    except BaseException:
        sock.close()
        raise


@contextmanager
def directory_fd(path: Path) -> Iterator[int]:
    """The directory as a descriptor: by /proc/self/fd, the path of a socket in it is short enough wherever it is."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """One client at a time brings a new keeper. Whoever has the turn has deadlines, unless it was stopped."""
    lock = FileLock(path / "revive.lock")
    try:
        if not lock.wait(_TURN):
            raise HostError(
                f"{lock.holder} is starting a keeper for {path.name}, and doesn't come to its end",
                hint="end it, then try again",
            )
        yield
    finally:
        lock.release()


def launch(name: str) -> Line:
    """Start a keeper for sandbox `name`, detached from this process and its terminal; the line to it."""
    import subprocess

    ours, theirs = socket.socketpair()
    with theirs:
        try:
            subprocess.run(
                [sys.executable, "-P", "-m", "gavotte.sandbox.keeper", name, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": _import_path(), "GAVOTTE_RUN_DIR": os.fspath(run_root())},
                start_new_session=True,
                cwd="/",
                check=True,
                timeout=30,
            )
        except (OSError, subprocess.SubprocessError) as error:
            ours.close()
            raise HostError(f"can't start a keeper: {error}") from error
    return Line(ours, name).hello()


def _import_path() -> str:
    """Where a new interpreter finds this very Gavotte, installed or not."""
    here = os.fspath(Path(__file__).parents[3])
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))
