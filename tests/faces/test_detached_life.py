"""How detached sandboxes begin and end: by their command, by request, by what kills their keeper or their machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from gavotte.sandbox.register import find_entry, list_entries
from gavotte.sandbox.store import run_root, sweep
from tests.support.command_line import GAVOTTE, PATIENCE, gavotte, read_until, started
from tests.support.detached import detached, kill, register_says, said
from tests.support.processes import processes_of, wait_for_ends

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

RUN = ("run", "-d", "--accel", "tcg")


def processes_for(name: str) -> Iterator[int]:
    """The pids of its keeper and its QEMU."""
    yield from processes_of(name)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended while we looked
            words = path.read_bytes()
            if b"sandbox.keeper\0%s\0" % name.encode() in words:
                yield int(path.parent.name)


def nothing_is_left(name: str) -> bool:
    """No directory, no keeper, no QEMU of that name. A keeper that has said all it has to say takes a moment to end."""
    wait_for_ends(processes_for(name))
    return not (run_root() / name).exists()


def test_of_two_that_want_a_name_one_gets_it_also_where_paths_are_long_and_with_rm_it_goes_by_itself(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir(mode=0o700)
    name = "n" * 63
    env = {"GAVOTTE_RUN_DIR": str(folder)}
    words = (*RUN, "--rm", "--name", name, "--", "sh", "-c", "until [ -e /tmp/enough ]; do sleep 0.1; done; sleep 1")
    with ThreadPoolExecutor(2) as pool:
        lost, won = sorted(pool.map(lambda _: gavotte(*words, env=env), range(2)), key=lambda ended: -ended.returncode)
    assert (won.returncode, won.stdout, lost.returncode) == (0, f"{name}\n".encode(), 125)
    assert b"choose another" in lost.stderr
    said("exec", name, "--", "touch", "/tmp/enough", env=env)
    until = time.monotonic() + PATIENCE
    while list(folder.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.05)  # of its going, there is no event for others


def test_one_that_cannot_start_says_why_as_run_does_and_leaves_nothing() -> None:
    assert "was not found" in said(*RUN, "--name", "never", "--", "no-such-program", status=127)
    assert "/nonexistent" in said(*RUN, "--name", "never", "--qemu", "/nonexistent", status=125)
    assert nothing_is_left("never")


def test_ctrl_c_while_it_starts_leaves_nothing() -> None:
    with subprocess.Popen([*GAVOTTE, *RUN, "--name", "hasty"], stderr=subprocess.PIPE) as process:
        while not any(entry.name == "hasty" for entry in list_entries()):
            assert process.poll() is None
        keeper = find_entry("hasty").keeper
        assert keeper is not None
        fd = keeper.open()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        import select

        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(20_000)
        os.close(fd)
    assert nothing_is_left("hasty")


def test_a_keeper_that_is_killed_is_replaced_and_its_command_goes_on_to_its_end() -> None:
    script = "echo begun; until [ -e /tmp/enough ]; do sleep 0.1; done; echo done >&2; exit 9"
    with detached("orphan", "sh", "-c", script) as entry:
        said("exec", "orphan", "--", "sh", "-c", "echo kept > /tmp/note")
        kill(entry.keeper)
        assert "its keeper died" in said("ps")
        assert sweep() == []
        assert said("exec", "orphan", "--", "cat", "/tmp/note") == "kept\n"
        assert "its keeper died" not in said("ps")
        kill(find_entry("orphan").keeper)
        with ThreadPoolExecutor(3) as pool:  # one of them brings a keeper, all are served
            assert {*pool.map(lambda _: said("exec", "orphan", "--", "cat", "/tmp/note"), range(3))} == {"kept\n"}
        gavotte("exec", "orphan", "--", "touch", "/tmp/enough")  # which the machine's end may overtake
        facts = register_says("orphan", "exited")
        assert (facts["status"], facts["keeper"], facts["qemu"]) == (9, None, None)
        assert "exited (9)" in said("ps")
        assert said("logs", "orphan") == "begun\ndone\n"
        assert "exited, its command with status 9" in said("exec", "orphan", "--", "true", status=125)
        said("stop", "orphan")  # is what it asks for
        sweep()
        said("rm", "orphan")
        assert nothing_is_left("orphan")


WRITER = """
import os, sys, time
for number in range(60_000):
    print(number, flush=number % 7 == 0)
    if number % 3 == 0:
        print("x", end="", file=sys.stderr, flush=True)
    if number % 1000 == 0 and not os.path.exists("/tmp/enough"):
        time.sleep(0.2)
