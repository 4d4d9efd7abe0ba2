"""The asynchronous sandbox: its states, its ends, and what commands can do to it and can't."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte import AsyncSandbox, State
from gavotte.guest.image import Image
from gavotte.qemu.binary import find_qemu
from tests.support.leaks import exempt
from tests.support.orphans import children_of

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

DEADLINE = 120.0

Story = Callable[[AsyncSandbox], Awaitable[None]]
Stage = Callable[[Story], None]


@pytest.fixture(scope="module")
def stage(image: Image) -> Iterator[Stage]:
    """Runs a story with a sandbox that all tests of this file share; it must be of use afterwards."""
    with asyncio.Runner() as runner:
        box = AsyncSandbox(accel="tcg")

        async def told(story: Story) -> None:
            async with asyncio.timeout(DEADLINE):
                await story(box)
                assert (await box.run(["echo", "fine"], timeout=30)).stdout == b"fine\n"

        with exempt():
            runner.run(box.start())
        yield lambda story: runner.run(told(story))
        runner.run(box.close())


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def with_deadline() -> None:
        async with asyncio.timeout(DEADLINE):
            await story()

    asyncio.run(with_deadline())


def test_its_console_goes_to_a_log_and_to_a_stream_at_once(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        assert box.vm.directory is not None
        with box.vm.attach_console() as stream:
            stream.setblocking(False)
            await box.run(["sh", "-c", "echo h > /proc/sysrq-trigger"])
            seen = b""
            while b"sysrq: HELP" not in seen:
                seen += await asyncio.get_running_loop().sock_recv(stream, 1 << 16)
        assert b"sysrq: HELP" in (box.vm.directory / "console.log").read_bytes()

    stage(story)


# what a command may do


def test_a_command_that_kills_all_others_leaves_the_sandbox_in_order(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        async with await box.spawn(["sleep", "1000"]) as bystander:
            await box.run(["bash", "-c", "kill -9 -1"], timeout=30)
            assert await bystander.wait() == -signal.SIGKILL

    stage(story)


@pytest.mark.parametrize("magic", [0x01234567, 0x4321FEDC, 0xCDEF0123], ids=["reboot", "poweroff", "halt"])
def test_a_command_that_switches_off_is_lost_with_all_commands_and_the_sandbox_remains(
    magic: int, stage: Stage
) -> None:
    async def story(box: AsyncSandbox) -> None:
        await box.run(["touch", "/root/kept"])
        async with await box.spawn(["sleep", "1000"]) as bystander:
            code = f"import ctypes, time; ctypes.CDLL(None).reboot(ctypes.c_int({magic})); time.sleep(60)"
            with pytest.raises(gavotte.CommandLost, match="reboot, halt or poweroff") as caught:
                await box.run(["python3", "-c", code], timeout=30)
            assert caught.value.hint
            with pytest.raises(gavotte.CommandLost):
                await bystander.wait()
            assert bystander.returncode is None
        assert (await box.run(["rm", "/root/kept"])).returncode == 0
        assert (await box.run(["hostname"])).stdout.decode().strip() == box.name

    stage(story)


def test_a_fork_bomb_ends_at_its_timeout(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        with pytest.raises(gavotte.CommandTimeout):
            await box.run(["bash", "-c", "f() { f | f & }; f; wait; sleep 1000"], timeout=6)
        gone = (
            "until test $(ps -e | wc -l) -lt 8; do sleep 0.5; done"  # they are killed, but there are many to be buried
        )
        (await box.run(["sh", "-c", gone], timeout=60)).check()

    stage(story)


def test_processes_that_are_refused_are_counted(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        code = "while (1) { $p = fork; if (!defined $p) { print $!; kill 9, @p; exit } if (!$p) { sleep } push @p, $p }"
        result = await box.run(["perl", "-e", code], timeout=100)
        assert result.stdout == b"Resource temporarily unavailable"
        assert result.forks_denied == 1

    stage(story)


def test_a_command_that_takes_all_memory_is_killed_and_told_of(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        code = "hoard = []\nwhile True: hoard.append(b'x' * (1 << 22))"
        result = await box.run(["python3", "-c", code], timeout=60)
        assert result.returncode == -signal.SIGKILL
        assert result.oom_kills == 1
        with pytest.raises(gavotte.CommandFailed, match="want of memory"):
            result.check()

    stage(story)


def test_a_full_root_is_an_ordinary_enospc(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        result = await box.run(["sh", "-c", "head -c 10G /dev/zero > /root/fill; e=$?; stat -c %s /root/fill; exit $e"])
        assert result.returncode == 1
        assert b"No space left on device" in result.stderr
        assert box.root_size * 0.9 < int(result.stdout) <= box.root_size
        (await box.run(["rm", "/root/fill"])).check()

    stage(story)


def test_what_a_command_leaves_running_lives_on_until_it_is_killed(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        result = await box.run(["sh", "-c", "setsid sleep 4242 & echo on"], timeout=30)
        assert (result.returncode, result.stdout) == (0, b"on\n")
        assert (await box.run(["pkill", "-f", "sleep 4242"])).returncode == 0

    stage(story)


def test_a_command_that_is_ended_takes_what_it_started_along(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        async with await box.spawn(["sh", "-c", "setsid sleep 4242 & echo on; wait"]) as process:
            assert await process.stdout.readline() == b"on\n"
        assert process.returncode == -signal.SIGKILL
        assert (await box.run(["pgrep", "-f", "sleep 4242"])).returncode == 1

    stage(story)


def test_a_cancelled_run_ends_its_command(stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await box.run(["sleep", "4242"])
        assert (await box.run(["pgrep", "-f", "sleep 4242"])).returncode == 1

    stage(story)


# the wrong time


def test_a_sandbox_is_used_between_start_and_close() -> None:
    async def story() -> None:
        box = AsyncSandbox(accel="tcg")
        with pytest.raises(gavotte.StateError, match="start it first"):
            await box.run(["true"])
        assert repr(box) == f"<AsyncSandbox {box.name} NEW>"
        async with box:
            assert box.state.value == "running"
            assert f"{box.name} RUNNING pid=" in repr(box)
            with pytest.raises(gavotte.StateError, match="make another"):
                await box.start()
            running = await box.spawn(["sleep", "1000"])
            waiting = asyncio.create_task(running.wait())
            await asyncio.gather(box.close(), box.close(), box.close())
            assert box.state is State.CLOSED
            with pytest.raises(gavotte.CommandLost, match="closed|stopped"):
                await waiting
            await box.close()
        for use in (box.run(["true"]), box.spawn(["true"]), box.start()):
            with pytest.raises(gavotte.StateError, match="make another"):
                await use
        await running.send_signal(15)  # as to any command that has ended: nothing happens
        await running.close()

    run(story)


def test_closing_what_was_never_started_is_fine() -> None:
    run(lambda: AsyncSandbox(accel="tcg").close())


@pytest.mark.parametrize(("seconds", "cold"), [(0, True), (0.5, True), (2, True), (0.02, False), (0.15, False)])
def test_a_start_that_is_cancelled_leaves_nothing(seconds: float, cold: bool) -> None:
    async def story() -> None:
        box = AsyncSandbox(accel="tcg", cold=cold)
        starting = asyncio.create_task(box.start())
        await asyncio.wait([starting], timeout=seconds)
        starting.cancel()
        await asyncio.wait([starting])
        if starting.cancelled():
            assert box.state is State.CLOSED or not seconds
        else:
            starting.result()  # it was up before
        await box.close()

    run(story)


# bad ends


def test_a_panic_is_told_to_whoever_waits_and_whoever_comes_later() -> None:
    async def story() -> None:
        async with AsyncSandbox(accel="tcg") as box:
            with pytest.raises(gavotte.CommandLost, match="panicked .sysrq triggered crash"):
                await box.run(["sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60"])
            with pytest.raises(gavotte.GuestError, match="panicked"):
                await box.run(["true"])

    run(story)


def test_a_panic_at_boot_ends_the_start_with_the_console() -> None:
    async def story() -> None:
        box = AsyncSandbox(accel="tcg", append="rdinit=/no/such init=/no/such root=/dev/none")
        with pytest.raises(gavotte.GuestDied, match=r"kernel panicked \(VFS.*; the end of its console:\n") as caught:
            await box.start()
        assert caught.value.hint
        assert "Kernel panic" in caught.value.console
        assert box.state is State.CLOSED

    run(story)


def test_a_guest_that_stays_silent_is_given_up_at_the_deadline() -> None:
    async def story() -> None:
        box = AsyncSandbox(accel="tcg", cold=True, boot_timeout=0.5)
        with pytest.raises(gavotte.GuestSilent, match=r"no answer within 0\.5 s") as caught:
            await box.start()
        assert "--boot-timeout" in caught.value.hint

    run(story)


def test_a_qemu_that_is_killed_leaves_its_last_words() -> None:
    async def story() -> None:
        before = children_of(os.getpid())
        async with AsyncSandbox(accel="tcg") as box:
            running = await box.spawn(["sleep", "1000"])
            (qemu,) = set(children_of(os.getpid())) - set(before)
            os.kill(qemu, signal.SIGKILL)
            with pytest.raises(gavotte.CommandLost, match="killed by SIGKILL") as caught:
                await running.wait()
            assert "-nodefaults" not in str(caught.value)  # its command line is for those who ask
            with pytest.raises(gavotte.GuestError, match="killed by SIGKILL"):
                await box.run(["true"])

    run(story)


def test_a_qemu_that_refuses_its_options_is_quoted(tmp_path: Path) -> None:
    picky = tmp_path / "picky-qemu"
    spoil = 'case "$*" in *-kernel*) set -- "$@" -no-such-option;; esac'
    picky.write_text(f'#!/bin/sh\n{spoil}\nexec {shlex.quote(str(find_qemu().path))} "$@"\n')
    picky.chmod(0o755)

    async def story() -> None:
        box = AsyncSandbox(accel="tcg", qemu=picky)
        with pytest.raises(gavotte.QemuExited, match="no-such-option: invalid option") as caught:
            await box.start()
        assert caught.value.returncode == 1
        assert "-kernel" in caught.value.argv
        assert caught.value.hint

    run(story)


def test_a_machine_type_that_this_qemu_does_not_have_is_refused_before_anything_starts() -> None:
    async def story() -> None:
        with pytest.raises(gavotte.InvalidMachine, match=r"machine\.type: this QEMU has no machine 'pc-q35-99\.0'"):
            await AsyncSandbox(accel="tcg", machine="pc-q35-99.0").start()

    run(story)


@pytest.mark.parametrize(
    "bad",
    [{"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}, {"env": {"": "x"}}],
    ids=str,
)  # fmt: skip
def test_a_bad_option_of_a_command_is_a_usage_error_with_its_path(bad: dict[str, Any], stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        with pytest.raises(gavotte.UsageError) as caught:
            await box.run(["true"], **bad)
        assert caught.value.path == next(iter(bad))

    stage(story)


@pytest.mark.parametrize(("option", "value"), [("user", "no-such-user"), ("cwd", "/no/such/place")])
def test_a_user_or_directory_that_the_guest_does_not_have(option: str, value: str, stage: Stage) -> None:
    async def story(box: AsyncSandbox) -> None:
        options: dict[str, Any] = {option: value}
        with pytest.raises(gavotte.CommandNotStarted, match=value) as caught:
            await box.run(["true"], **options)
        assert caught.value.exit_code == 125

    stage(story)
