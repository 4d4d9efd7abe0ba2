"""A guest whose agent was replaced by somebody: its calls come back, and its neighbours go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gavotte
from gavotte.errors import CommandTimeout
from gavotte.guest import command
from tests.support import replaced_agent
from tests.support.agents import DEADLINE

pytestmark = pytest.mark.vm

# A core dump goes to a program that the kernel starts beside the agent (core(5)).
TAKE_OVER = f"""
import os, resource, signal
open("/run/agent.py", "w").write({Path(replaced_agent.__file__).read_text()!r})
open("/proc/sys/kernel/core_pattern", "w").write("|/usr/bin/python3 /proc/%P/root/run/agent.py")
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
os.kill(os.getpid(), signal.SIGSEGV)
"""
LARGE = bytes(20_000_000)


def test_a_replaced_agent_prolongs_no_call_and_its_neighbours_go_on(
    box: gavotte.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GRACE", 1.0)
    with gavotte.Sandbox(accel="tcg") as hostile, ThreadPoolExecutor(1) as thread:
        with pytest.raises(CommandTimeout):
            hostile.run(["python3", "-c", TAKE_OVER], timeout=10)
        process = hostile.spawn(["true"])
        assert process.pid == 2  # as the new agent says
        with pytest.raises(CommandTimeout):
            process.wait(timeout=2)
        for input in (None, LARGE):
            running = thread.submit(hostile.run, ["true"], input=input, timeout=2)
            assert box.run(["echo", "on"], timeout=DEADLINE).check().stdout == b"on\n"
            with pytest.raises(CommandTimeout):
                running.result(DEADLINE)
        assert box.run(["echo", "still on"], timeout=DEADLINE).check().stdout == b"still on\n"
