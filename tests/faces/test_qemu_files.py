"""`gavotte qemu check`, `argv` and `run`, on real files and with real binaries."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gavotte.qemu.binary import find_qemu
from tests.support.binaries import BINARIES
from tests.support.command_line import GAVOTTE, gavotte, read_until, started
from tests.support.programs import DEADLINE

EXAMPLE = """
{"machine": {"type": "q35", "accel": "tcg"}, "memory": {"size": "256M"}, "smp": {"cpus": 2},
 "objects":   [{"qom-type": "rng-random", "id": "r", "filename": "/dev/urandom"}],
 "netdevs":   [{"type": "user", "id": "n"}],
 "blockdevs": [{"driver": "null-co", "node-name": "b", "size": "1M"}],
 "devices":   [{"driver": "virtio-rng-pci", "rng": "r"}, {"driver": "virtio-blk-pci", "drive": "b"}]}
"""

ARGV = [
    *("-machine", "q35,accel=tcg"),
    *("-smp", "2"),
    *("-m", "256M"),
    *("-object", '{"qom-type":"rng-random","id":"r","filename":"/dev/urandom"}'),
    *("-netdev", '{"type":"user","id":"n"}'),
    *("-blockdev", '{"driver":"null-co","node-name":"b","size":1048576}'),
    *("-device", '{"driver":"virtio-rng-pci","rng":"r"}'),
    *("-device", '{"driver":"virtio-blk-pci","drive":"b"}'),
]

# A machine that listens to QMP on its standard streams
STDIO: dict[str, Any] = {
    "nodefaults": True,
    "machine": {"type": "none"},
    "display": {"type": "none"},
    "S": True,
    "chardevs": [{"backend": "stdio", "id": "qmp", "signal": False}],
    "monitors": [{"chardev": "qmp", "mode": "control"}],
}
QMP = b'{"execute":"qmp_capabilities"}\n'
QUIT = b'{"execute":"quit"}\n'

WRONG = """
fds = [{name = "tap0", fd = 5}]
[machine]
type = "q35"
[[netdevs]]
type = "tap"
id = "n"
fd = "tap1"
[[devices]]
driver = "virtio-blk-pci"
drive = "b"
num-queue = 2
[[devices]]
driver = "virtio-rgn-pci"
"""


@pytest.fixture(autouse=True, scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each binary is asked what it supports once, by these tests themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def example(tmp_path: Path) -> str:
    return write(tmp_path / "vm.json", EXAMPLE)


def write(path: Path, content: str | dict[str, Any]) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.fixture(params=BINARIES)
def qemu(request: pytest.FixtureRequest) -> str:
    return str(request.param or find_qemu().path)


# --- check ------------------------------------------------------------------------------------------------------------


def test_a_machine_that_is_fine_is_told_with_what_it_was_checked_against(qemu: str, example: str) -> None:
    run = gavotte("qemu", "check", example, "--qemu", qemu)
    assert (run.returncode, run.stderr) == (0, b"")
    [line] = run.stdout.decode().splitlines()
    assert re.fullmatch(
        rf"fine for QEMU (7\.2|10)\.[\d.]+ \({qemu}\): objects 1, netdevs 1, blockdevs 1, devices 2", line
    )


def test_the_binary_is_started_too_where_that_is_asked_for(example: str, tmp_path: Path) -> None:
    run = gavotte("qemu", "check", "--start", example)
    assert (run.returncode, run.stderr) == (0, b"")
    fine, untried = run.stdout.decode().splitlines()
    assert fine.endswith("; it starts")
    assert untried.endswith(": netdevs[0]")
    told = json.loads(gavotte("qemu", "check", "--start", "--json", example).stdout)
    assert (told["started"], told["untried"]) == (True, ["netdevs[0]"])
    wrong = tmp_path / "wrong.json"
    memory = {"size": "256M", "maxmem": "128M", "slots": "2"}
    wrong.write_text(json.dumps({"nodefaults": True, "machine": {"type": "q35"}, "memory": memory}))
    run = gavotte("qemu", "check", "--start", os.fspath(wrong))
    assert run.returncode == 2
    assert run.stdout.startswith(b"QEMU refuses it: invalid value of maxmem: ")


def test_a_program_is_told_too(example: str) -> None:
    told = json.loads(gavotte("qemu", "check", "--json", example).stdout)
    assert told.pop("version").startswith("7.2.")
    counts = {"objects": 1, "netdevs": 1, "blockdevs": 1, "devices": 2}
    assert told == {"ok": True, "qemu": str(find_qemu().path), "counts": counts}


def test_all_problems_are_told_one_a_line_with_path_and_hint(qemu: str, tmp_path: Path) -> None:
    file = write(tmp_path / "vm.toml", WRONG)
    run = gavotte("qemu", "check", file, "--qemu", qemu)
    assert (run.returncode, run.stderr) == (2, b"")
    lines = run.stdout.decode().splitlines()
    assert "devices[0].num-queue: virtio-blk-pci has no property 'num-queue'; did you mean 'num-queues'?" in lines
    assert "netdevs[0].fd: no descriptor is named 'tap1'; fds names tap0" in lines
    assert [line for line in lines if line.startswith("devices[1].driver: ")]

    told = json.loads(gavotte("qemu", "check", "--json", file, "--qemu", qemu).stdout)
    assert told["ok"] is False
    assert {problem["path"] for problem in told["problems"]} == {line.partition(":")[0] for line in lines}
    assert told["problems"][0].keys() == {"path", "problem", "hint"}


def test_argv_and_run_tell_the_same_on_stderr(tmp_path: Path) -> None:
    file = write(tmp_path / "vm.toml", WRONG)
    expected = gavotte("qemu", "check", file).stdout.decode().splitlines()
    for action in ("argv", "run"):
        run = gavotte("qemu", action, file)
        assert (run.returncode, run.stdout) == (2, b"")
        assert run.stderr.decode().splitlines() == [f"gavotte: {line}" for line in expected]


def test_a_wrong_shape_hides_no_other_mistake(tmp_path: Path) -> None:
    file = write(tmp_path / "vm.json", '{"kernel": 5, "machine": {"type": "q36"}, "devices": [7, {"driver": "nope"}]}')
    lines = gavotte("qemu", "check", file).stdout.decode().splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["kernel", "devices[0]", "machine.type", "devices[1].driver"]


def test_what_is_no_json_is_a_problem_that_programs_can_read(tmp_path: Path) -> None:
    run = gavotte("qemu", "check", "--json", write(tmp_path / "vm.json", "{,"))
    assert run.returncode == 2
    told = json.loads(run.stdout)
    assert not told["ok"]
    assert "is not JSON" in told["problems"][0]["problem"]


def test_a_file_with_the_wrong_shape_needs_no_binary(tmp_path: Path) -> None:
    file = write(tmp_path / "vm.json", '{"machine": "q35", "devics\\u001b[31m": []}')
    run = gavotte("qemu", "check", file, "--qemu", "/nonexistent")
    assert run.returncode == 2
    assert run.stdout.decode().splitlines() == [
        'machine: a mapping is wanted, not text; write {"type": "q35"}',
        "devics\N{REPLACEMENT CHARACTER}[31m: there is no such section; did you mean 'devices'?",
    ]


@pytest.mark.parametrize("action", ["check", "argv", "run"])
def test_what_is_no_machine_file_is_a_usage_error(action: str, tmp_path: Path) -> None:
    run = gavotte("qemu", action, str(tmp_path / "none.json"))
    assert (run.returncode, run.stdout) == (2, b"")
    assert b"No such file" in run.stderr
    run = gavotte("qemu", action, "-", input=b"{,")
    assert (run.returncode, run.stdout) == (2, b"")
    assert b"stdin is not JSON: " in run.stderr and b"line 1, column 2" in run.stderr


# --- argv -------------------------------------------------------------------------------------------------------------


def test_the_command_line_has_one_option_a_line(qemu: str, example: str) -> None:
    lines = gavotte("qemu", "argv", example, "--qemu", qemu).stdout.decode().splitlines()
    assert lines == [qemu, *(f"{name} {value}" for name, value in zip(ARGV[::2], ARGV[1::2], strict=True))]
    words = json.loads(gavotte("qemu", "argv", "--json", example, "--qemu", qemu).stdout)
    assert words == [qemu, *ARGV]


def test_the_command_line_can_be_made_where_there_is_no_qemu(tmp_path: Path) -> None:
    file = write(tmp_path / "vm.json", {"qemu": "qemu-system-none", "S": True})
    assert gavotte("qemu", "argv", "--unchecked", file).stdout.decode() == "qemu-system-none\n-S\n"
    refused = gavotte("qemu", "argv", file)
    assert refused.returncode == 125
    assert b"--unchecked" in refused.stderr


def test_without_the_emulator_that_a_file_names_its_package_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "vm.json", {"qemu": "qemu-system-aarch64", "S": True})
    refused = gavotte("qemu", "check", file, env={"PATH": str(tmp_path)}).stderr.decode()
    assert "no QEMU for aarch64: qemu-system-aarch64 is not on PATH" in refused
    assert "apt-get install qemu-system-arm, or correct the path" in refused


def test_a_shell_makes_the_same_words_of_it(tmp_path: Path) -> None:
    """What a terminal would act on isn't in the text, and yet reaches the program that the shell starts."""
    printer = tmp_path / "a program"
    printer.write_text('#!/bin/sh\nprintf "%s\\0" "$@"; cat <&4; cat <&3\n')
    printer.chmod(0o755)
    (tmp_path / "it's").write_text("read")
    words = ["", "$HOME `x` \\ \"'", "a\nb\tc\x1b[31m\x7f'", "é\u202e\U0001f600", os.fsdecode(b"\xff\xc3'1"), "-n"]
    document = {
        "qemu": str(printer),
        "append": words[2],
        "kernel": words[4],
        "options": [words],
        "fds": [{"name": "given", "fd": 4}, {"name": "opened", "path": str(tmp_path / "it's")}],
        "chardevs": [{"backend": "socket", "id": "c", "fd": "opened"}],
    }
    text = gavotte("qemu", "argv", "--unchecked", "--shell", write(tmp_path / "vm.json", document)).stdout
    assert all(character.isprintable() or character == "\n" for character in text.decode())
    assert text.decode().count("\n") == text.decode().count(" \\\n  ") + 1
    (tmp_path / "script").write_bytes(text)
    got = subprocess.run(
        ["bash", "-c", 'exec 4< <(echo -n given,); . "$0"', str(tmp_path / "script")], capture_output=True, check=True
    )
    *arguments, read = got.stdout.split(b"\0")
    expected = ["-kernel", words[4], "-append", words[2], "-chardev", "socket,id=c,fd=3", *words]
    assert arguments == [word.encode("utf-8", "surrogateescape") for word in expected]
    assert read == b"given,read"


