"""The bench compares like with like, and says so when a bound doesn't hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.__main__ import show
from bench.bare import command_line
from bench.rows import Row, ratio, spread
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, Wire, plan_machine
from gavotte.qemu.document import document_to_argv
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.boot import AGENT_PORT, machine_config
from gavotte.sandbox.spec import make_spec


@pytest.mark.parametrize("accel", ["tcg", "kvm"])
def test_the_bare_guest_has_the_devices_that_ours_has(accel: str) -> None:
    files = Artifacts(Path("/i/vmlinux"), Path("/i/initramfs"), Path("/i/root, or not.squashfs"))
    config = machine_config("bare", make_spec(), accel, files)
    wires = {name: Wire({"backend": "socket", "fd": 7}) for name in (CONSOLE, MONITOR, AGENT_PORT)}
    fds = {"console": 3, "monitor": 4, "agent": 5}
    by_hand = command_line(str(files.kernel), str(files.initrd), str(files.rootfs), accel, fds)
    assert [re.sub(r"fd=\d+", "fd=7", word) for word in by_hand] == document_to_argv(plan_machine(config, wires))


def test_a_ratio_is_of_medians_and_a_spread_shows_the_ends() -> None:
    assert ratio([2.0, 4.0, 100.0], [2.0, 2.0, 1.0]) == 2.0
    assert spread([0.002, 0.001, 0.004], 1000, "ms") == "2.00 ms (1.00 to 4.00)"


def test_the_table_shows_each_row_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("first", "2 x bare", "<= 1 x bare", False), Row("second", "1 ms")]
    show(rows, ("qemu", "kernel", "initrd", "rootfs", "tcg"))
    text = capsys.readouterr().out
    assert re.search(r"first +│ 2 x bare +│ <= 1 x bare +│ no ", text)
    assert "second" in text
