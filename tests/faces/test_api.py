"""The synchronous API as programs use it: commands, streams, threads, forks, interrupts."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import gavotte
from tests.support.command_line import PATIENCE, wait_for_qemu
from tests.support.orphans import no_orphans

pytestmark = pytest.mark.vm

Box = gavotte.Sandbox


# commands


def test_a_result_has_status_and_both_streams(box: Box) -> None:
    result = box.run(["sh", "-c", "cat; echo err >&2; exit 3"], input=bytes(range(256)), timeout=30)
    assert (result.returncode, result.stdout, result.stderr) == (3, bytes(range(256)), b"err\n")
    with pytest.raises(gavotte.CommandFailed, match="'sh' ended with status 3: err") as caught:
        result.check()
    assert (caught.value.returncode, caught.value.stdout) == (3, bytes(range(256)))


def test_text_goes_in_and_comes_out(box: Box) -> None:
    assert box.run(["cat"], input="grüße\r\n", text=True, check=True).stdout == "grüße\r\n"
    assert box.run(["pwd"], cwd=Path("/tmp"), text=True) == gavotte.Result(["pwd"], 0, "/tmp\n", "")
    with pytest.raises(gavotte.CommandFailed, match="status 3: no") as caught:
        box.run(["sh", "-c", "echo yes; echo no >&2; exit 3"], text=True, check=True)
    assert (caught.value.returncode, caught.value.stdout, caught.value.stderr) == (3, b"yes\n", b"no\n")
    with pytest.raises(gavotte.GuestError, match="wrote what is no UTF-8: byte 0xff at 1") as odd:
        box.run(["printf", r"a\377"], text=True)
    assert "text" in odd.value.hint


def test_a_command_without_words_is_refused_and_the_sandbox_goes_on(box: Box) -> None:
    with pytest.raises(gavotte.UsageError, match=r"^argv: there is no command"):
        box.run([])
    assert box.run(("echo", "on")).stdout == b"on\n"


def test_a_signal_is_a_negative_returncode_as_in_subprocess(box: Box) -> None:
    result = box.run(["sh", "-c", "kill -TERM $$"])
    assert result.returncode == -signal.SIGTERM
    with pytest.raises(gavotte.CommandFailed, match="died of signal 15"):
        result.check()


def test_a_timeout_keeps_what_was_written(box: Box) -> None:
    with pytest.raises(gavotte.CommandTimeout) as caught:
        box.run(["sh", "-c", "echo out; echo err >&2; sleep 1000"], timeout=5)
    assert (caught.value.stdout, caught.value.stderr) == (b"out\n", b"err\n")
    assert caught.value.exit_code == 124


@pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), ("/etc/passwd", 126), ("/etc", 126)])
def test_what_cannot_be_started(box: Box, program: str, status: int) -> None:
    with pytest.raises(gavotte.CommandNotStarted, match=program) as caught:
        box.run([program])
    assert caught.value.exit_code == status


def test_more_output_than_was_allowed_ends_the_command(box: Box) -> None:
    with pytest.raises(gavotte.GuestError, match="more than 1000000 bytes"):
        box.run(["yes"], max_output=1_000_000, timeout=60)


def test_input_that_nobody_wants_is_no_error(box: Box) -> None:
    assert box.run(["head", "-c", "3"], input=b"x" * 4_000_000, timeout=60).stdout == b"xxx"


# streams


def test_a_conversation_with_a_shell(box: Box) -> None:
    with box.spawn(["sh"], stdin=True) as shell:
        assert shell.stdin is not None
        for number in (1, 2, 3):
            shell.stdin.write(b"echo $((%d * 7))\n" % number)
            assert shell.stdout.readline() == b"%d\n" % (number * 7)
        assert shell.returncode is None
        shell.stdin.write(b"echo bye >&2; exit 4\n")
        assert shell.wait(30) == 4
        assert (shell.stdout.read(), shell.stderr.read()) == (b"", b"bye\n")


def test_lines_come_one_by_one_and_the_last_needs_no_newline(box: Box) -> None:
    with box.spawn(["printf", "one\\n\\ntwo\\nlast"]) as process:
        assert list(process.stdout) == [b"one\n", b"\n", b"two\n", b"last"]


def test_a_closed_output_is_sigpipe(box: Box) -> None:
    with box.spawn(["yes"]) as process:
        assert process.stdout.read(2)
        process.stdout.close()
        assert process.wait(30) == -signal.SIGPIPE


def test_signals_reach_the_command_and_leaving_the_block_ends_it(box: Box) -> None:
    with box.spawn(["sh", "-c", 'trap "echo HUP" HUP; echo ready; while :; do sleep 0.2; done']) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == b"HUP\n"
        with pytest.raises(gavotte.CommandTimeout, match="still runs"):
            process.wait(0.2)
    assert process.returncode == -signal.SIGKILL
    process.kill()  # nothing happens


def test_a_terminal_of_a_size_that_changes(box: Box) -> None:
    with box.spawn(["sh", "-c", "stty size; read x; stty size"], tty=(30, 90)) as process:
        assert process.stdin is not None
        assert process.stdout.readline() == b"30 90\r\n"
        process.resize(31, 91)
        process.stdin.write(b"\n")
        assert b"31 91\r\n" in process.stdout.read()


# many at once


def test_many_commands_at_once_from_many_threads(box: Box) -> None:
    def work(number: int) -> bytes:
        return box.run(["sh", "-c", f"sleep 0.3; cat; echo {number}"], input=b"in ", timeout=60).check().stdout

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(work, range(30))) == [b"in %d\n" % number for number in range(30)]


def test_a_command_that_nobody_reads_holds_up_no_other(box: Box) -> None:
    with box.spawn(["yes"]), box.spawn(["cat"], stdin=True) as other:
        assert other.stdin is not None
        other.stdin.write(b"through\n")
        assert other.stdout.readline() == b"through\n"


def test_two_sandboxes_side_by_side_share_nothing(box: Box) -> None:
    with Box(accel="tcg", memory="256M", cpus=2) as other:
        assert other.name != box.name
        other.run(["touch", "/root/other"]).check()
        assert box.run(["test", "-e", "/root/other"]).returncode == 1
        assert other.run(["nproc"]).stdout == b"2\n"
        assert other.root_size < box.root_size
        assert {one.run(["hostname"]).stdout.decode().strip() for one in (box, other)} == {box.name, other.name}
    assert box.run(["echo", "alone"]).stdout == b"alone\n"


# programs of their own


@contextmanager
def program(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that uses gavotte, as a process. What it leaves running is a failure."""
    # Python 3.12 and later warn of any fork() in a process with threads, which ours is
    line = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", code]
    with (
        no_orphans(),
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


FORKS = """
import multiprocessing, os, signal, sys, gavotte

box = gavotte.Sandbox(accel="tcg")
box.start()
running = box.spawn(["cat"], stdin=True)

def uses():
    yield lambda: box.run(["true"])
    yield lambda: box.spawn(["true"])
    yield box.start
    yield box.close
    yield lambda: running.stdin.write(b"from the child")
    yield running.stdin.close
    yield lambda: running.stdout.read(1)
    yield running.stdout.readline
    yield running.stderr.close
    yield running.wait
    yield running.kill
    yield running.close

def use_all():
    signal.alarm(20)  # what hangs is ended
    for number, use in enumerate(uses()):
        try:
            use()
            print("use", number, "was let through")
        except gavotte.ForeignProcess:
            pass

def child(end):
    pid = os.fork()
    if pid == 0:
        use_all()
        sys.stdout.flush()
        end()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

print(child(lambda: os._exit(3)), child(lambda: sys.exit(4)), flush=True)
worker = multiprocessing.get_context("fork").Process(target=use_all)
worker.start()
worker.join()
print(worker.exitcode, flush=True)
running.stdin.write(b"alive\\n")
print(running.stdout.readline(), box.run(["echo", "too"]).stdout)
# it isn't closed: that is done at exit
"""


def test_a_forked_child_is_refused_at_once_and_its_exit_ends_nothing() -> None:
    with program(FORKS) as process:
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, "")
        assert out.splitlines() == ["3 4", "0", r"b'alive\n' b'too\n'"]


INTERRUPTED = """
import os, signal, threading, gavotte

with gavotte.Sandbox(accel="tcg") as box:
    def interrupt():
        box.run(["sh", "-c", "until test -s /pid; do sleep 0.1; done"], timeout=60)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        box.run(["sh", "-c", "echo $$ > /pid; sleep 1000"])
    except KeyboardInterrupt:
        print("interrupted")
    thread.join()
    print(box.run(["sh", "-c", "kill -0 $(cat /pid) 2>&- && echo runs || echo ended"]).stdout)
"""


def test_ctrl_c_ends_the_command_that_is_waited_for_and_not_the_sandbox() -> None:
    with program(INTERRUPTED) as process:
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, "interrupted\nb'ended\\n'\n", "")


def test_ctrl_c_during_the_start_leaves_nothing() -> None:
    with program("import gavotte\nwith gavotte.Sandbox(accel='tcg'): print('too late')") as process:
        wait_for_qemu(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (-signal.SIGINT, "")
        assert err.rstrip().endswith("KeyboardInterrupt")
