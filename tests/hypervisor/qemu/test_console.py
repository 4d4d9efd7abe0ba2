"""The console goes into a log and to whoever is attached, and nobody can make it grow without end or stand still."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import gavotte
from gavotte.faces.loop import call
from gavotte.hypervisor.devices import Port
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu import console as module
from gavotte.hypervisor.qemu.console import Console
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.fds import socketpair
from tests.support.programs import DEADLINE
from tests.support.tiny_kernel import FLOODS, write_kernel

MIB = 1 << 20


@asynccontextmanager
async def console_of(log: Path | None = None) -> AsyncIterator[tuple[Console, socket.socket]]:
    """A console, and the guest's end of it."""
    ours, theirs = socketpair()
    theirs.setblocking(False)
    console = Console(asyncio.get_running_loop(), ours.detach(), log)
    with theirs:
        try:
            async with asyncio.timeout(DEADLINE):
                yield console, theirs
        finally:
            console.close()


async def write(guest: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(guest, data)


async def read(end: socket.socket, size: int) -> bytes:
    """At least `size` bytes."""
    got = b""
    while len(got) < size:
        piece = await asyncio.get_running_loop().sock_recv(end, MIB)
        if not piece:
            raise EOFError(got)
        got += piece
    return got


async def read_all(end: socket.socket) -> bytes:
    got = b""
    while piece := await asyncio.get_running_loop().sock_recv(end, MIB):
        got += piece
    return got


# --- the log ----------------------------------------------------------------------------------------------------------


def test_what_the_guest_writes_is_kept_and_logged_for_its_owner_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with console_of(tmp_path / "console.log") as (console, guest):
            await write(guest, b"one\r\n\x1b[31mtwo\xff\n")
            await console.wait_for_some()
            assert console.text == "one\r\n\x1b[31mtwo\N{REPLACEMENT CHARACTER}\n"
            assert "\x1b" not in console.last_lines()

    asyncio.run(main())
    assert (tmp_path / "console.log").read_bytes() == b"one\r\n\x1b[31mtwo\xff\n"
    assert stat.S_IMODE((tmp_path / "console.log").stat().st_mode) == 0o600


def test_there_is_a_log_before_anything_is_written(tmp_path: Path) -> None:
    async def main() -> None:
        async with console_of(tmp_path / "console.log") as (console, _guest):
            assert not console.log_problem
            assert (tmp_path / "console.log").read_bytes() == b""

    asyncio.run(main())


def test_what_was_written_last_is_in_the_log_though_nobody_read_it_in_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with console_of(tmp_path / "console.log") as (_console, guest):
            await write(guest, b"the last words")

    asyncio.run(main())
    assert (tmp_path / "console.log").read_bytes() == b"the last words"


def test_a_log_is_gone_on_with_by_the_next_manager(tmp_path: Path) -> None:
    async def main(words: bytes) -> None:
        async with console_of(tmp_path / "console.log") as (_console, guest):
            await write(guest, words)

    asyncio.run(main(b"one "))
    asyncio.run(main(b"two"))
    assert (tmp_path / "console.log").read_bytes() == b"one two"


def test_a_guest_that_writes_100_mb_fills_two_files_and_no_memory(tmp_path: Path) -> None:
    line = b"x" * 1023 + b"\n"
    piece = line * 64

    async def main() -> None:
        async with console_of(tmp_path / "console.log") as (console, guest):
            with console.attach() as sleeper:  # who never reads
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                for _ in range(100 * MIB // len(piece)):
                    await write(guest, piece)
                await write(guest, b"the end")
                while not console.text.endswith("the end"):
                    await asyncio.get_running_loop().run_in_executor(None, os.sched_yield)
                assert len(console.text) <= 64 << 10
                assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10  # KiB
                guest.close()
                assert len(await read_all(sleeper)) < 2 * MIB

    asyncio.run(main())
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"console.log", "console.log.1"}
    assert max(sizes.values()) <= module.LOG_LIMIT
    both = (tmp_path / "console.log.1").read_bytes() + (tmp_path / "console.log").read_bytes()
    assert both.endswith(line + b"the end")
    assert len(both) > module.LOG_LIMIT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_ends_the_log_and_is_told_once_to_who_is_attached() -> None:
    async def main() -> None:
        async with console_of(Path("/dev/full")) as (console, guest):
            with console.attach() as viewer:
                await write(guest, b"one\n")
                await read(viewer, 5)
                assert console.log_problem == os.strerror(28)
                await write(guest, b"two\n")
                while not console.text.endswith("two\n"):
                    await asyncio.get_running_loop().run_in_executor(None, os.sched_yield)
                guest.close()
                rest = await read_all(viewer)
                assert b"logged no more" not in rest
                assert rest.endswith(b"two\n")

    asyncio.run(main())


def test_a_link_in_the_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    async def main() -> None:
        async with console_of(tmp_path / "console.log") as (console, guest):
            await write(guest, b"one\n")
            await console.wait_for_some()
            assert console.log_problem

    (tmp_path / "console.log").symlink_to(tmp_path / "target")
    asyncio.run(main())
    assert not (tmp_path / "target").exists()


# --- attached ---------------------------------------------------------------------------------------------------------


def test_all_who_attach_see_the_last_lines_and_what_comes() -> None:
    async def main() -> None:
        async with console_of() as (console, guest):
            await write(guest, b"early\n")
            await console.wait_for_some()
            with console.attach() as one, console.attach() as two:
                await write(guest, b"late\n")
                for end in (one, two):
                    assert await read(end, 11) == b"early\nlate\n"

    asyncio.run(main())


def test_of_a_long_past_whole_lines_are_shown() -> None:
    async def main() -> None:
        async with console_of() as (console, guest):
            await write(guest, b"".join(b"line %06d\n" % number for number in range(1000)))
            while not console.text.endswith("000999\n"):
                await asyncio.get_running_loop().run_in_executor(None, os.sched_yield)
            with console.attach() as viewer:
                guest.close()
                lines = (await read_all(viewer)).decode().splitlines()
                assert 100 < len(lines) < 200
                assert all(re.fullmatch(r"line \d{6}", line) for line in lines)

    asyncio.run(main())


def test_what_is_typed_reaches_the_guest_from_everybody() -> None:
    async def main() -> None:
        async with console_of() as (console, guest):
            with console.attach() as one, console.attach() as two:
                await write(one, b"ls\n")
                assert await read(guest, 3) == b"ls\n"
                await write(two, b"id\n")
                assert await read(guest, 3) == b"id\n"

    asyncio.run(main())


def test_a_guest_that_does_not_read_holds_up_who_types_and_gets_it_all_later() -> None:
    typed = bytes(range(256)) * (MIB // 256)

    async def main() -> None:
        async with console_of() as (console, guest):
            with console.attach() as viewer:
                typing = asyncio.ensure_future(write(viewer, typed))
                done, _ = await asyncio.wait([typing], timeout=0.2)
                assert not done
                await write(guest, b"still heard")
                assert await read(viewer, 11) == b"still heard"
                assert await read(guest, len(typed)) == typed
                await typing

    asyncio.run(main())


def test_a_slow_reader_loses_the_oldest_and_is_told_how_much() -> None:
    total = 4 * MIB

    async def main() -> bytes:
        async with console_of() as (console, guest):
            with console.attach() as viewer:
                await write(guest, b"x" * total)
                await write(guest, b"the end")
                while not console.text.endswith("the end"):
                    await asyncio.get_running_loop().run_in_executor(None, os.sched_yield)
                guest.close()
                return await read_all(viewer)

    seen = asyncio.run(main())
    (lost,) = re.findall(rb"\[gavotte: (\d+) bytes of the console were lost here\]\r\n", seen)
    assert seen.endswith(b"the end")
    assert seen.count(b"x") == total - int(lost)


def test_who_goes_away_is_forgotten_and_hurts_nobody() -> None:
    async def main() -> None:
        async with console_of() as (console, guest):
            with console.attach() as stays:
                for _ in range(50):
                    console.attach().close()
                before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # one call, so that just one fd is its own
                await write(guest, b"a")
                await read(stays, 1)
                await write(guest, b"b")
                await read(stays, 1)
                assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208

    asyncio.run(main())


def test_who_says_that_nothing_more_is_typed_still_reads() -> None:
    async def main() -> None:
        async with console_of() as (console, guest):
            with console.attach() as viewer:
                await write(viewer, b"ls\n")
                viewer.shutdown(socket.SHUT_WR)
                assert await read(guest, 3) == b"ls\n"
                await write(guest, b"bin\n")
                assert await read(viewer, 4) == b"bin\n"

    asyncio.run(main())


def test_a_stream_ends_with_the_console_and_one_attached_later_shows_the_past() -> None:
    async def main() -> None:
        async with console_of() as (console, guest):
            with console.attach() as viewer:
                await write(guest, b"bye")
                guest.close()
                assert await read_all(viewer) == b"bye"
            with console.attach() as viewer:
                assert await read_all(viewer) == b"bye"

    asyncio.run(main())


# --- a real guest -----------------------------------------------------------------------------------------------------


def machine(kernel: Path, *ports: Port) -> MachineConfig:
    return MachineConfig("flood", "x86_64", "q35", "tcg", 1, 64 * MIB, kernel, None, "", devices=ports, slots=1)


def test_a_guest_that_floods_its_console_leaves_the_loop_and_the_disk_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_LIMIT", 64 << 10)
    kernel = write_kernel(tmp_path, FLOODS)

    async def main() -> None:
        vm = QemuVm(find_qemu("x86_64"), machine(kernel), directory=tmp_path)
        try:
            await vm.start()
            with vm.attach_console() as viewer:
                async with asyncio.timeout(3 * DEADLINE):
                    await read(viewer, 200 << 10)
                    assert set(vm.console) <= {"x", "\n"}
                    assert (await vm.qmp.query_status())["running"]
        finally:
            await vm.cleanup()

    asyncio.run(main())
    logs = sorted(tmp_path.glob("console.log*"))
    assert [log.name for log in logs] == ["console.log", "console.log.1"]
    assert all(log.stat().st_size <= 64 << 10 for log in logs)


def test_a_guest_that_floods_a_port_that_nobody_reads_is_held_up(lab: gavotte.Sandbox) -> None:
    flood = """
until grep -qsx flood /sys/class/virtio-ports/*/name; do sleep 0.1; done
for port in /sys/class/virtio-ports/*; do
    if grep -qx flood $port/name; then
        mknod /dev/flood c $(tr : ' ' < $port/dev)
        timeout 2 dd if=/dev/zero of=/dev/flood bs=16k
        status=$?
        rm /dev/flood
        exit $status
    fi
done
"""
    call(lab.vm.plug(Port("flood", "flood")))
    end = lab.vm.take_port("flood")
    try:
        held_up = lab.run(["sh", "-c", flood])
        assert held_up.returncode == 124, held_up.stderr
        assert 0 < waiting_in(end) < 8 * MIB
    finally:
        os.close(end)
        call(lab.vm.unplug("flood"))


def waiting_in(end: int) -> int:
    """The bytes that come out of a socket without anybody writing any more."""
    got = 0
    with socket.socket(fileno=os.dup(end)) as stream:
        stream.settimeout(0.5)
        try:
            while piece := stream.recv(MIB):
                got += len(piece)
        except TimeoutError:
            pass
    return got
