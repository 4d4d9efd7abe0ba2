"""The guest agent: PID 1 of the guest. Here: the frames that it and the host speak to each other.

These files are copied into the guest as they are, and the host imports this one: there is no second copy of the format.

    frame    12-byte header, then the payload
    header   >HBBII   magic, kind, stream, channel, length of the payload

A channel is a number that the host picks for each request. A command's three streams go over the channel of the
request that started it, each with credit: a sender may have at most as many bytes under way as the receiver has
granted, so memory stays flat at both ends whatever the speeds are.

    agent            PID 1: owns the line to the host, the disks, and the stage
    └── stage        PID 1 of namespaces of its own, pivoted into the user's root; starts every command
        └── command  each a session and a cgroup of its own, so that killing it leaves nothing behind

A command that kills everything it can see (`kill -9 -1`, `reboot -f`) reaches the stage at most. That is reported,
and a new stage takes over. None of this is the security boundary: the virtual machine is.

Knows: Linux, system calls, the standard library.
Doesn't know: anything of Gavotte but the files in this directory; the guest has no others.
"""

from __future__ import annotations

import json
import os
import struct
from collections import namedtuple

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    Json = Any  # decoded: the shape is checked where it is used

PROTOCOL, PORT_NAME = 1, "gavotte.agent"

MAGIC = 0x4756
HEADER = struct.Struct(">HBBII")
MAX_PAYLOAD = 4 << 20  # a request carries argv and env, which Linux bounds at about 2 MiB (execve(2), ARG_MAX)
PAGE, CHUNK = os.sysconf("SC_PAGE_SIZE"), 64 << 10  # CHUNK: the largest DATA payload that either end sends
WINDOW = 1 << 20  # initial credit of each stream
MAX_LISTING = 1 << 20  # the largest REPLY: what a new manager is told of the commands

HELLO = 1  # agent -> host, once: {"protocol": 1, "kernel": …}
REQUEST, REPLY = 2, 3  # host -> agent: {"op": …}; answered on the same channel by REPLY or ERROR
ERROR = 4  # {"code": …, "message": …}; on channel 0: about no request in particular
DATA = 5
EOF = 6  # the sender has no more for this stream
CREDIT = 7  # the receiver grants so many more bytes: payload >I
CLOSE = 8  # the receiver wants no more of this stream
EXIT = 9  # the command of this channel is over: {"status": n} | {"signal": n} | {"lost": why}, and what befell it
NOTICE = 10  # agent -> host, on channel 0: something happened that no request asked for

STDIN, STDOUT, STDERR = 0, 1, 2

SEED_LENGTH = 32  # bytes, at least, that a copy's random numbers come from: what the kernel's generator is keyed with
TOKEN_LENGTH = 16  # bytes of what a new manager takes the line over with: see `resume`
FIRST_RESUMER = 1 << 31  # the request that does so has a random channel from here on, so that no older answer fits

Frame = namedtuple("Frame", "kind channel stream payload")


def encode(kind: int, channel: int = 0, payload: bytes = b"", stream: int = 0) -> bytes:
    """One frame as bytes."""
    return HEADER.pack(MAGIC, kind, stream, channel, len(payload)) + payload


def encode_json(kind: int, channel: int, value: Json) -> bytes:
    """One frame whose payload is `value` as JSON. Lone surrogates (bytes of a path that isn't UTF-8) survive."""
    return encode(kind, channel, to_json(value))


def pick_resumer() -> int:
    """A number for a request that takes the line over."""
    return FIRST_RESUMER + int.from_bytes(os.urandom(4), "big") % (1 << 31)


def encode_takeover(token: bytes, number: int, value: Json) -> bytes:
    """A request that takes the line over, behind the token that it needs for that."""
    return token + encode_json(REQUEST, number, value)


# Made once, and without the look for white space around a document: what a copy of a guest runs first is all translated
# anew under emulation, and each function more is felt.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


def to_json(value: Json) -> bytes:
    """`value` as a JSON document."""
    return _encode(value).encode()


def from_json(document: bytes) -> Json:
    """The value of a JSON document that begins with it. Raises ValueError."""
    return _decode(str(document, "utf-8"))[0]


class Decoder:
    """Bytes in, frames out. What isn't a frame is skipped up to the next header and counted in `skipped`."""

    def __init__(self, limit: int = MAX_PAYLOAD, limits: Mapping[int, int] | None = None) -> None:
        """`limit` is the largest payload in bytes, but for the kinds that `limits` has."""
        self.limit = limit
        self._limits = limits or {}
        self.skipped = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes, in order. Holds at most one frame of `limit` bytes back."""
        return list(self.frames(data))

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The same, one by one. All of them are to be taken before there is more."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER.size:
            magic, kind, stream, channel, length = HEADER.unpack_from(buffer, start)
            if magic != MAGIC or length > self._limits.get(kind, self.limit):
                start = self._resync(start + 1)
                continue
            end = start + HEADER.size + length
            if len(buffer) < end:
                break
            yield Frame(kind, channel, stream, bytes(buffer[start + HEADER.size : end]))
            start = end
        del buffer[:start]

    def _resync(self, start: int) -> int:
        found = self._buffer.find(MAGIC.to_bytes(2, "big"), start)
        if found < 0:  # the last byte may be the first of a header
            found = max(start, len(self._buffer) - 1)
        self.skipped += found - start + 1
        return found
