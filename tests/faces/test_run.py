"""`gavotte run` as its users meet it: streams, statuses, signals. Each test boots its own guest."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gavotte.guest.image import Image
from gavotte.qemu.binary import find_qemu
from tests.support.command_line import GAVOTTE, Ended, gavotte, in_guest, read_until, started, wait_for_qemu
from tests.support.orphans import no_orphans
from tests.support.templates import own_cache

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

TCG = ("run", "--accel", "tcg")
EVERY_BYTE = bytes(range(256))


def in_guests(*runs: Sequence[str]) -> list[Ended]:
    """Several `gavotte run` at once, two at a time: each is given its options and its command."""
    with no_orphans(), ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda words: gavotte(*TCG, *words), runs))


def assert_one_message(stderr: bytes) -> None:
    """Gavotte's own words on stderr: what failed and why, and what to do next; no traceback."""
    lines = stderr.decode().splitlines()
    assert [line for line in lines if line.startswith("gavotte: ")] == lines[:1], lines
    assert [line for line in lines if line.startswith("  next: ")] == lines[1:], lines


# what goes in and what comes out


def test_streams_are_separate_and_exact_and_the_status_is_the_commands() -> None:
    code = (
        "import sys; b = bytes(range(256)); sys.stdout.buffer.write(b); sys.stderr.buffer.write(b[::-1]); sys.exit(7)"
    )
    ended = in_guest("python3", "-c", code)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, EVERY_BYTE, EVERY_BYTE[::-1])


def test_arguments_environment_directory_and_user_arrive_as_they_were_given() -> None:
    words: list[str | bytes] = [
        "a b",
        "",
        "'single' \"double\" `back` $HOME \\ *",
        "--",
        "--memory",
        "-x",
        "Grüße, 世界 \N{DANCER}",
        "two\nlines\ttab\r",
        b"not utf-8: \xff\xfe",
        "x" * 100_000,
        "",
    ]
    script = r"""printf '%s\0' "$@" "$SET" "$PASSED" "${UNKNOWN-unset}" "$PWD" "$(id -un)" "$HOME" """
    options = ["--env", "SET=a=b c", "--env", "PASSED", "--env", "UNKNOWN", "--cwd", "/usr/lib", "--user", "nobody"]
    environment = {"PASSED": os.fsdecode(b"h\xc3\xa9 \xff")}
    ended = in_guest("sh", "-c", script, "sh", *words, options=options, env=environment)
    arguments = [word if isinstance(word, bytes) else word.encode() for word in words]
    found = [b"a=b c", b"h\xc3\xa9 \xff", b"unset", b"/usr/lib", b"nobody", b"/nonexistent"]
    assert ended.stdout.split(b"\0") == [*arguments, *found, b""]
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_pipe_on_stdin_is_read_to_its_end() -> None:
    data = os.urandom(8_000_000)
    ended = in_guest("sha256sum", input=data)
    assert ended.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_file_of_fifty_megabytes_on_stdin_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "bulk"
    path.write_bytes(os.urandom(50_000_000))
    with path.open("rb") as file:
        ended = in_guest("sha256sum", stdin=file)
    assert ended.stdout.split()[0].decode() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_output_waits_for_its_reader_and_memory_stays_flat() -> None:
    megabyte, total = 1 << 20, 20 << 20
    script = f"head -c {total} /dev/zero; cat"
    with started(*TCG, "--", "sh", "-c", script) as process:
        assert process.stdout is not None and process.stdin is not None
        first = process.stdout.read(megabyte)
        memory = peak_memory(process.pid)
        rest = process.stdout.read(total - megabyte)
        grown = peak_memory(process.pid) - memory
        out, err = process.communicate(b"end", timeout=30)
    assert first.count(0) + rest.count(0) == total
    assert (process.returncode, out, err) == (0, b"end", b"")
    assert grown < 30 << 20