def test_the_binary_is_the_options_or_the_files_or_the_environments(tmp_path: Path) -> None:
    named, bare = write(tmp_path / "a.json", {"qemu": "/file"}), write(tmp_path / "b.json", {})
    env = {"GAVOTTE_QEMU": "/env"}
    for words, expected in (([named, "--qemu", "/option"], "/option\n"), ([named], "/file\n")):
        assert gavotte("qemu", "argv", "--unchecked", *words, env=env).stdout.decode() == expected
    assert b"/env does not exist" in gavotte("qemu", "check", bare, env=env).stderr


# --- run --------------------------------------------------------------------------------------------------------------


def test_the_process_becomes_qemu_with_its_streams_and_its_status(qemu: str, tmp_path: Path) -> None:
    run = gavotte("qemu", "run", write(tmp_path / "vm.json", STDIO), "--qemu", qemu, input=QMP + QUIT)
    assert (run.returncode, run.stderr) == (0, b"")
    greeting, *_ = run.stdout.splitlines()
    assert json.loads(greeting)["QMP"]["version"]["qemu"]["major"] in (7, 10)
    failed = gavotte("qemu", "run", "--unchecked", write(tmp_path / "b.json", {"machine": {"type": "nonsense"}}))
    assert failed.returncode == 1
    assert b"unsupported machine type" in failed.stderr


