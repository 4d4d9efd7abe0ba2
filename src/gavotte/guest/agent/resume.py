"""A new manager takes the line over: the token by which it says so, and what it is told.

The line may break in the middle of a frame, in both directions, with the manager at its other end. The next one writes
the token that the first one gave with `setup`, and the request `resume` right behind it. The token ends whatever frame
was half read. The answer begins with the token too, then comes the REPLY, then each frame that was not sent as a whole.
What the port had taken before the line broke is lost, since nobody can tell how much of it was read, unless the command
was started with `retain`: its output, and its end, are sent again from the first byte on that the new manager hasn't.
"""

from __future__ import annotations

from collections import Counter

from gavotte.guest.agent import (
    CHUNK,
    DATA,
    EOF,
    EXIT,
    HEADER,
    MAX_LISTING,
    NOTICE,
    STDERR,
    STDOUT,
    WINDOW,
    encode,
    encode_json,
    to_json,
)
from gavotte.guest.agent.packets import Refusal
from gavotte.guest.agent.streams import MOST_OF_ARGV, shortened

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gavotte.guest.agent import Json
    from gavotte.guest.agent.streams import Command

ROOM = 1 << 19  # characters of all argv together


class TokenCutter:
    """Cuts what the host sends at each token, wherever it stands and however it is split over reads."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._held = b""  # the end of what came, if it could be the token's beginning
        self._let_go = 0  # so many of these bytes were given away already

    def cut(self, data: bytes) -> list[bytes]:
        """What came before the first token, between the tokens, and behind the last one."""
        pieces = (self._held + data).split(self._token)
        skip = self._let_go if len(pieces) == 1 else 0
        pieces[0] = pieces[0][self._let_go - skip :]
        last = pieces[-1]
        held = self._beginning(last)
        self._held = last[len(last) - held :]
        given = len(last) - held
        self._let_go = max(0, skip - given)
        pieces[-1] = last[skip:given]
        return pieces

    def let_go(self) -> bytes:
        """What was held back, when nothing else is there to read. It is still known to be the token's beginning."""
        rest, self._let_go = self._held[self._let_go :], len(self._held)
        return rest

    def _beginning(self, data: bytes) -> int:
        """How many bytes at the end of `data` could be the first ones of the token."""
        sizes = range(min(len(data), len(self._token) - 1), 0, -1)
        return next((size for size in sizes if data.endswith(self._token[:size])), 0)


def retaining(*commands: Mapping[int, Command]) -> dict[int, Command]:
    """Those whose output is retained, by channel."""
    return {channel: command for some in commands for channel, command in some.items() if command.retain}


def release(retained: Mapping[int, Command], stored: Mapping[str, Json]) -> None:
    """Forget what a new manager has of their output."""
    for channel, offsets in stored.items():
        command = retained.get(int(channel))
        for stream, offset in zip((STDOUT, STDERR), offsets, strict=True):
            if type(offset) is not int:
                raise Refusal("malformed", f"{offset!r} is no number of bytes")
            outlet = command.outlets.get(stream) if command else None
            if outlet:
                outlet.release(max(0, offset - outlet.released))


def again(frames: Iterable[bytes], retained: Mapping[int, Command]) -> Iterator[bytes]:
    """The frames, but of `retained` commands all that a new manager hasn't: output, its end, the command's end."""
    for frame in frames:
        _magic, kind, _stream, channel, _length = HEADER.unpack_from(frame)
        if channel not in retained or kind not in (DATA, EOF, EXIT):
            yield frame
    for channel, command in retained.items():
        for stream, outlet in command.outlets.items():
            data = bytes(outlet.retained or b"")
            for at in range(0, len(data), CHUNK):
                yield encode(DATA, channel, data[at : at + CHUNK], stream)
            if outlet.ended:
                yield encode(EOF, channel, stream=stream)
        if command.exit is not None and all(outlet.fd < 0 for outlet in command.outlets.values()):
            yield encode_json(EXIT, channel, command.exit)


class Unsent:
    """The frames that a manager went without, but for what only it could use: answers, and credit of its streams."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        self.frames: list[bytes] = []
        self.waiting: Counter[tuple[int, int]] = Counter()  # bytes of DATA by channel and stream
        self.ends: set[tuple[int, int]] = set()
        self.exits: set[int] = set()
        for frame in frames:
            _magic, kind, stream, channel, length = HEADER.unpack_from(frame)
            if kind == DATA:
                self.waiting[channel, stream] += length
            elif kind == EOF:
                self.ends.add((channel, stream))
            elif kind == EXIT:
                self.exits.add(channel)
            elif kind != NOTICE:
                continue
            self.frames.append(frame)


def restore_credit(command: Command, channel: int, unsent: Unsent) -> None:
    """Have the credit of a command's streams as a new manager thinks that it is: a full window of output."""
    for stream, outlet in command.outlets.items():
        outlet.credit = WINDOW - unsent.waiting[channel, stream]
        outlet.update()
    if command.inlet:
        command.inlet.owed = 0


def listing(running: Mapping[int, Command], ended: Mapping[int, Command], unsent: Unsent, last: int) -> bytes:
    """The commands that a new manager will hear of, as they are before the unsent frames, and the last exits; as JSON
    that is one frame, however little of each argv that leaves."""
    known = {**{channel: command for channel, command in ended.items() if channel in unsent.exits}, **running}
    gone = {channel: command for channel, command in ended.items() if channel not in unsent.exits}
    room = min(MOST_OF_ARGV, ROOM // (len(known) + len(gone) + 1))
    while True:
        exits = [
            {"channel": channel, "pid": command.pid, "argv": shortened(command.argv, room), **(command.exit or {})}
            for channel, command in gone.items()
        ]
        commands = [describe(channel, command, unsent, room) for channel, command in known.items()]
        document = to_json({"last": last, "commands": commands, "exits": exits})
        if len(document) <= MAX_LISTING or room <= 1:
            return document
        room = max(1, room // 4)


def describe(channel: int, command: Command, unsent: Unsent, room: int) -> Json:
    """One command; `stdin` is the credit of an open one, `stdout` and `stderr` say whether more can come. Where these
    are retained, `at` says from which of their bytes on they come."""
    is_open = {}
    for stream in (STDOUT, STDERR):
        outlet = command.outlets.get(stream)
        awaited = command.starts_on_terminal() and stream == STDOUT
        is_open[stream] = awaited or (channel, stream) in unsent.ends or (outlet is not None and outlet.fd >= 0)
    described = {
        "channel": channel,
        "pid": command.pid,
        "argv": shortened(command.argv, room),
        "tty": command.tty,
        "stdin": command.stdin_credit(),
        "stdout": is_open[STDOUT],
        "stderr": is_open[STDERR],
    }
    if command.retain and command.outlets:
        described["at"] = [command.outlets[stream].released for stream in (STDOUT, STDERR)]
    return described
