"""What a copy of a template is before the first command of its user: a guest of its own, in the time that it is."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket
from typing import Any

import pytest

from gavotte.guest.channel import Channel
from gavotte.guest.image import Image
from gavotte.hypervisor.devices import Nic, User
from gavotte.hypervisor.qemu.plan.nic import default_mac
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.sandbox.boot import AGENT_PORT, last_words_of
from gavotte.sandbox.kept import Kept
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.renewal import renew_guest
from gavotte.sandbox.result import run_to_end
from gavotte.sandbox.store import run_root
from tests.support.leaks import exempt
from tests.support.templates import CLOCK, template_of, time_off

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

DEADLINE = 100.0
COPIES = 6
TOLERATED = 0.05  # seconds that a guest's clock may be off

# The first command is a process that stood by in the template: it says when it began there, and what time it is.
FIRST = ["sh", "-c", 'echo "$0 says"; cat /proc/$$/stat /proc/uptime']

# What nobody may be able to foretell from another copy, or from the template.
SECRETS = """
import ctypes, json, os, pathlib, random, tempfile, uuid
libc = ctypes.CDLL(None)
libc.getauxval.restype = ctypes.c_ulong
read = lambda path: pathlib.Path(path).read_text().strip()
print(json.dumps({
    "urandom": open("/dev/urandom", "rb").read(32).hex(),
    "random": open("/dev/random", "rb").read(32).hex(),
    "getrandom": os.urandom(32).hex(),
    "python's random": random.random(),
    "uuid4": str(uuid.uuid4()),
    "kernel's uuid": read("/proc/sys/kernel/random/uuid"),
    "boot id": read("/proc/sys/kernel/random/boot_id"),
    "AT_RANDOM": ctypes.string_at(libc.getauxval(25), 16).hex(),
    "hash of text": hash("text"),
    "temporary name": tempfile.mktemp(),
}))
"""

# What makes a guest one of its own, or says of which one it is a copy.
SELF = """
import glob, json, os, pathlib, socket
read = lambda path: pathlib.Path(path).read_text().strip()
print(json.dumps({
    "machine id": read("/etc/machine-id"),
    "host name": [socket.gethostname(), read("/etc/hostname"), read("/proc/sys/kernel/hostname"), os.uname().nodename],
    "hosts": read("/etc/hosts"),
    "environment": dict(os.environ),
    "addresses": [read(path) for path in sorted(glob.glob("/sys/class/net/*/address"))],
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "commands": sorted(read(path).replace("\\0", " ") for path in glob.glob("/proc/[0-9]*/cmdline")),
}))
"""

Story = Callable[[list[AsyncSandbox]], Awaitable[None]]
Stage = Callable[[Story], None]


def name_of(number: int) -> str:
    return f"copy{number}-{os.getpid()}"


@pytest.fixture(scope="module")
def copies(image: Image, run_directory: None) -> Iterator[tuple[asyncio.Runner, list[AsyncSandbox], list[bytes]]]:
    """Copies of one template that were started at once, and all that the first command of each wrote."""
    with asyncio.Runner() as runner:
        cards = [Nic("net", User(restrict=True))]
        boxes = [
            AsyncSandbox(accel="tcg", memory="256M", keep=True, name=name_of(n), devices=cards) for n in range(COPIES)
        ]

        async def first(box: AsyncSandbox) -> bytes:
            await box.start()
            result = await box.run([*FIRST, box.name], timeout=60)
            return result.stdout + result.stderr

        async def begin() -> list[bytes]:
            return await asyncio.gather(*map(first, boxes))

        async def end() -> None:
            await asyncio.gather(*(box.close() for box in boxes))

        try:
            with exempt():
                said = runner.run(begin())
            yield runner, boxes, said
        finally:
            runner.run(end())


@pytest.fixture
def stage(copies: tuple[asyncio.Runner, list[AsyncSandbox], list[bytes]]) -> Stage:
    """Runs a story with the copies, which leaves them running."""
    runner, boxes, _ = copies

    async def told(story: Story) -> None:
        async with asyncio.timeout(DEADLINE):
            await story(boxes)

    return lambda story: runner.run(told(story))


async def told_by(box: AsyncSandbox, code: str) -> dict[str, Any]:
    result = await box.run(["python3", "-Bc", code], timeout=60)
    return dict(json.loads(result.check().stdout))


def test_copies_that_start_at_once_are_guests_of_their_own(
    stage: Stage, copies: tuple[asyncio.Runner, list[AsyncSandbox], list[bytes]]
) -> None:
    async def story(boxes: list[AsyncSandbox]) -> None:
        assert len({box.template for box in boxes}) == 1
        assert not any(box.cold_reason for box in boxes)
        secrets = await asyncio.gather(*(told_by(box, SECRETS) for box in boxes))
        for what in secrets[0]:
            assert len({each[what] for each in secrets}) == COPIES, f"two copies have the same: {what}"
        facts = await asyncio.gather(*(told_by(box, SELF) for box in boxes))
        assert len({each["machine id"] for each in facts}) == COPIES
        assert len({each["hosts"] for each in facts}) == COPIES
        tokens = {Kept.read(run_root() / box.name).token for box in boxes}
        assert len(tokens) == COPIES
        assert template_of(boxes[0].template).token not in tokens
        for box, each in zip(boxes, facts, strict=True):
            assert len(each["machine id"]) == 32
            assert set(each["host name"]) == {box.name}
            assert f"127.0.1.1\t{box.name}\n" in each["hosts"]
            assert each["interfaces"] == ["eth0", "lo"]
            assert each["addresses"] == [default_mac(box.name, "net"), "00:00:00:00:00:00"]
            assert box.vm.plugged["net"] == Nic("net", User(restrict=True))
            assert "template" not in json.dumps(each)
        # what is equal by nature: what runs in them, and its environment
        assert len({json.dumps([each["commands"], each["environment"]]) for each in facts}) == 1

    stage(story)


def test_the_first_command_gives_just_what_it_wrote_in_a_time_that_never_went_back(
    copies: tuple[asyncio.Runner, list[AsyncSandbox], list[bytes]],
) -> None:
    _, boxes, said = copies
    for box, output in zip(boxes, said, strict=True):
        first, stat, uptime, rest = output.decode().split("\n")
        assert (first, rest) == (f"{box.name} says", "")
        began = int(stat.rpartition(")")[2].split()[19]) / 100  # proc(5): field 22, in ticks since the boot
        assert began <= float(uptime.split()[0])
        assert not box.exits
        assert box.console == ""  # nothing of what the template's guest said
        assert not box.commands


def test_the_clock_of_a_copy_is_the_hosts(stage: Stage) -> None:
    async def story(boxes: list[AsyncSandbox]) -> None:
        for box in boxes:
            async with await box.spawn(CLOCK, stdin=True) as process:
                assert await time_off(process) < TOLERATED

    stage(story)


def test_after_a_pause_the_clock_is_right_and_the_monotonic_one_went_on(stage: Stage) -> None:
    async def monotonic(box: AsyncSandbox) -> float:
        result = await box.run(["python3", "-Bc", "import time; print(time.monotonic())"], timeout=60)
        return float(result.check().stdout)

    async def story(boxes: list[AsyncSandbox]) -> None:
        box = boxes[0]
        before = await monotonic(box)
        async with await box.spawn(CLOCK, stdin=True) as process:
            await time_off(process, tries=1)  # it runs
            await box.pause()
            assert not await box.vm.wait(2.0)
            await box.resume()
            assert await time_off(process) < TOLERATED
        assert await monotonic(box) >= before

    stage(story)


@asynccontextmanager
async def loaded(box: AsyncSandbox, source: Path, token: str) -> AsyncIterator[Channel]:
    """The line to the guest of a saved machine, brought up to date."""
    vm = QemuVm(box.vm.binary, box.vm.config)
    try:
        await vm.load(source)
        channel = await Channel.attach(socket(fileno=vm.take_port(AGENT_PORT)), token, last_words_of(vm))
        try:
            await renew_guest(channel)
            yield channel
        finally:
            await channel.close()
    finally:
        await vm.cleanup()


def test_two_that_are_loaded_from_one_file_have_the_right_time_and_other_random_numbers(
    stage: Stage, tmp_path: Path
) -> None:
    async def secrets_of(channel: Channel) -> dict[str, Any]:
        starting = channel.spawn(["python3", "-Bc", SECRETS], env={})
        return dict(json.loads((await run_to_end(starting, "python3", None, 60, 1 << 20)).check().stdout))

    async def story(boxes: list[AsyncSandbox]) -> None:
        box = boxes[1]
        token = Kept.read(run_root() / box.name).token
        box_secrets = await told_by(box, SECRETS)
        await box.vm.save(tmp_path / "machine")
        assert (await box.run(["echo", "on"], timeout=60)).stdout == b"on\n"
        async with (
            loaded(box, tmp_path / "machine", token) as one,
            loaded(box, tmp_path / "machine", token) as other,
        ):
            found = [await secrets_of(one), await secrets_of(other), box_secrets]
            for what in found[0]:
                if what != "boot id":  # that of the one machine that they all were
                    assert len({each[what] for each in found}) == 3, f"two have the same: {what}"
            for channel in (one, other):
                async with await channel.spawn(CLOCK, env={}, stdin=True) as process:
                    assert await time_off(process) < TOLERATED

    stage(story)
