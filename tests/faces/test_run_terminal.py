"""`gavotte run --tty` on a terminal: what the command sees of it, and the terminal afterwards."""

from __future__ import annotations

import signal

import pytest

from tests.support.terminals import on_terminal

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

TTY = ("run", "--accel", "tcg", "--tty", "--")


def test_a_command_gets_a_terminal_of_the_same_size_with_its_keys_and_the_mode_is_restored() -> None:
    script = """
        test -t 0 && test -t 1 && test -t 2 && tty
        stty size
        size() { echo "size: $(stty size)"; }
        trap size WINCH
        trap "echo interrupted; exit 5" INT
        read line
        echo "read: $line"
        while :; do sleep 0.1; done
    """
    with on_terminal(*TTY, "bash", "-c", script, rows=33, columns=101) as (terminal, process):
        assert b"/dev/pts/0\r\n" in terminal.read_until(b"33 101\r\n")
        assert terminal.is_raw
        terminal.type(b"a line\r")  # the guest's own terminal echoes, and makes a newline of it
        assert b"a line\r\nread: a line\r\n" in terminal.read_until(b"read: a line\r\n", 20)
        terminal.resize(44, 132)
        terminal.read_until(b"size: 44 132\r\n", 20)
        terminal.type(b"\x03")
        terminal.read_until(b"interrupted\r\n", 20)
        assert process.wait(20) == 5
        assert terminal.is_as_at_first


def test_what_was_typed_before_the_shell_is_there_is_for_the_shell() -> None:
    with on_terminal(*TTY, "bash", "--norc") as (terminal, process):
        terminal.type(b"echo typed-$((1+1))\nexit 3\n")
        terminal.read_until(b"typed-2\r\n")
        assert process.wait(20) == 3
        assert terminal.is_as_at_first


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT], ids=lambda number: number.name)
def test_the_mode_is_restored_after_a_signal(number: signal.Signals) -> None:
    with on_terminal(*TTY, "sh", "-c", "echo ready; exec sleep 1000") as (terminal, process):
        terminal.read_until(b"ready\r\n")
        assert terminal.is_raw
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        assert terminal.is_as_at_first


def test_the_mode_is_restored_when_the_machine_dies() -> None:
    with on_terminal(*TTY, "sh", "-c", "echo ready; read x; echo c > /proc/sysrq-trigger; sleep 60") as (
        terminal,
        process,
    ):
        terminal.read_until(b"ready\r\n")
        terminal.type(b"\r")
        said = terminal.read_until(b"next: ", 20)
        assert process.wait(20) == 125
        assert b"crash" in said
        assert terminal.is_as_at_first


def test_the_mode_is_untouched_by_a_command_that_does_not_start() -> None:
    with on_terminal(*TTY, "no-such-program") as (terminal, process):
        terminal.read_until(b"not found")
        assert process.wait(20) == 127
        assert terminal.is_as_at_first


def test_without_tty_the_terminal_is_left_to_the_shell_unless_asked_for() -> None:
    words = ("run", "--accel", "tcg", "--", "sh", "-c", "test -t 1; echo $?; cat; echo end")
    with on_terminal(*words) as (terminal, process):
        terminal.read_until(b"end\r\n")  # `cat` got an empty stdin
        assert process.wait(20) == 0
        assert terminal.is_as_at_first
