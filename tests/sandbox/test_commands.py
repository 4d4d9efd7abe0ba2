"""Commands that go out of their way: odd users, lost streams, other cgroups, hundreds at once."""

from __future__ import annotations

import asyncio

import pytest

import gavotte
from gavotte.faces.loop import call

pytestmark = pytest.mark.vm


def test_a_timeout_ends_a_command_that_closed_its_streams(box: gavotte.Sandbox) -> None:
    with pytest.raises(gavotte.CommandTimeout):
        box.run(["sh", "-c", "exec >&- 2>&-; sleep 1000"], timeout=1)
    assert box.run(["sh", "-c", "ps -e | grep -c '[s]leep'"]).stdout == b"0\n"


def test_a_timeout_ends_a_command_that_moved_to_a_cgroup_of_its_own(box: gavotte.Sandbox) -> None:
    script = "mkdir -p /sys/fs/cgroup/x; echo $$ > /sys/fs/cgroup/x/cgroup.procs; exec sleep 1000"
    with pytest.raises(gavotte.CommandTimeout):
        box.run(["sh", "-c", script], timeout=1)
    assert box.run(["sh", "-c", "ps -e | grep -c '[s]leep'; rmdir /sys/fs/cgroup/x"]).stdout == b"0\n"


@pytest.mark.parametrize("user", ["²", "٣", "99999999999", "-1", "nobody:²", "1" * 30])
def test_a_user_that_makes_no_sense_is_refused_and_costs_no_other_command(box: gavotte.Sandbox, user: str) -> None:
    with box.spawn(["sleep", "1000"]) as other:
        with pytest.raises(gavotte.GuestError):
            box.run(["id"], user=user)
        assert other.returncode is None
        assert box.run(["id", "-u"]).stdout == b"0\n"
        other.kill()
        assert other.wait(timeout=30) == -9


def test_a_broken_line_in_passwd_costs_no_other_command(box: gavotte.Sandbox) -> None:
    box.run(["sh", "-c", "cp /etc/passwd /tmp/passwd; echo foo:x:bar:baz:::: >> /etc/passwd"]).check()
    with box.spawn(["sleep", "1000"]) as other:
        with pytest.raises(gavotte.GuestError):
            box.run(["id"], user="foo")
        assert box.run(["cp", "/tmp/passwd", "/etc/passwd"]).returncode == 0
        other.kill()
        assert other.wait(timeout=30) == -9


@pytest.mark.timeout(300)
def test_hundreds_of_commands_at_once_are_all_started(box: gavotte.Sandbox) -> None:
    async def story() -> list[int]:
        channel = box._async._running()

        async def one() -> int:
            # the last has to wait for all before it, which on a busy host are more than a minute's work for the guest
            async with await channel.spawn(["true"], env={}, deadline=200) as process:
                return await process.wait()

        return await asyncio.gather(*(one() for _ in range(700)))

    assert call(story()) == [0] * 700


def test_many_short_lines_and_what_follows_them_are_read_in_order(box: gavotte.Sandbox) -> None:
    with box.spawn(["sh", "-c", "seq 30000; printf 'the end'"]) as process:
        assert process.stdout.readline() == b"1\n"
        assert process.stdout.read(2) == b"2\n"
        lines = list(process.stdout)
        assert lines[:1] + lines[-2:] == [b"3\n", b"30000\n", b"the end"]
        assert len(lines) == 29_999
        assert process.stdout.read() == b""


def test_a_line_without_an_end_is_refused_before_it_fills_the_host(box: gavotte.Sandbox) -> None:
    with box.spawn(["cat", "/dev/zero"]) as process:
        with pytest.raises(gavotte.GuestError, match="more than 100000 bytes"):
            process.stdout.readline(limit=100_000)
        assert process.stdout.read(10) == bytes(10)


def test_the_smallest_guest_meets_a_full_root_not_the_oom_killer() -> None:
    with gavotte.Sandbox(accel="tcg", memory="128M") as small:
        result = small.run(["dd", "if=/dev/zero", "of=/x", "bs=64k"], timeout=100)
        assert (result.returncode, result.oom_kills) == (1, 0)
        assert b"No space left on device" in result.stderr
        assert small.run(["rm", "/x"]).returncode == 0


def test_closing_a_sandbox_that_starts_ends_the_start_and_the_machine() -> None:
    async def story() -> None:
        box = gavotte.AsyncSandbox(accel="tcg", cold=True)
        start = asyncio.create_task(box.start())
        await asyncio.sleep(1)  # into the boot, which takes several
        assert not start.done()
        await box.close()
        with pytest.raises(gavotte.StateError, match="closed while it started"):
            await start
        assert box.state is gavotte.State.CLOSED
        await box.close()

    asyncio.run(story())


def test_a_sandbox_that_is_dropped_is_ended_with_a_warning() -> None:
    box = gavotte.Sandbox(accel="tcg")
    box.start()
    inner = box._async
    with pytest.warns(ResourceWarning, match="dropped without close"):
        del box

    async def ended() -> None:
        await inner.close()

    call(ended())
    assert inner.state is gavotte.State.CLOSED
