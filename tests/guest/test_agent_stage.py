"""What commands can do to the stage and to each other, and what is left of the guest afterwards."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gavotte.guest import agent
from gavotte.guest.agent.boot import Boot
from gavotte.guest.agent.packets import send_packet
from gavotte.guest.agent.server import Agent
from gavotte.guest.agent.streams import Command
from gavotte.guest.agent.world import StageHandle
from gavotte.qemu.pids import process_state
from tests.support.agents import PYTHON, Line, exec_fields, guest

# reboot(2) in a pid namespace that isn't the first ends that namespace: pid_namespaces(7)
REBOOT = "import ctypes, os; os.getpid() > 1 and ctypes.CDLL(None).reboot(0x01234567)"


@pytest.fixture
def line() -> Iterator[Line]:
    with guest() as line:
        yield line


def notices(line: Line) -> list[dict[str, str]]:
    return [json.loads(frame.payload) for frame in line.pending if frame.kind == agent.NOTICE]


def test_kill_everything_ends_the_other_commands_and_not_the_guest(line: Line) -> None:
    victim = line.spawn("sleep", "1000")
    line.run("sh", "-c", "kill -9 -1")
    assert line.finish(victim).exit == {"signal": 9}
    assert line.run("echo", "served").stdout == b"served\n"
    assert not notices(line)


def test_a_command_can_not_kill_the_stage(line: Line) -> None:
    for name in ("KILL", "TERM", "HUP", "INT", "STOP", "SEGV"):
        line.run("sh", "-c", f"kill -{name} 1")
        assert line.run("echo", "served").stdout == b"served\n"
    assert not notices(line)


def test_the_end_of_the_stage_is_told_and_a_new_one_takes_over(line: Line) -> None:
    channels = [line.spawn("sh", "-c", "printf before; exec sleep 1000") for _ in range(3)]
    for channel in channels:
        line.read_until(channel, b"before")
    first = line.process.stage_pid()
    os.kill(first, signal.SIGKILL)
    for channel in channels:
        assert "stage" in line.finish(channel).exit["lost"]
    notice = json.loads(line.take(0, agent.NOTICE).payload)
    assert notice["event"] == "stage-ended"
    assert notice["why"]
    assert line.run("echo", "served").stdout == b"served\n"
    assert line.process.stage_pid() != first


def test_a_stage_that_ends_behind_a_command_whose_end_is_not_heard_yet_leaves_the_guest(line: Line) -> None:
    channel = line.spawn("sleep", "1000")  # no process stands by for the next one: that is asked for at its end
    stage = line.process.stage_pid()
    [command] = line.process.children_of_stage()
    os.kill(line.process.pid, signal.SIGSTOP)
    try:
        os.kill(command, signal.SIGKILL)
        while line.process.children_of_stage() or process_state(stage) != "S":  # until it has told of it
            os.sched_yield()
        os.kill(stage, signal.SIGKILL)
        while process_state(stage) != "Z":
            os.sched_yield()
    finally:
        os.kill(line.process.pid, signal.SIGCONT)
    assert line.finish(channel).exit == {"signal": 9}
    line.take(0, agent.NOTICE)
    assert line.run("echo", "served").stdout == b"served\n"


@pytest.mark.parametrize("unread", [0, 1])
def test_a_stage_that_has_ended_is_told_in_vain(unread: int) -> None:
    """The first send after its end fails with EPIPE, or with ECONNRESET where it left something unread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        teller, stage = cast(Agent, None), cast(StageHandle, SimpleNamespace(control=ours))
        for _ in range(unread):
            Agent.tell(teller, stage, {"op": "standby"})
        theirs.close()
        for _ in range(2):
            Agent.tell(teller, stage, {"op": "standby"})


