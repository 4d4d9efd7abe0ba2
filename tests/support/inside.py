"""A look inside a guest, and a hand: Python that waits there, with what it needs to see and use devices."""

from __future__ import annotations

import json
from typing import Any, Self

import gavotte
from tests.support.leaks import exempt

__all__ = ["Inside"]

# A command's /dev is its own, so a device's node is made where it is used. `when` waits for what comes in a moment.
_PRELUDE = """
import ctypes, fcntl, glob, json, os, pathlib, socket, stat, struct, sys, time, traceback

def read(path):
    return pathlib.Path(path).read_text().strip()

def when(look, seconds=60):
    until = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except OSError:
            found = None
        if found or time.monotonic() > until:
            return found
        time.sleep(0.02)

def node(sysfs, kind=stat.S_IFCHR):
    path = "/dev/test-" + os.path.basename(sysfs)
    if os.path.exists(path):
        os.unlink(path)
    major, minor = read(sysfs + "/dev").split(":")
    os.mknod(path, 0o600 | kind, os.makedev(int(major), int(minor)))
    return path

def disk(serial):
    for path in glob.glob("/sys/block/*/serial"):
        if read(path) == serial:
            return os.path.dirname(path)

def scsi_disk(serial):
    for path in glob.glob("/sys/block/sd*/device/vpd_pg80"):
        if serial.encode() in pathlib.Path(path).read_bytes():
            return path.removesuffix("/device/vpd_pg80")

def block(sysfs):
    return node(sysfs, stat.S_IFBLK)

def card(mac):
    for path in glob.glob("/sys/class/net/*/address"):
        if read(path) == mac:
            return os.path.dirname(path)

def port(name):
    for path in glob.glob("/sys/class/virtio-ports/*/name"):
        if read(path) == name:
            return os.path.dirname(path)

def interface_up(mac, ip, mask="255.255.255.0"):
    name = os.path.basename(when(lambda: card(mac)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        def request(number, data):
            return fcntl.ioctl(control, number, struct.pack("16s24s", name.encode(), data))
        request(0x8914, struct.pack("=H", 0x1043))  # SIOCSIFFLAGS: up, running, multicast, broadcast
        for number, address in (0x8916, ip), (0x891C, mask):  # SIOCSIFADDR, SIOCSIFNETMASK
            request(number, struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(address)))
    return name

def mount(source, kind, options=""):
    os.makedirs("/tmp/mounted", exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), b"/tmp/mounted", kind.encode(), 0, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "/tmp/mounted"

def umount():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(b"/tmp/mounted", 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

told = []
tell = told.append

for line in sys.stdin:
    child = os.fork()  # what a request opens is closed after it
    if not child:
        request = json.loads(line)
        error = ""
        try:
            exec(request["code"], {**globals(), "arguments": request["arguments"]})
        except BaseException:
            error = traceback.format_exc()
        print(json.dumps([told[-1] if told else None, error]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


class Inside:
    """Python in a guest, from `with` on, which starts much faster for each request than anew."""

    def __init__(self, box: gavotte.Sandbox) -> None:
        self._box = box

    def __call__(self, code: str, *arguments: object) -> Any:
        """Runs `code` with its `arguments`, and gives what it was told by `tell`. AssertionError when it fails."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"code": code, "arguments": arguments}).encode() + b"\n")
        told, error = json.loads(self._process.stdout.readline())
        assert not error, error
        return told

    def seen(self, expression: str) -> Any:
        """What an expression gives in the guest, as soon as it is true; what it is after a minute when it never is."""
        return self(f"tell(when(lambda: {expression}))")

    def __enter__(self) -> Self:
        with exempt():
            self._process = self._box.spawn(["python3", "-c", _PRELUDE], stdin=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()
