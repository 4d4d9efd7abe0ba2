"""Messages between agent and stage: one JSON document a packet, with fds."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence

from gavotte.guest.agent import from_json, to_json

TYPE_CHECKING = False  # as `typing` has it, whose import costs the guest's start 50 ms under emulation
if TYPE_CHECKING:
    from gavotte.guest.agent import Json

LARGEST_PACKET = 64 << 10  # well below the kernel's default socket buffer
UNCHANGED = b"="  # before a document: no command has run since the receiver looked at what commands can change


def send_packet(sock: socket.socket, value: Json, fds: Sequence[int] = ()) -> None:
    """Send `value` and `fds`."""
    send_document(sock, to_json(value), fds)


def send_document(sock: socket.socket, data: bytes, fds: Sequence[int] = (), *, unchanged: bool = False) -> None:
    """Send a JSON document and `fds`, with UNCHANGED where that is so. What is too large for a packet goes in a memfd,
    first among the fds."""
    if len(data) < LARGEST_PACKET:
        if unchanged:
            data = UNCHANGED + data
        if fds:
            socket.send_fds(sock, [data], list(fds))
        else:
            sock.send(data)
        return
    memfd = os.memfd_create("packet")
    try:
        os.write(memfd, data)
        socket.send_fds(sock, [b"@"], [memfd, *fds])
    finally:
        os.close(memfd)


def receive_packet(sock: socket.socket) -> tuple[Json, list[int]]:
    """The next message and its fds; EOFError when the other end has gone."""
    data, fds, _flags, _address = socket.recv_fds(sock, LARGEST_PACKET + 1, 8)
    for fd in fds:  # recv_fds of Python 3.11 ignores its flags
        os.set_inheritable(fd, False)
    if not data:
        raise EOFError
    if data != b"@":
        return from_json(data), fds
    memfd = fds.pop(0)
    try:
        return from_json(os.pread(memfd, os.fstat(memfd).st_size, 0)), fds
    finally:
        os.close(memfd)


def await_packet(sock: socket.socket) -> tuple[Json, bool]:
    """The next message, whose fds aren't of use, and whether it came with UNCHANGED; EOFError when the other end has
    gone."""
    data = sock.recv(LARGEST_PACKET + 1, socket.MSG_PEEK)
    if data == b"@" or not data:
        return receive_packet(sock)[0], False
    sock.recv(1)  # the rest of the packet goes with it; one that stays would break the line at its end
    unchanged = data.startswith(UNCHANGED)
    return from_json(data[1:] if unchanged else data), unchanged


class Refusal(Exception):
    """A request that can't be met; `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


NONSENSE = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, struct.error, RecursionError)


def problem(error: BaseException) -> dict[str, str]:
    """What an ERROR frame says of it."""
    code = error.code if isinstance(error, Refusal) else "os" if isinstance(error, OSError) else "invalid"
    return {"code": code, "message": str(error)[:300]}