def test_what_a_stage_said_before_its_end_counts_also_where_it_left_something_unread() -> None:
    port, host = socket.socketpair()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with port, host, ours:
        server = Agent(port.fileno(), cast(Boot, None))
        server.stage = cast(StageHandle, SimpleNamespace(control=ours))
        command = server.commands[1] = Command(["true"], False)
        server.starts.channels[7] = 1
        send_packet(theirs, {"op": "exited", "pid": 7, "status": 3})
        send_packet(ours, {"op": "standby"})
        theirs.close()
        host.send(b"x")
        server.loop.watch(port.fileno(), select.EPOLLIN, lambda _events: None)  # so that no round waits
        server.loop.watch(ours.fileno(), select.EPOLLIN, server.on_stage)
        for _ in range(3):  # the reset, what was said, the end
            server.loop.run_once()
        assert command.exit == {"status": 3}


def test_the_root_keeps_its_files_when_the_stage_ends(line: Line) -> None:
    line.run("sh", "-c", "echo kept > /tmp/kept")
    os.kill(line.process.stage_pid(), signal.SIGKILL)
    line.take(0, agent.NOTICE)
    assert line.run("cat", "/tmp/kept").stdout == b"kept\n"
    assert line.run("hostname").stdout == b"guest\n"


def test_stages_that_end_again_and_again_leave_no_file_descriptor(line: Line) -> None:
    def end_stage() -> None:
        line.spawn("sleep", "1000", stdin=True)
        line.spawn("sleep", "1000", tty=[24, 80])
        os.kill(line.process.stage_pid(), signal.SIGKILL)
        line.take(0, agent.NOTICE)
        line.settle()

    end_stage()
    before = line.resting_fds()
    for _ in range(4):
        end_stage()
    assert line.process.comes_to_hold(before)


def test_a_reboot_in_a_command_ends_the_stage_and_says_so(line: Line) -> None:
    channel = line.spawn(PYTHON, "-Sc", REBOOT)
    assert "reboot" in line.finish(channel).exit["lost"]
    assert "reboot" in json.loads(line.take(0, agent.NOTICE).payload)["why"]
    assert line.run("echo", "served").stdout == b"served\n"


def test_a_request_that_the_stage_took_with_it_is_answered(line: Line) -> None:
    stage = line.process.stage_pid()
    os.kill(stage, signal.SIGSTOP)  # so that it doesn't read what comes now
    channel = line.request("exec", **exec_fields("true"))
    line.settle()
    os.kill(stage, signal.SIGKILL)
    frame = line.take(channel, agent.EXIT, agent.ERROR)
    assert frame.kind == agent.ERROR or "lost" in json.loads(frame.payload)
    line.take(0, agent.NOTICE)
    assert line.run("echo", "served").stdout == b"served\n"


def test_commands_see_neither_the_hosts_processes_nor_the_agents_mounts(line: Line) -> None:
    assert len(line.run("ps", "-e", "-o", "pid=").stdout.split()) <= 3  # the stage, ps, and who stands by
    mounts = line.run("cut", "-d ", "-f2", "/proc/mounts").stdout.split()
    assert mounts[0] == b"/"
    assert b"/run/writable" not in mounts
    assert not [path for path in mounts if path.startswith(b"/run/root")]


def test_a_command_finds_an_ordinary_system(line: Line) -> None:
    script = """
    set -e
    test -w /dev/null; test -r /dev/urandom; test -c /dev/full; test -d /dev/pts; test -w /dev/shm
    test -w /tmp; test -w /run; test -d /sys/kernel; test -d /proc/self; test -L /dev/stdin
    test "$(hostname)" = "$(cat /etc/hostname)"
    grep -q "127.0.1.1.*$(hostname)" /etc/hosts
    test "$(wc -c < /etc/machine-id)" = 33
    test "$(umask)" = 0022
    """
    outcome = line.run("sh", "-xc", script)
    assert outcome.status == 0, outcome.stderr.decode()


def test_what_a_command_writes_stays_in_the_guest(line: Line) -> None:
    line.run("sh", "-c", "echo x > /etc/written-by-a-guest; mount -t tmpfs tmpfs /mnt; hostname other")
    assert not Path("/etc/written-by-a-guest").exists()
    assert not Path("/mnt").is_mount()
    assert os.uname().nodename != "other"