def peak_memory(pid: int) -> int:
    """VmHWM of a process, in bytes (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


# how it ends


def test_the_exit_status_tells_how_the_command_ended() -> None:
    runs = {
        ("--", "sh", "-c", "kill -SEGV $$"): 128 + signal.SIGSEGV,
        ("--", "no-such-program"): 127,
        ("--", "/etc/passwd"): 126,
        ("--user", "no-such-user", "--", "true"): 125,
        ("--cwd", "/no/such/place", "--", "true"): 125,
    }
    ended = in_guests(*runs)
    assert [one.returncode for one in ended] == list(runs.values()), [one.stderr for one in ended]
    assert [one.stdout for one in ended] == [b""] * len(runs)
    assert ended[0].stderr == b""
    for one in ended[1:]:
        assert_one_message(one.stderr)
    assert [b"\n  next: " in one.stderr for one in ended[3:]] == [True, True]
    for one, culprit in zip(
        ended[1:], (b"no-such-program", b"/etc/passwd", b"no-such-user", b"/no/such/place"), strict=True
    ):
        assert culprit in one.stderr


def test_a_timeout_is_status_124_and_keeps_what_was_written() -> None:
    ended = in_guest("sh", "-c", "setsid sleep 1000 & echo begun; sleep 1000", options=["--timeout", "3"])
    assert (ended.returncode, ended.stdout) == (124, b"begun\n")
    assert b"after 3 s" in ended.stderr
    assert b"  next: " in ended.stderr
    assert_one_message(ended.stderr)


def test_a_reader_that_goes_away_ends_the_command_with_sigpipe() -> None:
    with started(*TCG, "--", "bash", "-c", "yes; echo $? >&2") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b"%d\n" % (128 + signal.SIGPIPE)


# signals


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_reaches_the_command_which_may_end_as_it_likes(number: signal.Signals) -> None:
    script = f'trap "echo got it; exit 3" {number.name[3:]}; echo ready; while :; do sleep 1; done'
    with started(*TCG, "--", "sh", "-c", script) as process:
        read_until(process.stdout, b"ready\n")
        process.send_signal(number)
        read_until(process.stdout, b"got it\n", 20)
        assert process.wait(30) == 3


@pytest.mark.parametrize(("first", "second"), [("INT", "INT"), ("TERM", "QUIT")])
def test_a_second_signal_ends_the_machine_of_a_command_that_goes_on(first: str, second: str) -> None:
    # stderr is for Gavotte's words here: where the signal meets a sleep, the shell would tell how that ended
    script = f'exec 2>/dev/null; trap "echo not yet" {first} {second}; echo ready; while :; do sleep 1; done'
    with started(*TCG, "--", "sh", "-c", script) as process:
        read_until(process.stdout, b"ready\n")
        process.send_signal(signal.Signals[f"SIG{first}"])
        read_until(process.stdout, b"not yet\n", 20)
        process.send_signal(signal.Signals[f"SIG{second}"])
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (128 + signal.Signals[f"SIG{second}"], b"")
        assert b"not yet" not in out


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    with started(*TCG, "--", "sh", "-c", 'trap "exit 9" HUP; echo ready; read line', before=["nohup"]) as process:
        wait_for_qemu(process)
        process.send_signal(signal.SIGHUP)
        read_until(process.stdout, b"ready\n")
        process.send_signal(signal.SIGHUP)
        process.communicate(b"on\n", timeout=30)
        assert process.returncode == 0


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name
)
def test_a_signal_during_the_boot_ends_it_and_leaves_nothing(number: signal.Signals) -> None:
    with started(*TCG, "--", "echo", "too late") as process:
        wait_for_qemu(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (128 + number, b"", b"")


# odd streams


def in_shell(redirections: str, *words: str) -> Ended:
    """`gavotte run` started by a shell, with the redirections that a shell can do; stdout and stderr are pipes."""
    with no_orphans():
        return by_shell(redirections, *GAVOTTE, *TCG, *words)


def by_shell(redirections: str, *words: str) -> Ended:
    line = ["sh", "-c", f'exec "$@" {redirections}', "sh", *words]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=90, check=False)


def test_verbose_tells_phases() -> None:
    ended = in_shell("", "--verbose", "--cold", "--", "sh", "-c", "cat; echo $?")
    assert (ended.returncode, ended.stdout) == (0, b"0\n")
    for phase in (b"image: ", b"accelerator: ", b"boot: ", b"setup: "):
        assert b"gavotte: " + phase in ended.stderr
    assert b"writable root" in ended.stderr
    assert b"gavotte: booted: as asked for\n" in ended.stderr


@pytest.mark.parametrize(
    ("typed", "words", "said"),
    [
        (b"", ["cat"], b""),
        (b"", ["bash", "--norc"], b"exit"),
        (b"echo hi-$((1+1))\n", ["bash", "--norc"], b"hi-2\r\n"),
    ],
    ids=["cat", "shell", "shell with input"],
)
def test_a_terminal_without_one_here_comes_to_the_end_of_its_input(typed: bytes, words: list[str], said: bytes) -> None:
    ended = gavotte(*TCG, "-it", "--", *words, input=typed)
    assert ended.returncode == 0
    assert said in ended.stdout


def test_a_sigterm_ends_the_run_within_the_grace_period_whatever_the_command_ignores() -> None:
    with started(*TCG, "--", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done") as process:
        assert read_until(process.stdout, b"up\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM


def test_a_stdin_that_cannot_be_read_ends_the_command_and_is_status_125() -> None:
    with socket.socket() as unconnected:
        ended = in_guest("sleep", "1000", stdin=unconnected)
    assert (ended.returncode, ended.stdout) == (125, b"")
    assert b"can't read stdin: Transport endpoint is not connected" in ended.stderr
    assert_one_message(ended.stderr)


def test_output_that_cannot_be_written_is_status_125_with_one_message() -> None:
    ended = in_shell("> /dev/full", "--", "sh", "-c", "echo lost; sleep 1; echo lost")
    assert ended.returncode == 125
    assert b"can't write to stdout" in ended.stderr
    assert_one_message(ended.stderr)


CLOSED = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]

# Tells of each of its streams whether it has it, through those that it has.
STREAMS = """
for fd in 0 1 2; do
    if { true >&$fd; } 2>/dev/null; then has="$has $fd"; fi
