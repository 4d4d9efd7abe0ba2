"""A QEMU that isn't ours: started as anybody's script would, with its QMP on a socket."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gavotte.qemu.binary import find_qemu
from tests.support.leaks import exempt
from tests.support.programs import DEADLINE

__all__ = ["Foreign", "foreign_qemu"]

_OPTIONS = (
    *("-name", "foreign\x1b[31m", "-nodefaults", "-display", "none", "-S", "-m", "64", "-smp", "2"),
    *("-machine", "q35,accel=tcg", "-chardev", "null,id=nothing"),
    *("-device", "pcie-root-port,id=rp0,chassis=1", "-device", "virtio-scsi-pci,id=scsi,bus=rp0"),
    *("-blockdev", "null-co,node-name=node,size=1048576,read-zeroes=on"),
    *("-device", "scsi-hd,id=hd,bus=scsi.0,drive=node", "-device", "qemu-xhci,id=usb"),
    *("-netdev", "user,id=net", "-device", "e1000e,id=nic,netdev=net", "-object", "iothread,id=io"),
)


@dataclass(frozen=True)
class Foreign:
    """The paths of its two QMP sockets, and its process."""

    socket: str
    other: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def foreign_qemu(folder: Path) -> Iterator[Foreign]:
    """One that listens on `folder`/qmp, killed at the end."""
    path = os.fspath(folder / "qmp")
    monitor = ("-chardev", f"socket,id=qmp,path={path},server=on,wait=off", "-mon", "qmp,mode=control")
    other = f"{path}2"
    with exempt():
        process = subprocess.Popen(
            [find_qemu().path, *_OPTIONS, *monitor, "-qmp", f"unix:{other},server=on,wait=off"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        try:
            _wait_for(path, process)
            yield Foreign(path, other, process)
        finally:
            process.kill()
            process.communicate(timeout=DEADLINE)


def _wait_for(path: str, process: subprocess.Popen[bytes]) -> None:
    """Return when its monitor has greeted."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE)
            try:
                sock.connect(path)
            except OSError:
                time.sleep(0.02)
                continue
            sock.recv(1000)
            sock.sendall(b'{"execute":"qmp_capabilities"}\n')
            if sock.recv(1000):
                return
    raise AssertionError(f"QEMU doesn't listen on {path}: {process.poll()}")
