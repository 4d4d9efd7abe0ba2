"""The agent in a real guest: devices, processors and memory that appear, and a line that is left and met again."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import AgentError
from gavotte.guest import agent
from gavotte.guest.channel import Channel
from gavotte.guest.image import Image
from tests.guest.machine import BOOT, TOKEN, Machine, last_words, machine, said, set_up

DIMM = 256 << 20


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gv", dir="/tmp") as path:
        yield Path(path)


async def until(channel: Channel, condition: str) -> None:
    """Wait in the guest until a shell condition holds."""
    await said(channel, f"until {condition}; do sleep 0.1; done")


async def drivers_come_for_what_is_there_and_for_what_is_plugged(guest: Machine, channel: Channel, disk: Path) -> None:
    assert await said(channel, "ls /sys/class/net /sys/class/watchdog") == (
        "/sys/class/net:\neth0\nlo\n\n/sys/class/watchdog:\nwatchdog0"
    )
    await guest.plug("virtio-net-pci", bus="port0")
    await guest.plug("virtio-9p-pci", bus="port1", fsdev="share", mount_tag="tag")
    file: Any = {"driver": "file", "filename": str(disk)}
    await guest.qmp.execute("blockdev-add", {"driver": "raw", "node-name": "disk", "file": file})
    await guest.plug("virtio-scsi-pci", bus="port2", id="scsi")
    await guest.plug("scsi-hd", bus="scsi.0", drive="disk")
    await guest.plug("virtio-balloon-pci", bus="port3")
    await until(channel, "[ -e /sys/class/net/eth1 -a -e /sys/block/sda -a -e /sys/module/virtio_balloon ]")
    await until(channel, "[ -e /sys/module/9pnet_virtio ]")
    assert await said(channel, "mkdir /share && mount -t 9p -o trans=virtio tag /share && cat /share/word") == "hello"
    await until(channel, "[ -e /dev/sda ]")
    mounting = "mkdir /disk && mount -t ext4 /dev/sda /disk && ls /disk"
    assert await said(channel, mounting) == "lost+found"  # file systems too come as modules, asked for by the kernel


async def processors_and_memory_come_online_and_commands_get_them(guest: Machine, channel: Channel) -> None:
    before = await channel.request("online")
    assert before["cpus"] == 1
    limit = int(await said(channel, "cat /sys/fs/cgroup/memory.max"))
    places: Any = await guest.qmp.execute("query-hotpluggable-cpus")
    (free,) = [place for place in places if "qom-path" not in place]
    await guest.plug(free["type"], **free["props"])
    await guest.plug("pc-dimm", memdev="dimm")
    await until(channel, "[ -e /sys/devices/system/cpu/cpu1 -a -e /sys/devices/system/memory/memory33 ]")
    after = await channel.request("online", deadline=BOOT)
    assert after["cpus"] == 2
    assert after["memory"] == before["memory"] + DIMM
    half = after["memory"] // 2
    assert (await said(channel, "nproc; df -B1 --output=size / | tail -1")).split() == ["2", str(half)]
    assert int(await said(channel, "cat /sys/fs/cgroup/memory.max")) == limit + DIMM
    assert await channel.request("online") == after


async def a_flood_of_events_hurts_nobody(channel: Channel) -> None:
    flood = "while :; do for f in /sys/bus/*/devices/*/uevent; do echo add > $f; done; done"
    process = await channel.spawn(["sh", "-c", flood], env={})
    for _ in range(5):
        assert await said(channel, "echo served") == "served"
    await process.kill()
    await process.wait()


async def a_line_is_left_in_the_middle_of_a_frame_and_met_again(guest: Machine, channel: Channel) -> Channel:
    """The line is new and nothing was run yet. Gives the one that was met last."""
    flood = await channel.spawn(["seq", "100000000"], env={})
    waits = await channel.spawn(["sh", "-c", "read word; echo got $word; exit 7"], env={}, stdin=True)
    await (await channel.spawn(["sh", "-c", "exit 9"], env={})).wait()
    await channel.send(agent.encode(agent.DATA, 3, bytes(5000))[:2000])
    await channel.close()
    for _ in range(3):
        channel = await Channel.attach(guest.connect(), TOKEN, last_words, BOOT)
        output = channel.processes[2].stdout
        await output.readline()  # of which the beginning may be lost
        numbers = [int(await output.readline()) for _ in range(20_000)]  # more than all buffers hold
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        await channel.close()
    channel = await Channel.attach(guest.connect(), TOKEN, last_words, BOOT)
    assert [ended.exit and ended.exit.returncode for ended in channel.exits] == [9]
    with pytest.raises(AgentError, match="hand over"):  # QEMU serves one connection at a time
        await Channel.attach(guest.connect(), TOKEN, last_words, 0.5)
    found = channel.processes[3]
    assert (found.pid, channel.processes[2].pid) == (waits.pid, flood.pid)
    assert found.stdin is not None
    await found.stdin.write(b"this\n")
    assert await found.stdout.read() == b"got this\n"
    assert await found.wait() == 7
    await channel.processes[2].kill()
    await channel.close()
    with pytest.raises(AgentError, match="hand over"):
        await Channel.attach(guest.connect(), "ff" * 16, last_words, 1)
    return await Channel.attach(guest.connect(), TOKEN, last_words, BOOT)


def test_a_line_is_met_again_and_devices_processors_and_memory_are_of_use_as_they_come(
    image: Image, folder: Path
) -> None:
    """All in one boot."""
    disk = folder / "disk"
    disk.write_bytes(bytes(4 << 20))
    subprocess.run(["/sbin/mkfs.ext4", "-q", str(disk)], check=True)
    (folder / "word").write_text("hello")
    options = ["-fsdev", f"local,id=share,path={folder},security_model=none", "-device", "i6300esb"]
    options += ["-device", "virtio-net-pci", "-object", f"memory-backend-ram,id=dimm,size={DIMM}"]

    async def main() -> None:
        async with machine(image, folder, *options) as guest:
            channel = await a_line_is_left_in_the_middle_of_a_frame_and_met_again(guest, await set_up(guest))
            await drivers_come_for_what_is_there_and_for_what_is_plugged(guest, channel, disk)
            await processors_and_memory_come_online_and_commands_get_them(guest, channel)
            await a_flood_of_events_hurts_nobody(channel)
            await channel.close()

    asyncio.run(main())
