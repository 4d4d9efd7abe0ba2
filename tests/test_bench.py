"""The bench compares like with like, and says so when a bound doesn't hold."""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import bare_clone
from bench.__main__ import show
from bench.bare import command_line
from bench.density import fit
from bench.memory import available, private, proportional
from bench.plot import Panel, Series, draw
from bench.rows import Row, p99, pair, ratio, spread
from gavotte.hypervisor.interface import MemoryFile
from gavotte.hypervisor.qemu.plan import CONSOLE, MEMORY, MONITOR, Wire, growth_of, machine_row, plan_machine
from gavotte.qemu.document import document_to_argv
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.boot import AGENT_PORT, machine_config
from gavotte.sandbox.spec import make_spec
from gavotte.sandbox.template.layout import layout_for
from gavotte.sandbox.template.memory import _SEALS
from gavotte.sandbox.template.plan import plan_config
from tests.support.schemas import schema_for

FILES = Artifacts(Path("/i/vmlinux"), Path("/i/initramfs"), Path("/i/root, or not.squashfs"))


@pytest.mark.parametrize("accel", ["tcg", "kvm"])
def test_the_bare_guest_has_the_devices_that_ours_has(accel: str) -> None:
    config = machine_config("bare", make_spec(), accel, FILES)
    wires = {name: Wire({"backend": "socket", "fd": 7}) for name in (CONSOLE, MONITOR, AGENT_PORT)}
    fds = {"console": 3, "monitor": 4, "agent": 5}
    by_hand = command_line(str(FILES.kernel), str(FILES.initrd), str(FILES.rootfs), accel, fds)
    assert [re.sub(r"fd=\d+", "fd=7", word) for word in by_hand] == document_to_argv(plan_machine(config, wires))


@pytest.mark.parametrize("size", ["512M", "256M"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
@pytest.mark.parametrize("accel", ["tcg", "kvm"])
def test_the_bare_clone_has_the_devices_that_ours_has(tmp_path: Path, accel: str, mode: int, size: str) -> None:
    schema = schema_for()
    spec = make_spec(memory=size)
    layout = layout_for(spec)
    with make_template(tmp_path, layout.memory, layout.max_memory, layout.cpus, mode) as template:
        fds = {"console": 3, "monitor": 4, "agent": 5, "memory": 6}
        files = (str(FILES.kernel), str(FILES.initrd), str(FILES.rootfs))
        by_hand = bare_clone.command_line(template, *files, accel, fds)
    config = plan_config("bare", spec, layout, accel, FILES, schema, MemoryFile(0, private=True))
    wires = {name: Wire({"backend": "socket", "fd": 7}) for name in (CONSOLE, MONITOR, AGENT_PORT)}
    wires[MEMORY] = Wire({"mem-path": "/proc/self/fd/6", **({"readonly": True, "rom": "off"} if mode == 0o400 else {})})
    planned = plan_machine(config, wires, (), growth_of(machine_row("x86_64"), schema))
    ours = document_to_argv({**planned, "S": True, "incoming": "defer"})
    assert [re.sub(r"fd=\d+", "fd=7", word) for word in by_hand] == ours


def test_the_bare_clone_has_the_memory_as_ours_has(tmp_path: Path) -> None:
    with make_template(tmp_path, 64 << 20, 1 << 30, 4, 0o600) as template:
        assert fcntl.fcntl(template.memory, fcntl.F_GET_SEALS) == bare_clone.SEALS == _SEALS
        assert os.pread(template.memory, 8, 32 << 20) == b"\0\0middle"
        assert os.fstat(template.memory).st_size == 64 << 20
    with pytest.raises(OSError):
        os.fstat(template.memory)


def make_template(path: Path, size: int, most: int, cpus: int, mode: int) -> bare_clone.Template:
    """The files of a template in which nothing ever ran."""
    layout = {"memory": size, "max_memory": most, "cpus": cpus}
    (path / "template.json").write_text(json.dumps({"layout": layout, "token": "00" * 16, "stopped": 0.0}))
    with (path / "memory").open("wb") as file:
        file.truncate(size)
        file.seek((32 << 20) + 2)
        file.write(b"middle")
    (path / "memory").chmod(mode)
    return bare_clone.Template(path)


def test_a_ratio_is_of_medians_and_a_spread_shows_the_ends() -> None:
    assert ratio([2.0, 4.0, 100.0], [2.0, 2.0, 1.0]) == 2.0
    assert spread([0.002, 0.001, 0.004], 1000, "ms") == "2.00 ms (1.00 to 4.00)"
    assert pair([0.2, 0.3, 0.1], [0.1, 0.1, 0.4]) == "200 ms (p99 300) / 100 ms (p99 400)"


def test_p99_is_exceeded_by_one_of_a_hundred() -> None:
    assert p99(range(1, 21)) == 20
    assert p99(range(1, 101)) == 99
    assert p99([*range(1, 201)][::-1]) == 198


def test_the_line_through_points_and_how_far_they_are_off() -> None:
    assert fit([(10, 25.0), (20, 45.0), (30, 65.0)]) == (2.0, 0.0)
    slope, off = fit([(0, 0.0), (10, 10.0), (20, 30.0), (30, 30.0)])
    assert slope == pytest.approx(1.1)
    assert off == pytest.approx(7.0)
    assert fit([(10, 25.0)]) == (2.5, 0.0)


def test_memory_is_read_in_bytes() -> None:
    assert 1 << 20 < private(os.getpid()) <= proportional(os.getpid()) < 1 << 30
    assert available() > 16 << 20


def test_a_plot_has_its_points_inside_and_its_words_escaped() -> None:
    dots = Series("a < b", [(0, 0.0), (50, 990.0)])
    line = Series("line", [(10, 12.5), (50, 1.0)], line=True)
    text = draw([Panel("first & last", "N", [dots, line]), Panel("other", "N", [Series("one", [(3, 0.4)])])])
    root = ElementTree.fromstring(text)
    places = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter() if dot.tag.endswith("circle")]
    assert len(places) == 5 + 3  # points, and one for each name
    assert all(0 <= x <= 720 and 0 <= y <= 260 for x, y in places)
    words = [word.text for word in root.iter() if word.tag.endswith("text")]
    assert {"first & last", "a < b", "1000", "50", "0.4"} <= set(words)


def test_the_table_shows_each_row_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("first", "2 x bare", "<= 1 x bare", False), Row("second", "1 ms")]
    show(rows, ("qemu", "kernel", "initrd", "rootfs", "tcg"))
    text = capsys.readouterr().out
    assert re.search(r"first +│ 2 x bare +│ <= 1 x bare +│ no ", text)
    assert "second" in text
