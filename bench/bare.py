"""A guest booted and spoken to without Gavotte, with the standard library alone: the measure of what Gavotte adds.

Run as `python -m bench.bare QEMU KERNEL INITRD ROOTFS [ACCEL]`; prints the seconds to a command's first byte.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

HEADER = struct.Struct(">HBBII")  # magic, kind, stream, channel, length of the payload
MAGIC = 0x4756
EMULATED = " norandmaps no_timer_check psi=0 nowatchdog audit=0 lsm=landlock,yama"  # more words for an emulated kernel
HELLO, REQUEST, REPLY, DATA, EXIT = 1, 2, 3, 5, 9


class Guest:
    """A QEMU with its ends of sockets, and the line to the agent in it. The command line is made by `argv` from the
    numbers of QEMU's ends, by their names; `more_fds` are passed on beside them."""

    def __init__(self, names: Sequence[str], argv: Callable[[dict[str, int]], list[str]], *more_fds: int) -> None:
        pairs = {name: socket.socketpair() for name in names}
        self.ends = {name: ours for name, (ours, _) in pairs.items()}
        fds = {name: theirs.fileno() for name, (_, theirs) in pairs.items()}
        self.process = subprocess.Popen(argv(fds), pass_fds=[*fds.values(), *more_fds], stdin=subprocess.DEVNULL)
        for _, theirs in pairs.values():
            theirs.close()
        self.ends["agent"].settimeout(120)
        self.input = self.ends["agent"].makefile("rb")

    def start(self, channel: int, argv: list[str]) -> None:
        """Start a command and wait for nothing."""
        fields = {"env": {}, "cwd": "", "user": "0", "window": 256 << 10, "stdin": False, "tty": None}
        self.request(channel, {"op": "exec", "argv": argv, **fields})

    def first_byte(self, channel: int, argv: list[str]) -> bytes:
        """Start a command and give the first piece of its output."""
        self.start(channel, argv)
        return self.wait_for(DATA, channel)

    def finish(self, channel: int, argv: list[str]) -> None:
        """Start a command and wait for its end."""
        self.start(channel, argv)
        self.wait_for(EXIT, channel)

    def request(self, channel: int, request: dict[str, Any]) -> None:
        payload = json.dumps(request).encode()
        self.ends["agent"].sendall(HEADER.pack(MAGIC, REQUEST, 0, channel, len(payload)) + payload)

    def wait_for(self, wanted: int, channel: int) -> bytes:
        while True:
            header = self.input.read(HEADER.size)
            if len(header) < HEADER.size:
                raise ConnectionError("the bare guest has gone")
            _, kind, _, number, length = HEADER.unpack(header)
            payload = self.input.read(length)
            if (kind, number) == (wanted, channel):
                return payload

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)
        self.input.close()
        for end in self.ends.values():
            end.close()


class Bare(Guest):
    """A guest that boots, on the devices that Gavotte gives one; `raw_port` adds a port that nobody serves."""

    def __init__(self, qemu: str, kernel: str, initrd: str, rootfs: str, accel: str, *, raw_port: bool = False) -> None:
        names = ["console", "monitor", "agent", *(["raw"] if raw_port else [])]
        super().__init__(names, lambda fds: [qemu, *command_line(kernel, initrd, rootfs, accel, fds)])

    def prepare(self) -> None:
        """Wait for the agent, and have it make the root for commands."""
        self.wait_for(HELLO, 0)
        root = {"serial": "gavotte-root", "fstype": "squashfs"}
        self.request(1, {"op": "setup", "root": root, "hostname": "bare", "time": time.time()})
        self.wait_for(REPLY, 1)


# fmt: off
def command_line(kernel: str, initrd: str, rootfs: str, accel: str, fds: dict[str, int]) -> list[str]:
    """QEMU's arguments, typed by hand; a test holds them to what Gavotte gives for the same machine."""
    raw = "raw" in fds
    return [
        "-name", "bare,debug-threads=on",
        "-nodefaults", "-no-user-config",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-display", "none", "-no-reboot",
        "-machine", "q35,usb=off,vmport=off,smbus=off,hpet=off,sata=off",
        "-accel", accel, "-cpu", "host" if accel == "kvm" else "max",
        "-smp", "1", "-m", "524288K",
        "-kernel", kernel, "-initrd", initrd,
        "-append", "console=ttyS0 quiet panic=-1 reboot=t" + ("" if accel == "kvm" else EMULATED),
        "-object", '{"qom-type":"rng-random","id":"entropy.file","filename":"/dev/urandom"}',
        "-chardev", f"socket,fd={fds['console']},id=console",
        "-chardev", f"socket,fd={fds['monitor']},id=monitor",
        "-chardev", f"socket,fd={fds['agent']},id=agent",
        *(["-chardev", f"socket,fd={fds['raw']},id=raw"] if raw else []),
        "-mon", "monitor,mode=control",
        "-blockdev", '{"driver":"raw","node-name":"root","read-only":true,'
                     f'"file":{{"driver":"file","filename":{json.dumps(rootfs)},"read-only":true}}}}',
        "-device", '{"driver":"isa-serial","chardev":"console"}',
        "-device", '{"driver":"virtio-rng-pci","id":"entropy","rng":"entropy.file"}',
        "-device", '{"driver":"virtio-serial-pci","id":"ports"}',
        "-device", '{"driver":"virtserialport","id":"agent","bus":"ports.0","nr":1,"chardev":"agent",'
                   '"name":"gavotte.agent"}',
        *(["-device", '{"driver":"virtserialport","bus":"ports.0","nr":2,"chardev":"raw","name":"bench.raw"}']
          if raw else []),
        "-device", '{"driver":"virtio-blk-pci","id":"root","drive":"root","serial":"gavotte-root"}',
    ]
# fmt: on


def cold_start(qemu: str, kernel: str, initrd: str, rootfs: str, accel: str = "tcg") -> float:
    """Seconds from nothing to the first byte that a command writes."""
    began = time.perf_counter()
    with Bare(qemu, kernel, initrd, rootfs, accel) as guest:
        guest.prepare()
        guest.first_byte(2, ["echo", "hello"])
        return time.perf_counter() - began


if __name__ == "__main__":
    print(f"{cold_start(*sys.argv[1:]):.3f}")
