"""A detached sandbox as its users meet it: one for all tests that leave it as they found it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gavotte.sandbox.keeper.client import directory_fd
from gavotte.sandbox.keeper.wire import OUT, PROTOCOL, encode, encode_message
from gavotte.sandbox.register import SOCKET, Entry
from gavotte.sandbox.store import sweep
from tests.support.command_line import gavotte, read_until, started
from tests.support.detached import detached, said
from tests.support.terminals import on_terminal

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

MB = 1 << 20


@pytest.fixture(scope="module")
def box(image: object, run_directory: None) -> Iterator[Entry]:
    with detached("shared", options=("--max-memory", "1G", "--cpus", "1")) as entry:
        yield entry


# --- exec -------------------------------------------------------------------------------------------------------------


def test_exec_has_streams_of_its_own_and_the_commands_status(box: Entry) -> None:
    ended = gavotte("exec", box.name, "--", "sh", "-c", "cat; echo err >&2; exit 7", input=bytes(range(256)))
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, bytes(range(256)), b"err\n")


def test_exec_passes_arguments_environment_directory_and_user(box: Entry) -> None:
    script = 'printf "%s|" "$@" "$SET" "$PASSED" "$PWD" "$(id -un)"'
    options = ("--env", "SET=a=b", "--env", "PASSED", "--cwd", "/usr/lib", "--user", "nobody")
    words = ["a b", "", "-x", "--", "Grüße"]
    out = said("exec", *options, box.name, "--", "sh", "-c", script, "sh", *words, env={"PASSED": "yes"})
    assert out.split("|") == [*words, "a=b", "yes", "/usr/lib", "nobody", ""]


def test_more_than_all_buffers_goes_through_both_ways(box: Entry) -> None:
    data = os.urandom(3 * MB)
    assert gavotte("exec", box.name, "--", "cat", input=data).stdout == data


def test_a_reader_that_goes_away_ends_the_writer(box: Entry) -> None:
    with started("exec", box.name, "--", "sh", "-c", "yes; echo status $? >&2") as process:
        assert process.stdout is not None
        read_until(process.stdout, b"y\n")
        process.stdout.close()
        read_until(process.stderr, b"status 141")  # 128 + SIGPIPE


def test_a_command_that_stands_still_on_one_stream_is_heard_on_the_other(box: Entry) -> None:
    script = "head -c 3000000 /dev/zero & sleep 0.5; echo here >&2; wait"
    with started("exec", box.name, "--", "sh", "-c", script) as process:
        read_until(process.stderr, b"here\n")  # though nobody reads stdout
        assert process.stdout is not None
        assert len(process.stdout.read()) == 3_000_000


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["no-such-program"], 127, "was not found"),
        (["/etc/passwd"], 126, "/etc/passwd"),
        ([], 125, "there is no command to run"),
    ],
)
def test_a_command_that_cannot_start_has_the_status_of_a_shell(
    box: Entry, words: list[str], status: int, message: str
) -> None:
    assert message in said("exec", box.name, "--", *words, status=status)


def test_a_command_past_its_timeout_is_ended(box: Entry) -> None:
    assert "was ended after 1 s" in said("exec", "--timeout", "1", box.name, "--", "sleep", "1000", status=124)


HUNG_UP = "until [ -s /tmp/hup ]; do sleep 0.1; done; cat /tmp/hup; rm /tmp/hup"


def test_a_signal_is_the_commands_and_a_second_one_leaves_it_behind_with_sighup(box: Entry) -> None:
    script = "trap 'echo term' TERM; trap 'echo hup > /tmp/hup; exit' HUP; echo ready; while :; do sleep 0.1; done"
    with started("exec", box.name, "--", "sh", "-c", script) as process:
        read_until(process.stdout, b"ready\n")
        process.send_signal(signal.SIGTERM)
        read_until(process.stdout, b"term\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGINT
    assert said("exec", box.name, "--", "sh", "-c", HUNG_UP) == "hup\n"


def test_a_client_that_is_killed_hangs_up_on_its_command(box: Entry) -> None:
    script = "trap 'echo hup > /tmp/hup; exit' HUP; echo ready; cat"
    with started("exec", box.name, "--", "sh", "-c", script) as process:
        read_until(process.stdout, b"ready\n")
        process.kill()
    assert said("exec", box.name, "--", "sh", "-c", HUNG_UP) == "hup\n"


def test_a_command_gets_a_terminal_and_ours_is_as_it_was(box: Entry) -> None:
    script = "trap 'stty size' WINCH; trap 'echo interrupted; exit 5' INT; stty size; while :; do sleep 0.1; done"
    words = ("exec", "-t", box.name, "--", "bash", "-c", script)
    with on_terminal(*words, rows=33, columns=101) as (terminal, process):
        terminal.read_until(b"33 101\r\n")
        assert terminal.is_raw
        terminal.resize(44, 132)
        terminal.read_until(b"44 132\r\n", 20)
        terminal.type(b"\x03")
        terminal.read_until(b"interrupted\r\n", 20)
        assert process.wait(20) == 5
        assert terminal.is_as_at_first


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_ps_shows_it_as_a_table_and_for_programs(box: Entry) -> None:
    header, *lines = said("ps").splitlines()
    assert header.split() == ["NAME", "STATE", "AGE", "CPUS", "MEMORY", "COMMAND"]
    [words] = [line.split() for line in lines if line.startswith("shared ")]
    assert (words[1], words[3:]) == ("running", ["1", "512M", "-"])
    [facts] = [each for each in json.loads(said("ps", "--json")) if each["name"] == "shared"]
    assert (facts["state"], facts["status"], facts["command"]) == ("running", None, [])
    assert box.keeper is not None
    assert box.qemu is not None
    assert (facts["keeper"], facts["qemu"]) == (box.keeper.pid, box.qemu.pid)


@pytest.mark.parametrize("words", [["ps"], ["exec", "shared", "--", "true"]], ids=lambda words: words[0])
def test_a_short_command_does_without_asyncio(box: Entry, words: list[str]) -> None:
    code = "import sys; from gavotte.faces.cli import main; main(sys.argv[1:]); sys.exit('asyncio' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended


def test_inspect_tells_all_of_it(box: Entry) -> None:
    found = json.loads(said("inspect", box.name))
    assert found["spec"]["slots"] == 8
    assert found["health"]["health"] == "running"
    assert box.qemu is not None
    assert found["pids"]["qemu"] == box.qemu.pid
    # A copy's machine has the room of its template, and the guest what was asked for
    vcpus, limit = (4, 16384 * MB) if found["template"] else (1, 1024 * MB)
    assert [vcpu["index"] for vcpu in found["vcpus"]] == list(range(vcpus))
    assert (found["memory_use"]["base"], found["memory_use"]["limit"]) == (512 * MB, limit)
    assert found["spec"]["max_memory"] == 1024 * MB
    assert found["devices"] == {}
    assert bool(found["template"]) is not bool(found["cold_reason"])
    assert found["statistics"]["block"].keys() == {"root"}


def test_a_keeper_is_small_and_at_rest(box: Entry) -> None:
    assert box.keeper is not None
    process = Path(f"/proc/{box.keeper.pid}")

    def ticks() -> int:
        fields = (process / "stat").read_text().rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    lines = (process / "smaps_rollup").read_text().splitlines()
    [pss] = [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    assert pss <= 25_000  # kB

    def rests() -> bool:
        before = ticks()
        time.sleep(1)  # rest is what is looked for
        return ticks() - before <= 1

    assert any(rests() for _ in range(5)), "it's always up to something"


# --- what changes it --------------------------------------------------------------------------------------------------


def test_a_paused_one_says_so_and_how_it_goes_on(box: Entry) -> None:
    said("pause", box.name)
    said("pause", box.name)
    assert " paused " in said("ps")
    refused = said("exec", box.name, "--", "true", status=125)
    assert "is paused" in refused
    assert "resume" in refused
    said("resume", box.name)
    said("resume", box.name)
    said("exec", box.name, "--", "true")
    assert " running " in said("ps")


def test_one_whose_qemu_was_stopped_says_so_at_once_and_how_it_goes_on(box: Entry) -> None:
    assert box.qemu is not None
    os.kill(box.qemu.pid, signal.SIGSTOP)
    try:
        assert f"kill -CONT {box.qemu.pid}" in said("ps")
        refused = gavotte("exec", box.name, "--", "true")
        assert refused.returncode == 125
        assert f"kill -CONT {box.qemu.pid}" in refused.stderr.decode()
        found = json.loads(said("inspect", box.name))
        assert found["health"]["health"] == "silent"
        assert "silent" in found["statistics"]["problem"]
    finally:
        os.kill(box.qemu.pid, signal.SIGCONT)
    assert said("exec", box.name, "--", "echo", "goes on") == "goes on\n"


def test_its_size_changes_and_what_was_reached_is_told(box: Entry) -> None:
    assert said("resize", box.name, "--cpus", "2", "--memory", "640M") == "2 cpus, 640M\n"
    assert said("exec", box.name, "--", "nproc") == "2\n"
    refused = gavotte("resize", box.name, "--cpus", "1", "--memory", "512M")  # an emulated processor may have to stay
    assert refused.stdout == b"1 cpus, 512M\n" or (b"fewer vCPUs" in refused.stderr and "640M" in said("ps"))
    assert said("resize", box.name, "--memory", "512M").endswith(" cpus, 512M\n")
    assert "from 1" in said("resize", box.name, "--cpus", "99", status=2)
    assert "1G" in said("resize", box.name, "--memory", "2G", status=2)
    assert "nothing to change" in said("resize", box.name, status=2)


def test_a_device_in_qemus_words_comes_and_goes(box: Entry) -> None:
    rng = '{"driver": "virtio-rng-pci", "rng": "more"}'
    source = ("--object", '{"qom-type": "rng-random", "id": "more", "filename": "/dev/urandom"}')
    count = ("exec", box.name, "--", "sh", "-c", "ls /sys/bus/pci/drivers/virtio-pci | grep -c :")
    before = int(said(*count))
    assert said("plug", box.name, rng, *source) == "plug0\n"
    assert "plug0" in json.loads(said("inspect", box.name))["devices"]
    until = time.monotonic() + 20
    while int(said(*count)) != before + 1:
        assert time.monotonic() < until
    said("unplug", box.name, "plug0")
    assert int(said(*count)) == before


def test_a_file_of_a_back_end_is_the_callers(box: Entry, tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(MB))
    disk = ("--blockdev", '{"driver": "raw", "node-name": "d", "file": {"driver": "file", "filename": "disk.img"}}')
    said("plug", box.name, '{"driver": "virtio-blk-pci", "id": "disk", "drive": "d"}', *disk, cwd=tmp_path)
    said("unplug", box.name, "disk")


@pytest.mark.parametrize(
    ("words", "culprit", "advice"),
    [
        (['{"drivr": "virtio-rng-pci"}'], "device.drivr:", "did you mean 'driver'"),
        (['{"driver": "virtio-rgn-pci"}'], "device.driver:", "did you mean 'virtio-rng-pci'"),
        (['{"driver": "virtio-net-pci"}', "--netdev", '{"type": "usr", "id": "n"}'], "netdev.type:", "user"),
        (["{'driver': 1}"], "device:", "not a JSON object"),
        (["[" * 100_000], "device:", "not a JSON object"),
        (["[]"], "device:", "not a JSON object"),
    ],
)
def test_a_device_that_is_wrong_names_its_culprit(box: Entry, words: list[str], culprit: str, advice: str) -> None:
    refused = said("plug", box.name, *words, status=2)
    assert culprit in refused
    assert advice in refused
    assert json.loads(said("inspect", box.name))["devices"] == {}


def test_the_console_shows_its_last_lines_and_is_left_by_a_key(box: Entry) -> None:
    said("exec", box.name, "--", "sh", "-c", "echo h > /proc/sysrq-trigger")
    with on_terminal("console", box.name) as (terminal, process):
        terminal.read_until(b"sysrq: HELP")
        said("exec", box.name, "--", "sh", "-c", "echo m > /proc/sysrq-trigger")
        terminal.read_until(b"Show Memory")
        terminal.type(b"\x1d")
        assert process.wait(20) == 0
        assert terminal.is_as_at_first


# --- what is refused --------------------------------------------------------------------------------------------------


def test_its_name_is_taken_and_it_is_not_removed_while_it_runs(box: Entry) -> None:
    assert "there is a sandbox 'shared' already, running" in said("run", "-d", "--name", "shared", status=125)
    assert "gavotte stop shared" in said("rm", box.name, status=125)


@pytest.mark.parametrize("name", ["../x", "", "x" * 64, "naïve"])
def test_a_name_that_is_nonsense_is_refused_everywhere(name: str) -> None:
    for words in (["run", "-d", "--name", name], ["exec", name, "--", "true"], ["rm", name], ["inspect", name]):
        assert "no name for a sandbox" in said(*words, status=125 if words[0] in ("run", "exec") else 2)


def test_a_name_that_nobody_has_is_told_with_one_that_is_close(box: Entry) -> None:
    for words in (["stop", "sharde"], ["logs", "sharde"], ["pause", "sharde"]):
        assert "did you mean shared?" in said(*words, status=2)


NONSENSE = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "zeros": b"\0" * 100,
    "stream": encode(OUT, b"x"),
    "half a request": encode_message(op="exec", protocol=PROTOCOL),
    "no operation": encode_message(op=["x"], protocol=PROTOCOL),
}


@pytest.mark.parametrize("words", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_on_its_socket_does_it_no_harm(box: Entry, words: bytes) -> None:
    with directory_fd(box.path) as fd, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(f"/proc/self/fd/{fd}/{SOCKET}")
        client.sendall(words)
        while client.recv(1 << 16):
            pass
    assert said("exec", box.name, "--", "echo", "fine") == "fine\n"


def test_its_files_are_its_owners_alone(box: Entry) -> None:
    assert box.path.stat().st_mode & 0o777 == 0o700
    assert (box.path / SOCKET).stat().st_mode & 0o077 == 0


def test_a_sweep_leaves_it_alone(box: Entry) -> None:
    assert sweep() == []
    assert said("exec", box.name, "--", "echo", "fine") == "fine\n"
