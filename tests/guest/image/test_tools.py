from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image import tools


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped yet doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def test_output_is_given_and_input_is_fed() -> None:
    data = os.urandom(1 << 20)
    assert tools.run(["cat"], stdin=data) == data


def test_a_missing_tool_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="needs mksquashfs") as caught:
        tools.run(["mksquashfs"])
    assert "apt-get install squashfs-tools" in caught.value.hint


def test_a_failure_shows_the_last_lines_of_stderr_and_the_command() -> None:
    with pytest.raises(ImageError, match=r"sh failed with status 3\n  line 6") as caught:
        tools.run(["sh", "-c", "for i in $(seq 20); do echo line $i >&2; done; exit 3"])
    assert "line 5\n" not in caught.value.message
    assert "seq 20" in caught.value.argv[-1]


def test_a_program_that_takes_too_long_is_ended_with_its_children() -> None:
    with pytest.raises(ImageError, match="took longer than"):
        tools.run(["sh", "-c", "sleep 100 & sleep 100"], deadline=0.3)


def test_leaving_the_block_early_kills_the_whole_group() -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        tools.Child(["sh", "-c", "sleep 100 & echo $!; wait"], stdout=subprocess.PIPE) as child,
    ):
        grandchild = int(child.stdout.readline())
        assert is_alive(grandchild)
        raise KeyboardInterrupt
    wait_until_gone(grandchild)


def test_a_killed_builder_leaves_no_program_behind() -> None:
    program = (
        "import subprocess; from gavotte.guest.image import tools\n"
        "with tools.Child(['sh', '-c', 'echo; exec sleep 100'], stdout=subprocess.PIPE) as child:\n"
        "    child.stdout.readline()  # setpriv has asked for its parent's death to be told\n"
        "    print(child._process.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as builder:
        assert builder.stdout
        pid = int(builder.stdout.readline())
        assert is_alive(pid)
        builder.send_signal(signal.SIGKILL)
    wait_until_gone(pid)