done
echo "out:$has"; echo "err:$has" >&2
case "$has" in " 0 1 2") exit 7;; *) exit 3;; esac
"""


def test_a_command_has_those_standard_streams_that_it_would_have_here() -> None:
    """With 1 and 2 closed at the start, the next two files opened would get these numbers, and the output."""

    command = ("sh", "-c", STREAMS)
    with no_orphans(), ThreadPoolExecutor(2) as pool:
        there = list(pool.map(lambda closed: by_shell(closed, *GAVOTTE, *TCG, "-q", "--", *command), CLOSED))
    for closed, ended in zip(CLOSED, there, strict=True):
        here = by_shell(closed, *command)
        assert (closed, ended.returncode, ended.stdout, ended.stderr) == (
            closed,
            here.returncode,
            here.stdout,
            here.stderr,
        )


# what it runs on


def test_emulation_is_noted_once_in_each_boot_of_the_host_and_its_reason_is_for_those_who_ask(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": os.fspath(own_cache(tmp_path))}
    first, second = (gavotte("run", "--cold", "--verbose", "--", "true", env=env) for _ in range(2))
    accel = re.search(rb"gavotte: on (\w+): ", first.stderr)
    assert accel
    assert (first.stderr + second.stderr).count(b"note: KVM doesn't work here") == (accel[1] == b"tcg")


# bad machines


def test_a_qemu_that_fails_is_told_in_a_few_lines_and_its_command_line_only_to_those_who_ask(tmp_path: Path) -> None:
    broken = tmp_path / "qemu-system-broken"
    broken.write_text(
        f"""#!/bin/sh
        case "$*" in *-kernel*) seq 1 500 | sed 's/^/warning: /' >&2; echo no room for a firmware >&2; exit 1;; esac
        exec {find_qemu().path} "$@"
        """
    )
    broken.chmod(0o755)
    words = ("run", "--cold", "--accel", "tcg", "--qemu", os.fspath(broken), "--append", "x" * 1700)
    ended, asked = gavotte(*words, "--", "true"), gavotte(*words, "--verbose", "--", "true")
    assert ended.returncode == asked.returncode == 125
    told = ended.stderr.decode()
    assert "no room for a firmware" in told
    assert "\n  next: " in told
    assert len(told) < 800
    assert "-kernel" not in told
    assert "  command line: " in asked.stderr.decode()
    assert "-kernel" in asked.stderr.decode()


def test_a_guest_that_never_answers_is_status_125_with_the_end_of_its_console(image: Image) -> None:
    append = ["--append", "rdinit=/no/such/init init=/no/such/init panic=0 loglevel=7", "--boot-timeout", "15"]
    ended = in_guest("true", options=append)
    assert ended.returncode == 125
    assert b"no answer within 15 s" in ended.stderr
    assert b"Kernel panic" in ended.stderr
    assert b"  next: " in ended.stderr


def test_a_machine_type_that_qemu_does_not_have_is_refused_with_the_nearest_that_it_has() -> None:
    ended = in_guest("true", options=["--machine", "pc-q35-7.20"])
    assert ended.returncode == 125
    assert b"this QEMU has no machine 'pc-q35-7.20'; did you mean 'pc-q35-7." in ended.stderr
    assert b"  next: " in ended.stderr