"""


def test_no_line_of_a_command_is_lost_or_doubled_though_its_keepers_are_killed_while_it_writes() -> None:
    with detached("writing", "python3", "-c", WRITER) as entry:
        for _ in range(6):
            until = time.monotonic() + PATIENCE
            length = len(said("logs", "writing"))
            while len(said("logs", "writing")) == length:
                assert time.monotonic() < until
            kill(find_entry("writing").keeper)
            said("exec", "writing", "--", "true")
        gavotte("exec", "writing", "--", "touch", "/tmp/enough")  # which its end may overtake
        assert register_says("writing", "exited")["status"] == 0
        log = said("logs", "writing")
        assert log.count("x") == 20_000  # which may be in the middle of a line
        assert log.replace("x", "").splitlines() == [str(number) for number in range(60_000)]
        assert not (entry.path / "command.log.mark").exists()


def test_a_machine_that_is_killed_or_panics_is_dead_and_says_why() -> None:
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(gavotte, *RUN, "--name", "panicked")  # it boots meanwhile
        with detached("fallen") as entry:
            with started("exec", "fallen", "--", "sh", "-c", "echo ready; sleep 1000") as process:
                read_until(process.stdout, b"ready\n")
                kill(entry.qemu)
                assert process.wait(20) == 125
                assert process.stderr is not None
                assert b"SIGKILL" in process.stderr.read()
            assert "SIGKILL" in register_says("fallen", "dead")["why"]
            assert "SIGKILL" in said("exec", "fallen", "--", "true", status=125)
    try:
        assert other.result().returncode == 0
        gavotte("exec", "panicked", "--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60")
        assert "panicked" in register_says("panicked", "dead")["why"]
    finally:
        said("rm", "-f", "panicked")


def test_stop_ends_it_also_while_commands_run_or_it_is_paused_or_its_keeper_and_machine_are_gone() -> None:
    with detached("ending") as entry:
        heeding = started("exec", "ending", "--", "sh", "-c", "echo ready; sleep 1000")
        stubborn = started("exec", "ending", "--", "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
        with heeding as first, stubborn as second:
            for process in (first, second):
                read_until(process.stdout, b"ready\n")
            said("pause", "ending")
            said("stop", "--time", "3", "ending")
            assert (first.wait(20), second.wait(20)) == (128 + signal.SIGTERM, 128 + signal.SIGKILL)
        assert register_says("ending", "stopped")["why"] == ""
        said("stop", "ending")
        assert entry.qemu is not None
        assert not entry.qemu.lives
    assert nothing_is_left("ending")


WAITS = "trap 'echo bye; exit 3' INT; echo up; while :; do sleep 0.1; done"


def log_says(name: str, text: str) -> None:
    until = time.monotonic() + PATIENCE
    while said("logs", name) != text:
        assert time.monotonic() < until
        time.sleep(0.1)  # of what comes to a log, there is no event for others


def test_stop_asks_the_command_to_end_and_its_last_words_and_status_are_kept() -> None:
    with detached("polite", "sh", "-c", WAITS, options=("--stop-signal", "INT")) as entry:
        log_says("polite", "up\n")
        kill(entry.keeper, signal.SIGSTOP)
        assert f"kill -CONT {entry.keeper.pid}" in said("ps") if entry.keeper else False
        for words in (("exec", "polite", "--", "true"), ("stop", "polite")):
            refused = said(*words, status=125)
            assert "was stopped by a signal" in refused
            assert "kill -CONT" in refused
            assert "gavotte stop --force polite" in refused
        kill(entry.keeper, signal.SIGCONT)
        began = time.monotonic()
        said("stop", "--time", "1000", "polite")
        assert time.monotonic() - began < 100
        assert said("logs", "polite") == "up\nbye\n"
        assert register_says("polite", "stopped")["status"] == 3
        assert "stopped (3)" in said("ps")
        assert "with status 3" in said("exec", "polite", "--", "true", status=125)
    assert nothing_is_left("polite")


def test_one_whose_directory_was_deleted_ends_and_so_does_its_machine_when_its_keeper_has_gone_before() -> None:
    with detached("erased", "sleep", "1000") as entry:
        shutil.rmtree(entry.path, ignore_errors=True)  # its keeper begins to clean up meanwhile
        assert nothing_is_left("erased")
        with detached("erased") as again:  # the name is free
            kill(again.keeper)
            shutil.rmtree(again.path)
            (found,) = [one for one in json.loads(gavotte("check", "--json").stdout) if str(again.path) in one["text"]]
            assert again.qemu is not None
            assert f"kill {again.qemu.pid}" in found["remedy"]
            assert again.qemu.lives
            assert sweep() == ["erased"]
            assert nothing_is_left("erased")


def test_one_whose_keeper_stands_still_is_ended_by_force() -> None:
    with detached("halted", "sleep", "1000") as entry:
        kill(entry.keeper, signal.SIGSTOP)
        said("stop", "--force", "halted")
        assert register_says("halted", "stopped")["why"] == ""
        for process in (entry.keeper, entry.qemu):
            assert process is not None
            assert not process.lives
    assert nothing_is_left("halted")


def test_a_detached_command_has_no_terminal_and_no_timeout() -> None:
    for word in ("-t", "-i"):
        assert "gavotte exec takes it" in said("run", "-d", word, "--", "true", status=125)


def test_input_that_a_detached_command_does_not_get_is_told_of() -> None:
    try:
        ended = gavotte(*RUN, "--name", "deaf", "--", "cat", input=b"hi\n")
        assert (ended.returncode, ended.stdout) == (0, b"deaf\n")
        assert b"stdin is empty" in ended.stderr
        assert b"gavotte exec deaf" in ended.stderr
    finally:
        said("rm", "-f", "deaf")
