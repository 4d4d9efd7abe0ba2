"""A manager that dies without a chance to clean up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command_line import gavotte, read_until, started, wait_for_qemu
from tests.support.programs import wait_for_end

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]


def run_directories() -> set[str]:
    return {path.name for path in Path(os.environ["GAVOTTE_RUN_DIR"]).iterdir()}


def test_a_manager_killed_by_sigkill_leaves_no_qemu_and_the_next_command_sweeps() -> None:
    before = run_directories()
    with started("run", "--accel", "tcg", "--", "sh", "-c", "echo ready; sleep 1000") as manager:
        read_until(manager.stdout, b"ready\n")
        qemu = wait_for_qemu(manager)
        pidfd = os.pidfd_open(qemu)
        try:
            (left,) = run_directories() - before
            manager.kill()
            manager.wait(10)
            wait_for_end(qemu, pidfd)
        finally:
            os.close(pidfd)
        assert left in run_directories()
        next_one = gavotte("run", "--accel", "tcg", "--qemu", "/bin/false", "--", "true")
        assert next_one.returncode == 125
        assert run_directories() == before


def test_a_living_sandbox_is_not_swept() -> None:
    before = run_directories()
    with started("run", "--accel", "tcg", "--", "cat") as manager:
        wait_for_qemu(manager)
        mine = run_directories() - before
        assert len(mine) == 1
        gavotte("run", "--accel", "tcg", "--qemu", "/bin/false", "--", "true")
        assert mine <= run_directories()
        out, err = manager.communicate(b"still here", timeout=60)
        assert (manager.returncode, out, err) == (0, b"still here", b"")