def test_it_is_the_same_process_with_the_signals_that_it_was_given(tmp_path: Path) -> None:
    """Python ignores SIGPIPE for itself: what starts with that never ends when its reader goes."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho $$\ngrep SigIgn /proc/self/status\necho done\n")
    program.chmod(0o755)
    file = write(tmp_path / "vm.json", {"qemu": str(program)})
    with started("qemu", "run", "--unchecked", file, before=["nohup"]) as process:
        pid, line, _ = read_until(process.stdout, b"done\n").decode().splitlines()
        ignored = int(line.removeprefix("SigIgn:"), 16) & ~(0b11 << 31)  # 32 and 33 are so in what make starts
        assert (int(pid), ignored) == (process.pid, 1), "SIGHUP, by nohup"


def test_qemu_has_the_descriptors_of_the_file_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(512))
    document = {
        **STDIO,
        "fds": [
            {"name": "line", "fd": 9},
            {"fdset": 1, "path": str(tmp_path / "disk"), "mode": "rw"},
            {"fdset": 2, "path": str(tmp_path / "log"), "mode": "a"},
        ],
        "chardevs": [
            {"backend": "socket", "id": "qmp", "fd": "line"},
            {"backend": "file", "id": "log", "path": "/dev/fdset/2", "append": True},
        ],
        "blockdevs": [{"driver": "file", "node-name": "disk", "filename": "/dev/fdset/1"}],
    }
    write(tmp_path / "vm.json", document)
    ours, theirs = socket.socketpair()
    spare = os.open("/dev/null", os.O_RDONLY)
    script = 'exec "$@" 9<&"$LINE"'
    with ours, theirs:
        environment = {**os.environ, "LINE": str(theirs.fileno())}
        with subprocess.Popen(
            ["bash", "-c", script, "bash", *GAVOTTE, "qemu", "run", "vm.json"],
            pass_fds=[theirs.fileno(), spare],
            cwd=tmp_path,
            env=environment,
        ) as process:
            theirs.close()
            ours.settimeout(DEADLINE)
            assert b"QMP" in ours.recv(1000)
            numbers = {link.name: os.fspath(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
            assert str(tmp_path / "disk") in numbers.values()
            assert str(tmp_path / "log") in numbers.values()
            assert numbers["9"].startswith("socket:")
            inherited = {text for name, text in numbers.items() if int(name) > 2 and text == "/dev/null"}
            assert not inherited, "nobody named it"
            ours.sendall(QMP + QUIT)
            assert process.wait(DEADLINE) == 0
    os.close(spare)


def test_a_descriptor_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    fds = [{"name": "a", "fd": 7}, {"name": "b", "path": str(tmp_path / "none"), "mode": "rw"}]
    run = gavotte("qemu", "run", write(tmp_path / "vm.json", {**STDIO, "fds": fds}), input=QMP + QUIT)
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.decode().splitlines() == [
        "gavotte: fds[0].fd: this process was given no descriptor 7; in a shell, 7<>FILE opens it",
        f"gavotte: fds[1].path: can't open {tmp_path}/none: No such file or directory",
    ]


def test_more_options_may_follow_two_dashes(tmp_path: Path) -> None:
    file = write(tmp_path / "vm.json", STDIO)
    run = gavotte("qemu", "run", file, "--", "-name", "guest=--x", input=QMP + b'{"execute":"query-name"}\n' + QUIT)
    assert b'"name": "--x"' in run.stdout


def test_a_word_that_is_too_long_for_the_kernel_is_told(tmp_path: Path) -> None:
    run = gavotte("qemu", "run", "--unchecked", write(tmp_path / "vm.json", {"append": "x" * (128 << 10)}))
    assert run.returncode == 125
    assert b"Argument list too long\n  next: one word may have 128 KiB" in run.stderr
