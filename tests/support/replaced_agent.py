"""Runs in a guest: takes the line to the host from the guest's agent, and speaks to the host in its place.

The kernel starts it as the handler of a core dump (core(5)), outside the commands' namespaces: root in a guest can do
what it wants there. It stops the agent by ptrace(2), gets its port by pidfd_getfd(2), says that it started each command
that it is asked for, and does then what stands in TURNS.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import struct

HEADER = struct.Struct(">HBBII")
MAGIC, REQUEST, REPLY, DATA, CREDIT, NOTICE = 0x4756, 2, 3, 5, 7, 10
ATTACH, WALL, PIDFD_GETFD = 16, 0x40000000, 438


def frame(kind: int, channel: int, payload: bytes, length: int | None = None) -> bytes:
    return HEADER.pack(MAGIC, kind, 1, channel, len(payload) if length is None else length) + payload


def take_port() -> int:
    libc = ctypes.CDLL(None)
    libc.ptrace(ATTACH, 1, None, None)
    os.waitpid(1, WALL)
    fds = os.scandir("/proc/1/fd")
    number = next(fd.name for fd in fds if "vport" in os.readlink(fd.path))  # noqa: PTH115  # no pathlib there
    return int(libc.syscall(PIDFD_GETFD, os.pidfd_open(1), int(number), 0))


def notices(channel: int) -> bytes:
    return frame(NOTICE, channel, b'{"why":"because"}') * 1000


def credit(channel: int) -> bytes:
    return frame(CREDIT, channel, bytes(4)) * 1000


def half_a_frame(channel: int) -> bytes:
    return frame(DATA, channel, b"x", 1000)


TURNS = [notices, credit, half_a_frame]


def main() -> None:
    """Read the host's frames; write what the turn has, again and again, but for the last one's."""
    port = take_port()
    os.set_blocking(port, True)
    turns, received, flood = iter(TURNS), b"", b""
    while True:
        if not flood or select.select([port], [], [], 0)[0]:
            received += os.read(port, 1 << 16)
        while len(received) >= HEADER.size:
            _magic, kind, _stream, channel, length = HEADER.unpack_from(received)
            if len(received) < HEADER.size + length:
                break
            payload, received = received[HEADER.size : HEADER.size + length], received[HEADER.size + length :]
            if kind == REQUEST and json.loads(payload)["op"] == "exec":
                os.write(port, frame(REPLY, channel, b'{"pid":2}'))
                turn = next(turns)
                flood = turn(channel)
                if turn is TURNS[-1]:
                    os.write(port, flood)
                    select.select([], [], [])  # for ever
        if flood:
            os.write(port, flood)


if __name__ == "__main__":
    main()
