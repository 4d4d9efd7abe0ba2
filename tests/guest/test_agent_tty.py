"""Commands with a terminal of their own."""

from __future__ import annotations

import signal

import pytest

from gavotte.guest import agent
from tests.support.agents import PYTHON, Line, Outcome, Refused


def spawn(line: Line, *argv: str, size: tuple[int, int] = (24, 80)) -> int:
    return line.spawn(*argv, tty=list(size), stdin=True)


def run(line: Line, *argv: str, size: tuple[int, int] = (24, 80)) -> Outcome:
    return line.finish(spawn(line, *argv, size=size))


def test_all_three_streams_are_one_terminal(line: Line) -> None:
    said = run(line, "sh", "-c", "tty <&0; tty <&1; tty <&2; test -t 0 -a -t 1 -a -t 2 && echo all >&2").stdout
    first, second, third, last = said.split()
    assert first == second == third
    assert first.startswith(b"/dev/pts/")
    assert last == b"all"


def test_the_terminal_is_the_controlling_one(line: Line) -> None:
    assert run(line, "sh", "-c", "echo through > /dev/tty; ps -o tpgid= -p $$").stdout.split()[0] == b"through"


def test_the_terminal_has_the_size_that_was_asked_for(line: Line) -> None:
    assert run(line, "stty", "size", size=(33, 101)).stdout == b"33 101\r\n"


def test_a_terminal_brings_term(line: Line) -> None:
    assert run(line, "sh", "-c", "echo $TERM").stdout == b"xterm-256color\r\n"


def test_a_resize_is_seen_and_gives_sigwinch(line: Line) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"
    channel = spawn(line, "sh", "-c", script)
    line.read_until(channel, b"ready")
    line.ask("window", target=channel, size=[50, 132])
    outcome = line.finish(channel)
    assert outcome.stdout.split() == [b"50", b"132"]
    assert outcome.status == 0


def test_ctrl_c_as_a_byte_interrupts_the_foreground(line: Line) -> None:
    channel = spawn(line, "sh", "-c", "echo ready; exec sleep 1000")
    line.read_until(channel, b"ready")
    line.write(channel, b"\x03")
    assert line.finish(channel).exit == {"signal": signal.SIGINT}


def test_what_is_typed_is_echoed_and_read(line: Line) -> None:
    channel = spawn(line, "sh", "-c", "read word; echo got $word")
    line.write(channel, b"hello\n")
    assert line.finish(channel).stdout == b"hello\r\ngot hello\r\n"


@pytest.mark.parametrize("typed", [b"", b"whole line\n", b"no newline"], ids=["nothing", "a line", "half a line"])
def test_the_end_of_stdin_is_the_end_of_what_a_terminal_gives(line: Line, typed: bytes) -> None:
    channel = spawn(line, "sh", "-c", "stty -echo; echo ready; cat")
    line.read_until(channel, b"ready\r\n")
    line.write(channel, typed)
    line.send(agent.EOF, channel)
    outcome = line.finish(channel)
    assert outcome.stdout.replace(b"\r\n", b"\n") == typed
    assert outcome.status == 0


def ended(line: Line, *argv: str, typed: bytes = b"") -> Outcome:
    """A command whose terminal gets that and then the end of its input."""
    channel = spawn(line, *argv)
    line.write(channel, typed)
    line.send(agent.EOF, channel)
    return line.finish(channel)


@pytest.mark.parametrize("argv", [["cat"], ["sh", "-c", "cat; cat; cat"], ["sh", "-c", "sleep 0.2; cat"]], ids=str)
def test_a_command_that_reads_to_the_end_of_a_terminal_without_input_ends_well(line: Line, argv: list[str]) -> None:
    outcome = ended(line, *argv)
    assert (outcome.stdout, outcome.exit) == (b"", {"status": 0})


def test_a_program_that_reads_on_behind_the_end_finds_it_again(line: Line) -> None:
    code = "import os; print([os.read(0, 9) for _ in range(5)])"
    assert ended(line, PYTHON, "-Sc", code, typed=b"a\nb").stdout.endswith(b"[b'a\\n', b'b', b'', b'', b'']\r\n")


@pytest.mark.parametrize("typed", [b"", b"echo hi-$((1+1))\n", b"cat\n", b"cat; cat\ncat\n"], ids=str)
def test_a_shell_and_what_it_runs_come_to_the_end_of_their_input(line: Line, typed: bytes) -> None:
    outcome = ended(line, "bash", "--norc", typed=typed)
    assert outcome.exit == {"status": 0}
    assert b"\x04" not in outcome.stdout
    assert (b"hi-2" in outcome.stdout) is (b"echo" in typed)


def test_a_shell_that_ignores_the_end_gives_in_by_and_by(line: Line) -> None:
    outcome = ended(line, "bash", "--norc", "-c", "IGNOREEOF=9 exec -a sh bash --norc -i")
    assert "status" in (outcome.exit or {})


