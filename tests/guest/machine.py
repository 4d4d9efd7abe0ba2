"""A real guest for the agent's tests: bare QEMU with the image, its agent's line on a socket that can be left and met
again, and room for devices, processors and memory."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gavotte.guest.channel import Channel
from gavotte.guest.image import Image
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import start_process
from gavotte.qmp.client import QmpClient

__all__ = ["BOOT", "TOKEN", "Machine", "last_words", "machine", "said", "set_up"]

BOOT = 120.0  # seconds; a start takes five, and forty on a machine that does much else
TOKEN = "00112233445566778899aabbccddeeff"
PORTS = 6


@dataclass
class Machine:
    """A running guest: its monitor, and the path of the socket behind which its agent is."""

    qmp: QmpClient
    agent: Path

    def connect(self) -> socket.socket:
        """A connection to the agent's port. QEMU serves one at a time; the next is served when this one has closed."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(os.fspath(self.agent))
        return sock

    async def plug(self, driver: str, **props: Any) -> None:
        """Put a device on the PCI Express port `bus`."""
        await self.qmp.execute("device_add", {"driver": driver, **props})


async def last_words() -> str:
    """What a channel says when the guest has gone."""
    return "the guest ended"


@asynccontextmanager
async def machine(image: Image, folder: Path, *options: str) -> AsyncIterator[Machine]:
    """Start one; it ends with the block. Sockets appear in `folder`, whose path should be short."""
    ours, theirs = socketpair()
    path = folder / "agent.sock"
    with ours, FdLedger() as ledger:
        number = ledger.give(theirs, "QMP")
        chardevs = [f"socket,id=qmp,fd={number}", f"socket,id=agent,path={path},server=on,wait=off"]
        devices = ["virtio-rng-pci", "virtio-serial-pci,id=ports", "virtserialport,chardev=agent,name=gavotte.agent"]
        devices += [f"pcie-root-port,id=port{n},chassis={n},slot={n}" for n in range(PORTS)]
        disk = f"file={image.rootfs},format=raw,if=none,id=root,readonly=on"
        argv = [str(find_qemu().path), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        argv += ["-machine", "q35,accel=tcg", "-m", "320M,slots=2,maxmem=2G", "-smp", "1,maxcpus=2", "-cpu", "max"]
        argv += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
        argv += ["-append", "console=ttyS0 quiet panic=-1 reboot=t norandmaps"]
        argv += ["-drive", disk, "-device", "virtio-blk-pci,drive=root,serial=root", "-mon", "qmp,mode=control"]
        argv += [word for chardev in chardevs for word in ("-chardev", chardev)]
        argv += [word for device in devices for word in ("-device", device)]
        async with (
            await start_process([*argv, *options], ledger) as process,
            await QmpClient.connect(ours, last_words=process.last_words) as qmp,
        ):
            yield Machine(qmp, path)


async def set_up(machine: Machine, token: str | None = TOKEN) -> Channel:
    """The line to the agent of a new machine, whose root is made."""
    channel = Channel(machine.connect(), last_words)
    async with asyncio.timeout(BOOT):
        await channel.hello
    fields = {} if token is None else {"token": token}
    root = {"serial": "root", "fstype": "squashfs"}
    await channel.request("setup", root=root, hostname="guest", time=time.time(), deadline=BOOT, **fields)
    return channel


async def said(channel: Channel, script: str) -> str:
    """What a shell script writes in the guest; both streams."""
    process = await channel.spawn(["sh", "-c", f"exec 2>&1; {script}"], env={}, deadline=BOOT)
    async with asyncio.timeout(BOOT):
        return (await process.stdout.read()).decode().strip()
