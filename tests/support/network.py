"""The host's side of a guest's network."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

__all__ = ["Echo", "default_gateway", "multiqueue_tap"]

_TUNSETIFF = 0x400454CA
_TAP, _NO_HEADER, _VNET_HEADER, _QUEUES = 0x0002, 0x1000, 0x4000, 0x0100  # IFF_TAP, IFF_NO_PI, …
_ETH_P_ALL = 3


class Echo:
    """A server on the loopback interface that sends back what the first client says."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # closed: nobody came
        with client:
            client.sendall(client.recv(1000))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def default_gateway() -> tuple[str, str] | None:
    """This host's address on its default route, and the gateway's."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        _name, destination, gateway, *_rest = line.split()
        if destination == "00000000":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("192.0.2.77", 9))  # sends nothing
                address: str = probe.getsockname()[0]
            return address, socket.inet_ntoa(struct.pack("=I", int(gateway, 16)))
    return None


@contextmanager
def multiqueue_tap(queues: int) -> Iterator[tuple[tuple[int, ...], socket.socket]]:
    """A tap interface: a descriptor for each queue, and a socket that sees its frames."""
    with ExitStack() as stack:
        fds = []
        request = struct.pack("16sH22x", b"gvtest%d", _TAP | _NO_HEADER | _VNET_HEADER | _QUEUES)
        for _ in range(queues):
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            request = fcntl.ioctl(fd, _TUNSETIFF, request)
            fds.append(fd)
            request = struct.pack("16sH22x", request[:16], _TAP | _NO_HEADER | _VNET_HEADER | _QUEUES)
        name = request[:16].rstrip(b"\0").decode()
        frames = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)))
        fcntl.ioctl(frames, 0x8914, struct.pack("16sH22x", name.encode(), 0x1043))  # SIOCSIFFLAGS: up
        frames.bind((name, _ETH_P_ALL))
        yield tuple(fds), frames