def test_the_terminals_own_character_for_the_end_is_taken(line: Line) -> None:
    channel = spawn(line, "sh", "-c", "stty -echo eof x; echo ready; cat; echo done")
    line.read_until(channel, b"ready\r\n")
    line.write(channel, b"one\n")
    line.send(agent.EOF, channel)
    assert line.finish(channel).stdout == b"one\r\ndone\r\n"


@pytest.mark.parametrize("mode", ["raw -echo", "eof undef"])
def test_what_cannot_be_told_the_end_is_hung_up(line: Line, mode: str) -> None:
    channel = spawn(
        line, "sh", "-c", f"stty {mode}; echo ready; exec {PYTHON} -Sc 'import os\nwhile True: os.read(0, 9)'"
    )
    line.read_until(channel, b"ready")
    line.send(agent.EOF, channel)
    assert line.finish(channel).exit == {"signal": signal.SIGHUP}


def test_a_command_that_does_not_read_runs_on_behind_the_end_of_its_input(line: Line) -> None:
    outcome = ended(line, "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.3; echo $i")
    assert (outcome.stdout, outcome.exit) == (b"20000\r\n", {"status": 0})


def test_a_terminal_whose_output_nobody_reads_any_more_is_hung_up(line: Line) -> None:
    channel = spawn(line, "yes")
    line.take(channel, agent.DATA)
    line.send(agent.CLOSE, channel, stream=agent.STDOUT)
    assert line.finish(channel).exit == {"signal": signal.SIGHUP}


def test_output_without_end_of_line_conversion_is_byte_exact(line: Line) -> None:
    outcome = run(line, "sh", "-c", "stty raw; yes 0123456789 | head -c 300000")
    assert outcome.stdout == (b"0123456789\n" * 30000)[:300000]


def test_the_last_output_before_the_exit_is_never_lost(line: Line) -> None:
    for number in range(100):
        outcome = run(line, "sh", "-c", f"printf {number}.; printf end")
        assert outcome.stdout == b"%d.end" % number


def test_output_of_a_command_that_dies_at_once_is_complete(line: Line) -> None:
    code = "import os, signal; os.write(1, b'x' * 3000); os.kill(os.getpid(), signal.SIGKILL)"
    for _ in range(10):
        outcome = run(line, PYTHON, "-Sc", code)
        assert outcome.stdout == b"x" * 3000
        assert outcome.exit == {"signal": signal.SIGKILL}


def test_a_background_process_that_keeps_the_terminal_does_not_delay_the_exit(line: Line) -> None:
    outcome = run(line, "sh", "-c", "setsid sleep 1000 & echo $!")
    assert outcome.status == 0
    line.run("kill", outcome.stdout.decode().strip())


def test_a_terminal_that_nobody_reads_is_given_no_more_than_the_window(line: Line) -> None:
    channel = spawn(line, "yes")
    received = 0
    while received < agent.WINDOW:
        received += len(line.take(channel, agent.DATA).payload)
    line.settle()
    assert received == agent.WINDOW
    assert not [frame for frame in line.pending if (frame.kind, frame.channel) == (agent.DATA, channel)]
    line.ask("signal", target=channel, signal=9)
    line.grant(channel, 1 << 24, agent.STDOUT)
    assert line.finish(channel).exit == {"signal": 9}


def test_input_that_nobody_reads_is_held_within_the_window(line: Line) -> None:
    channel = spawn(line, "sh", "-c", "stty raw -echo; echo ready; sleep 1000")
    line.read_until(channel, b"ready")
    line.write(channel, bytes(agent.WINDOW))
    line.settle()
    assert not [frame for frame in line.pending if (frame.kind, frame.channel) == (agent.ERROR, channel)]
    line.ask("signal", target=channel, signal=9)
    assert line.finish(channel).exit == {"signal": 9}


def test_a_terminal_for_a_program_that_is_not_found_is_closed_again(line: Line) -> None:
    for _ in range(20):
        with pytest.raises(Refused, match="not found"):
            spawn(line, "no-such-program")


def test_resizing_what_has_no_terminal_changes_nothing(line: Line) -> None:
    channel = line.spawn("cat", stdin=True)
    line.request("window", target=channel, size=[5, 5])
    line.request("window", target=987654, size=[5, 5])
    line.settle()
    line.send(agent.EOF, channel)
    assert line.finish(channel).status == 0


def test_a_terminal_that_a_process_in_the_background_holds_ends_with_its_command(line: Line) -> None:
    channel = line.spawn("sh", "-c", "trap '' HUP; stty raw; sleep 60 & printf done", tty=[24, 80])
    outcome = line.finish(channel)
    assert (outcome.stdout, outcome.status) == (b"done", 0)
    line.run("pkill", "sleep")


def test_what_a_terminal_still_holds_at_the_end_waits_for_credit(line: Line) -> None:
    size = agent.WINDOW + 3000
    channel = line.spawn("sh", "-c", f"stty raw; head -c {size} /dev/zero", tty=[24, 80])
    line.ask("signal", target=channel, signal=0)
    outcome = line.finish(channel)
    assert (len(outcome.stdout), outcome.status) == (size, 0)
