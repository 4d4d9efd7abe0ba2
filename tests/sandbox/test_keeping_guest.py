"""A kept sandbox whose manager is killed amid heavy traffic: another goes on with it, and nothing is stale."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from gavotte.errors import InUse
from gavotte.guest.command import OutputStream
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.store import run_root, sweep
from tests.support.processes import processes_of

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

NAME = f"kept-{os.getpid()}"

# Starts a sandbox with a command that floods its stdout and another that is flooded, and dies in the middle of it.
MANAGER = """
import asyncio, os, signal, sys
from gavotte.guest.command import OutputStream
from gavotte.sandbox.lifecycle import AsyncSandbox

async def main():
    box = AsyncSandbox(accel="tcg", keep=True, name=sys.argv[1])
    await box.start()
    counter = await box.spawn(["seq", "1", "1000000000"])
    echo = await box.spawn(["cat"], stdin=True)
    ended = await box.run(["sh", "-c", "exit 7"])
    print("started", ended.returncode, flush=True)

    async def write():
        while True:
            await echo.stdin.write(b"stale " * 10000)

    async def read():
        while await echo.stdout.read(1 << 16):
            pass

    tasks = [asyncio.create_task(write()), asyncio.create_task(read())]
    count = 0
    while count < 1 << 20:
        count += len(await counter.stdout.read(1 << 16))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_sandbox_goes_on_under_another_manager_after_the_death_of_the_first_amid_traffic() -> None:
    line = [sys.executable, "-c", MANAGER, NAME]
    ended = subprocess.run(line, stdout=subprocess.PIPE, text=True, timeout=200, check=False)
    try:
        assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "started 7\n")
        (qemu,) = processes_of(NAME)
        assert NAME not in sweep()
        asyncio.run(asyncio.wait_for(taken_over(qemu), 90))
    finally:
        for pid in processes_of(NAME):
            os.kill(pid, signal.SIGKILL)
        sweep()
    assert not (run_root() / NAME).exists()


async def taken_over(qemu: int) -> None:
    box = await AsyncSandbox.attach(NAME)
    try:
        assert box.vm.process.pid == qemu
        with pytest.raises(InUse, match=str(os.getpid())):
            await AsyncSandbox.attach(NAME)
        counter, echo = sorted(box.commands.values(), key=lambda process: process.argv, reverse=True)
        assert (counter.argv[0], echo.argv[0]) == ("seq", "cat")

        result = await box.run(["sh", "-c", "cat; echo done >&2; exit 3"], input=b"new\n")
        assert (result.returncode, result.stdout, result.stderr) == (3, b"new\n", b"done\n")

        assert counter.stdout is not None
        await counter.stdout.readline()  # the dead manager may have had its beginning
        last = int(await counter.stdout.readline())
        for _ in range(10_000):
            last, before = int(await counter.stdout.readline()), last
            assert last == before + 1
        await counter.kill()
        await all_of(counter.stdout)
        assert await counter.wait() == -signal.SIGKILL

        assert echo.stdin is not None
        assert echo.stdout is not None
        reading = asyncio.ensure_future(all_of(echo.stdout))
        await echo.stdin.write(b"\nfresh\n")
        await echo.stdin.close()
        assert await echo.wait() == 0
        stale, fresh, end = (await reading).rsplit(b"\n", 2)
        assert (fresh, end) == (b"fresh", b"")
        assert set(stale.split()[1:-1]) <= {b"stale"}  # the ends may be cut
    finally:
        await box.close()


async def all_of(stream: OutputStream) -> bytes:
    data = b""
    while piece := await stream.read(1 << 16):
        data += piece
    return data
