"""Scripts that run with stand-ins for QEMU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gavotte.errors import UsageError
from gavotte.qemu.imports import CommandLine, trace_script
from tests.support.programs import DEADLINE


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the script lies, and where all is made and removed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def trace(script: str | bytes, *words: str, timeout: float = DEADLINE) -> CommandLine:
    Path("launch.sh").write_bytes(script if isinstance(script, bytes) else script.encode())
    Path("launch.sh").chmod(0o755)
    return trace_script(["./launch.sh", *words], timeout=timeout)


def left(place: Path) -> list[str]:
    return [path.name for path in place.iterdir() if path.name.startswith("gavotte-trace-")]


BASH = "#!/bin/bash\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('if [ "$1" = big ]; then M=2G; else M=1G; fi\nqemu-system-x86_64 -m $M', ("-m", "2G")),
        ('main() { exec qemu-system-x86_64 "$@" ; }\nmain -name "a  b" \'\' "$2"', ("-name", "a  b", "", "x y")),
        (
            "cat <<EOF >settings\nA=(-m 1 {-S,-s})\nEOF\n. ./settings\neval 'qemu-system-x86_64 \"${A[@]}\"'",
            ("-m", "1", "-S", "-s"),
        ),
        ("qemu-system-x86_64 -name $'\\xff\\n\\xfe' *.sh", ("-name", "\udcff\n\udcfe", "launch.sh")),
        ('Q=$(command -v qemu-system-x86_64)\nsetpriv --clear-groups --reuid 0 "$Q" -m 1', ("-m", "1")),
        ("env -i $(command -v qemu-system-x86_64) -m 1", ("-m", "1")),
        ("qemu-system-x86_64 -m 1 &\nexit 0", ("-m", "1")),
        ("bash -c 'qemu-system-x86_64 -m 1 | cat'", ("-m", "1")),
        ("qemu-system-x86_64 -m 1\nqemu-system-x86_64 -m 1", ("-m", "1")),
        ("exec 3>&- 4>&- 5>&- 6>&-\nqemu-system-x86_64 -m 1", ("-m", "1")),
    ],
)
def test_a_script_is_imported_as_it_runs(script: str, words: tuple[str, ...], place: Path) -> None:
    found = trace(BASH + script, "big", "x y")
    assert found.argv == ("qemu-system-x86_64", *words)
    assert left(place) == []


def test_a_question_is_answered_by_the_real_qemu(place: Path) -> None:
    found = trace(f'{BASH}qemu-system-x86_64 -name "$(qemu-system-x86_64 --version | head -c 4)"')
    assert found.argv == ("qemu-system-x86_64", "-name", "QEMU")


def test_an_emulator_that_is_not_installed_is_stood_in_for_where_the_script_names_it(place: Path) -> None:
    assert trace(f"{BASH}qemu-system-nosuch -m 1").argv == ("qemu-system-nosuch", "-m", "1")


def test_a_name_that_a_script_only_tries_is_not_made_up(place: Path) -> None:
    """The first of several that is there is the one that it takes."""
    found = trace(f"{BASH}command -v qemu-lite-x86_64 && exec qemu-lite-x86_64 -S\nqemu-system-x86_64 -m 1")
    assert found.argv == ("qemu-system-x86_64", "-m", "1")


def test_sudo_without_qemu_is_sudo(place: Path) -> None:
    Path("bin").mkdir()
    Path("bin/sudo").write_text('#!/bin/sh\necho "$@" >asked\n')
    Path("bin/sudo").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")
        found = trace(f"{BASH}sudo -u qemu ip link\nsudo qemu-system-x86_64 -m 1")
    assert found.argv == ("qemu-system-x86_64", "-m", "1")
    assert Path("asked").read_text() == "-u qemu ip link\n"


def test_the_directory_and_the_status_are_noted(place: Path) -> None:
    found = trace(f"{BASH}mkdir vms; cd vms\nqemu-system-x86_64 -hda x\nexit 3")
    assert found.notes == (f"relative paths are from {place}/vms", "./launch.sh ended with status 3")


def test_a_script_may_read_stdin_and_write_where_it_wants(place: Path) -> None:
    code = "from gavotte.faces.cli import main; import sys; sys.exit(main(['qemu', 'import', '--trace', '--', './x']))"
    Path("x").write_text(f"{BASH}read M; echo out; echo err >&2\nqemu-system-x86_64 -m $M\n")
    Path("x").chmod(0o755)
    run = subprocess.run(
        [sys.executable, "-c", code], input="1G\n", capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert '"size": "1G"' in run.stdout
    assert "out" not in run.stdout
    assert run.stderr == "gavotte: runs ./x, with all that it does; only QEMU is not started\nout\nerr\n"


@pytest.mark.parametrize(
    ("script", "said", "hint"),
    [
        ("echo no; exit 7", "ended with status 7, and started no QEMU", "absolute path"),
        ("kill -9 $$", "was killed by signal 9, and started no QEMU", "what it printed"),
        ("qemu-system-x86_64 -m 1\nqemu-system-x86_64 -m 2", "started 2 QEMUs with different", "arguments"),
        ("# /usr/bin/kvm\n/usr/bin/qemu-system-x86_64 -m 1", "launch.sh:3: it names /usr/bin/qemu-system", "in a copy"),
    ],
)
def test_what_cannot_be_traced_is_explained(script: str, said: str, hint: str, place: Path) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        trace(BASH + script)
    assert hint in raised.value.hint
    assert left(place) == []


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_script_that_cannot_be_started_is_explained(mode: int, place: Path) -> None:
    Path("launch.sh").write_text("qemu-system-x86_64 -m 1\n")
    Path("launch.sh").chmod(mode)
    with pytest.raises(UsageError, match=r"--trace: \./launch.sh (is not an executable|can't be started)") as raised:
        trace_script(["./launch.sh"], timeout=DEADLINE)
    assert "bash SCRIPT" in raised.value.hint
    assert trace_script(["bash", "launch.sh"], timeout=DEADLINE).argv == ("qemu-system-x86_64", "-m", "1")


def test_a_time_that_is_none_is_refused() -> None:
    for timeout in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="^--timeout: "):
            trace_script(["true"], timeout=timeout)


def ends(pid: int) -> bool:
    deadline = time.monotonic() + DEADLINE
    while Path("/proc", str(pid)).exists() and time.monotonic() < deadline:
        os.sched_yield()
    return not Path("/proc", str(pid)).exists()


def test_a_script_that_goes_on_is_ended_with_all_that_it_started(place: Path) -> None:
    script = f"{BASH}trap '' TERM\nsleep 1000 & echo $! >pid\nqemu-system-x86_64 -m 1\nwait; wait"
    found = trace(script, timeout=2)
    assert found.argv == ("qemu-system-x86_64", "-m", "1")
    assert found.notes == ("./launch.sh was ended after 2 s",)
    assert ends(int(Path("pid").read_text()))
    assert left(place) == []


def test_an_interrupt_ends_the_script(place: Path) -> None:
    Path("x").write_text(f"{BASH}echo $$ >pid.new; mv pid.new pid; sleep 1000\n")
    Path("x").chmod(0o755)
    code = "from gavotte.faces.cli import main; import sys; sys.exit(main(['qemu', 'import', '--trace', '--', './x']))"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as run:
        while not Path("pid").exists():
            os.sched_yield()
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=DEADLINE)
    assert run.returncode == 130
    assert ends(int(Path("pid").read_text()))
    assert left(place) == []
