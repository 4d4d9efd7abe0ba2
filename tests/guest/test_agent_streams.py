"""A command's three streams over the agent: byte-exact, and never beyond what was granted."""

from __future__ import annotations

import hashlib
import random

import pytest

from gavotte.guest import agent
from tests.support.agents import PYTHON, Line

MEGABYTES = 3 << 20


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


TWO_NOISES = f"""
import os, random, threading
def write(fd, seed):
    rest = memoryview(random.Random(seed).randbytes({MEGABYTES}))
    while rest:
        rest = rest[os.write(fd, rest):]
threads = [threading.Thread(target=write, args=(1, 1)), threading.Thread(target=write, args=(2, 2))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


# output


def test_stdout_and_stderr_are_kept_apart(line: Line) -> None:
    outcome = line.run("sh", "-c", "printf out; printf err >&2; printf put; printf or >&2")
    assert (outcome.stdout, outcome.stderr) == (b"output", b"error")


def test_megabytes_of_both_outputs_at_once_are_exact(line: Line) -> None:
    outcome = line.run(PYTHON, "-Sc", TWO_NOISES)
    assert hashlib.sha256(outcome.stdout).digest() == hashlib.sha256(noise(MEGABYTES, 1)).digest()
    assert hashlib.sha256(outcome.stderr).digest() == hashlib.sha256(noise(MEGABYTES, 2)).digest()


def test_a_megabyte_in_small_grants_is_exact(line: Line) -> None:
    outcome = line.run("sh", "-c", "yes 0123456789 | head -c 1000000", window=7000)
    assert outcome.stdout == (b"0123456789\n" * 90910)[:1000000]


def test_no_byte_comes_beyond_what_was_granted(line: Line) -> None:
    channel = line.spawn("sh", "-c", "yes | head -c 100000; yes n | head -c 100000 >&2", window=10)
    granted = {agent.STDOUT: 10, agent.STDERR: 10}
    received = {agent.STDOUT: 0, agent.STDERR: 0}
    steps = random.Random(3)
    while True:
        frame = line.take(channel)
        if frame.kind == agent.EXIT:
            break
        received[frame.stream] += len(frame.payload)
        assert received[frame.stream] <= granted[frame.stream]
        if frame.kind == agent.DATA and received[frame.stream] == granted[frame.stream]:
            line.settle()
            assert not [f for f in line.pending if (f.kind, f.channel, f.stream) == (agent.DATA, channel, frame.stream)]
            step = steps.choice([1, 100, 5000, 70000])
            granted[frame.stream] += step
            line.grant(channel, step, frame.stream)
    assert received == {agent.STDOUT: 100000, agent.STDERR: 100000}


def test_with_no_credit_nothing_comes_and_the_exit_waits_for_what_was_written(line: Line) -> None:
    channel = line.spawn("echo", "hello", window=0)
    line.settle()
    assert not [frame for frame in line.pending if frame.kind in (agent.DATA, agent.EXIT)]
    line.grant(channel, 100, agent.STDOUT)
    line.grant(channel, 100, agent.STDERR)
    assert line.finish(channel).stdout == b"hello\n"


def test_no_piece_of_output_is_larger_than_a_chunk(line: Line) -> None:
    channel = line.spawn("head", "-c", "1000000", "/dev/zero", window=1 << 30)
    total = 0
    while (frame := line.take(channel)).kind != agent.EXIT:
        assert len(frame.payload) <= agent.CHUNK
        total += len(frame.payload)
    assert total == 1000000


def test_what_was_written_before_a_kill_is_delivered(line: Line) -> None:
    assert line.run("sh", "-c", "head -c 60000 /dev/zero; kill -9 $$", window=100).stdout == bytes(60000)


def test_output_that_a_command_closes_early_ends_early(line: Line) -> None:
    channel = line.spawn("sh", "-c", "exec >&-; read x; exit 5", stdin=True)
    assert line.take(channel, agent.EOF).stream == agent.STDOUT
    line.write(channel, b"\n")
    assert line.finish(channel).status == 5


@pytest.mark.parametrize("stream", [agent.STDOUT, agent.STDERR])
def test_a_command_whose_output_is_closed_dies_of_sigpipe(line: Line, stream: int) -> None:
    channel = line.spawn("sh", "-c", f"exec yes >&{stream}")
    line.take(channel, agent.DATA)
    line.send(agent.CLOSE, channel, stream=stream)
    while (frame := line.take(channel)).kind != agent.EXIT:
        pass
    assert frame.payload == b'{"signal":13}'


def test_a_closed_output_leaves_the_other_as_it_is(line: Line) -> None:
    channel = line.spawn("sh", "-c", "read x; echo still >&2", stdin=True)
    line.send(agent.CLOSE, channel, stream=agent.STDOUT)
    line.write(channel, b"\n")
    assert line.finish(channel).stderr == b"still\n"


def test_both_outputs_closed_before_the_end_still_give_the_exit(line: Line) -> None:
    channel = line.spawn("sh", "-c", "read x; exit 9", stdin=True)
    for stream in (agent.STDOUT, agent.STDERR):
        line.send(agent.CLOSE, channel, stream=stream)
    line.write(channel, b"\n")
    assert line.finish(channel).status == 9


def test_a_host_that_reads_nothing_for_a_while_loses_nothing(line: Line) -> None:
    """The line itself is full here, not only the credit used up."""
    channels = [line.spawn("sh", "-c", "head -c 400000 /dev/zero", window=1 << 20) for _ in range(12)]
    for channel in channels:
        assert line.finish(channel).stdout == bytes(400000)


# stdin


def test_stdin_arrives_and_ends(line: Line) -> None:
    channel = line.spawn("cat", stdin=True)
    line.write(channel, b"abc")
    line.send(agent.EOF, channel)
    outcome = line.finish(channel)
    assert (outcome.stdout, outcome.status) == (b"abc", 0)


def test_an_empty_stdin_ends(line: Line) -> None:
    channel = line.spawn("cat", stdin=True)
    line.send(agent.EOF, channel)
    assert line.finish(channel).status == 0


def send_with_credit(line: Line, channel: int, data: bytes) -> None:
    """Write stdin as a host should: never more under way than the window and what was granted."""
    credit, at = agent.WINDOW, 0
    while at < len(data):
        if not credit:
            credit += int.from_bytes(line.take(channel, agent.CREDIT).payload, "big")
            assert credit <= agent.WINDOW
        piece = data[at : at + min(credit, agent.CHUNK)]
        line.send(agent.DATA, channel, piece, agent.STDIN)
        credit -= len(piece)
        at += len(piece)
    line.send(agent.EOF, channel)


def test_megabytes_of_stdin_with_credit_are_exact(line: Line) -> None:
    channel = line.spawn("sha256sum", stdin=True)
    data = noise(MEGABYTES, 4)
    send_with_credit(line, channel, data)
    assert line.finish(channel).stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_a_command_that_reads_no_stdin_gives_no_credit_for_what_it_left(line: Line) -> None:
    channel = line.spawn("sleep", "1000", stdin=True)
    line.write(channel, bytes(agent.WINDOW))
    line.settle()
    credits = [frame for frame in line.pending if (frame.kind, frame.channel) == (agent.CREDIT, channel)]
    granted = sum(int.from_bytes(frame.payload, "big") for frame in credits)
    assert granted < agent.WINDOW  # the pipe took some
    line.ask("signal", target=channel, signal=9)
    assert line.finish(channel).exit == {"signal": 9}


def test_stdin_beyond_the_credit_is_refused_and_held_nowhere(line: Line) -> None:
    channel = line.spawn("sleep", "1000", stdin=True)
    for _ in range(30):
        line.write(channel, bytes(agent.WINDOW))
    line.settle()
    refusals = [frame for frame in line.pending if (frame.kind, frame.channel) == (agent.ERROR, channel)]
    assert refusals
    assert b'"credit"' in refusals[0].payload
    line.ask("signal", target=channel, signal=9)
    assert line.finish(channel).exit == {"signal": 9}


def test_a_command_that_closes_its_stdin_says_so(line: Line) -> None:
    channel = line.spawn("sh", "-c", "exec <&-; echo closed; sleep 1000", stdin=True)
    line.read_until(channel, b"closed")
    line.write(channel, b"x")
    closed = line.take(channel, agent.CLOSE)
    assert closed.stream == agent.STDIN
    line.write(channel, bytes(agent.WINDOW))  # was under way: dropped, no offence
    line.send(agent.EOF, channel)
    line.settle()
    assert not [frame for frame in line.pending if (frame.kind, frame.channel) == (agent.ERROR, channel)]
    line.ask("signal", target=channel, signal=9)
    line.finish(channel)


def test_stdin_for_a_command_that_is_over_is_dropped(line: Line) -> None:
    channel = line.spawn("true", stdin=True)
    assert line.finish(channel).status == 0
    line.write(channel, b"too late")
    line.send(agent.EOF, channel)
    line.settle()
    assert not line.pending


def test_stdin_for_a_command_that_was_given_none_is_dropped(line: Line) -> None:
    channel = line.spawn("cat")
    line.write(channel, b"not for you")
    assert line.finish(channel).stdout == b""


def test_data_after_the_end_of_stdin_reaches_nobody(line: Line) -> None:
    channel = line.spawn("cat", stdin=True)
    line.write(channel, b"first")
    line.send(agent.EOF, channel)
    line.write(channel, b"second")
    assert line.finish(channel).stdout == b"first"
