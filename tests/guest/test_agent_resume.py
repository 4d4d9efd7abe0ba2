"""A manager that takes the line over from one that has gone: nothing of what can be known is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gavotte.guest import agent
from gavotte.guest.agent.resume import TokenCutter
from tests.support.agents import SETUP, AgentProcess, Line, Refused, exec_fields, skip_unless_possible

TOKEN = bytes(range(0x40, 0x50))
FIRST = agent.FIRST_RESUMER
PROBE = agent.encode_json(agent.REQUEST, 7, {"op": "no such operation"})


class Managed:
    """An agent whose managers come and go. The line itself stays: a socket pair's end would end the agent."""

    def __init__(self, process: AgentProcess) -> None:
        self.process = process
        self.resumed = 0

    def take(self, count: int) -> None:
        """Read so many bytes off the line, as a manager may have that is gone now."""
        while count:
            count -= len(self.process.sock.recv(count))

    def take_over(self, *, token: bytes = TOKEN, **fields: Any) -> tuple[Line, dict[str, Any]]:
        """A new manager's line, and what it was told. What an earlier one left on the line is read away."""
        self.resumed += 1
        number = FIRST + self.resumed
        line = Line.taken_over(self.process, token, number, {"op": "resume", **fields})
        listing = line.answer(number)
        line._last = listing["last"]
        return line, listing


@pytest.fixture(scope="module")
def _managed() -> Iterator[tuple[Managed, Line]]:
    skip_unless_possible()
    with AgentProcess() as process:
        line = Line(process)
        line.take(0, agent.HELLO)
        line.ask("setup", time=time.time(), token=TOKEN.hex(), **SETUP)
        yield Managed(process), line


@pytest.fixture
def managed(_managed: tuple[Managed, Line]) -> Managed:
    return _managed[0]


def commands(listing: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {one["channel"]: one for one in listing["commands"]}


# --- the token in the stream


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(1, 20), max_size=12), st.booleans())
def test_a_token_is_found_however_the_stream_is_split(before: bytes, after: bytes, cuts: list[int], idle: bool) -> None:
    stream, pieces, cutter = before + TOKEN + after, [b""], TokenCutter(TOKEN)
    for size in [*cuts, len(stream)]:
        head, stream = stream[:size], stream[size:]
        first, *rest = cutter.cut(head)
        pieces[-1] += first
        pieces += rest
        if idle:
            pieces[-1] += cutter.let_go()
    pieces[-1] += cutter.let_go()
    assert pieces[-1] == after
    assert len(pieces) == 2
    assert pieces[0] == before or (idle and pieces[0].startswith(before) and TOKEN.startswith(pieces[0][len(before) :]))


@given(st.lists(st.binary(max_size=6), max_size=6))
def test_what_only_begins_like_a_token_is_given_on_and_once(pieces: list[bytes]) -> None:
    cutter, given, stream = TokenCutter(TOKEN), b"", b""
    for piece in pieces:
        stream += piece + TOKEN[: len(piece) * 2]
        (first,) = cutter.cut(piece + TOKEN[: len(piece) * 2])
        given += first + cutter.let_go()
    assert given == stream


def test_two_tokens_at_once_have_nothing_between_them() -> None:
    assert TokenCutter(TOKEN).cut(b"a" + TOKEN + TOKEN + b"b") == [b"a", b"", b"b"]


# --- the agent


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(PROBE)))
def test_a_request_cut_off_at_any_byte_spoils_nothing(managed: Managed, cut: int) -> None:
    managed.process.sock.sendall(PROBE[:cut])
    line, listing = managed.take_over()
    assert listing["commands"] == []
    assert line.run("echo", "fine").stdout == b"fine\n"


def test_a_half_frame_of_the_largest_payload_is_dropped(managed: Managed) -> None:
    managed.process.sock.sendall(agent.HEADER.pack(agent.MAGIC, agent.DATA, 0, 1, agent.MAX_PAYLOAD) + bytes(1000))
    line, _ = managed.take_over()
    assert line.run("echo", "fine").stdout == b"fine\n"


def test_a_command_goes_on_under_the_new_manager(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.spawn("sh", "-c", "read a; echo got $a; read b; echo got $b", stdin=True)
    first.write(channel, b"one\n")
    first.read_until(channel, b"got one")
    second, listing = managed.take_over()
    told = commands(listing)[channel]
    assert told["argv"][:2] == ["sh", "-c"]
    assert (told["stdin"], told["stdout"], told["stderr"], told["tty"]) == (agent.WINDOW, True, True, False)
    assert told["pid"] > 0
    second.write(channel, b"two\n")
    outcome = second.finish(channel)
    assert (outcome.stdout, outcome.status) == (b"got two\n", 0)


def test_a_terminal_goes_on_under_the_new_manager(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.spawn("sh", "-c", "read a; stty size", stdin=True, tty=[30, 90])
    second, listing = managed.take_over()
    told = commands(listing)[channel]
    assert (told["tty"], told["stdout"], told["stderr"]) == (True, True, False)
    second.ask("window", target=channel, size=[31, 91])
    second.write(channel, b"x\n")
    assert b"31 91" in second.finish(channel).stdout


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 40))
def test_output_cut_off_at_any_byte_is_resumed_at_a_frame(managed: Managed, count: int) -> None:
    first, _ = managed.take_over()
    channel = first.request("exec", **exec_fields("sh", "-c", "echo 123456789; exit 5"))
    managed.take(count)
    second, listing = managed.take_over()
    known = commands(listing)
    if channel in known and known[channel]["pid"] == 0:
        assert second.answer(channel)["pid"] > 0
    if channel in known:
        outcome = second.finish(channel)
        assert outcome.stdout in (b"", b"123456789\n")
        assert outcome.status == 5
    else:
        assert [one["status"] for one in listing["exits"] if one["channel"] == channel] == [5]


def test_output_that_waited_is_given_on_whole_and_in_order(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.spawn("sh", "-c", "seq 500000; exit 3")
    managed.take(100_001)  # in the middle of a frame
    second, listing = managed.take_over()
    assert commands(listing)[channel]["stdout"] is True
    outcome = second.finish(channel)
    assert outcome.status == 3
    whole = "".join(f"{n}\n" for n in range(1, 500001)).encode()
    assert whole.endswith(outcome.stdout)  # what the line had taken before is lost, and nothing behind it
    assert len(whole) - len(outcome.stdout) < 2 * agent.WINDOW


COUNTED = "seq 300000; seq -w 99999 >&2; exit 3"
WRITTEN = {
    agent.STDOUT: "".join(f"{n}\n" for n in range(1, 300001)).encode(),
    agent.STDERR: "".join(f"{n:05}\n" for n in range(1, 100000)).encode(),
}


def test_retained_output_comes_again_from_where_a_new_manager_has_it_and_so_does_the_end(managed: Managed) -> None:
    """Each manager loses the last frames that it had taken, and the first that sees the end loses that."""
    line, _ = managed.take_over()
    channel = line.spawn("sh", "-c", COUNTED, retain=True)
    got, exits = dict.fromkeys(WRITTEN, b""), 0
    while exits < 2:
        frames = [line.take(channel)]
        while len(frames) < 12 and frames[-1].kind != agent.EXIT:
            frames.append(line.take(channel))
        exits += frames[-1].kind == agent.EXIT
        losing = 3 if exits < 2 else 0
        for frame in frames[: len(frames) - losing]:
            if frame.kind == agent.DATA:
                got[frame.stream] += frame.payload
                line.grant(channel, len(frame.payload), frame.stream)
        if exits < 2:
            line, listing = managed.take_over(stored={str(channel): [len(data) for data in got.values()]})
            assert commands(listing)[channel]["at"] == [len(data) for data in got.values()]
    assert json.loads(frames[-1].payload) == {"status": 3}
    assert got == WRITTEN


def test_what_is_retained_is_bounded_and_where_it_begins_is_told(managed: Managed) -> None:
    line, _ = managed.take_over()
    channel = line.spawn("sh", "-c", "yes | head -c 3000000", retain=True)
    assert line.finish(channel).status == 0
    line, listing = managed.take_over(stored={str(channel): [5, 0]})
    at, _ = commands(listing)[channel]["at"]
    assert 3_000_000 - agent.WINDOW <= at <= 3_000_000
    for _ in range(10):
        line.finish(line.spawn("true", retain=True))
    line, listing = managed.take_over()
    assert len([one for one in listing["commands"] if "at" in one]) <= 4


@pytest.mark.parametrize("stored", [[1], {"1": 5}, {"x": [0, 0]}, {"1": [0]}, {"1": ["0", None]}])
def test_a_manager_that_says_nonsense_of_what_it_has_is_refused(managed: Managed, stored: Any) -> None:
    line, _ = managed.take_over()
    with pytest.raises(Refused, match="malformed"):
        line.ask("resume", stored=stored)
    other, _ = managed.take_over(stored={"1": [-5, 1 << 80]})
    assert other.run("echo", "fine").stdout == b"fine\n"


def test_a_new_manager_gets_a_full_window_of_output(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.spawn("sh", "-c", "yes | head -c 3000000")
    _settled(first, channel, agent.WINDOW)
    for _ in range(3):
        line, listing = managed.take_over()
        assert commands(listing)[channel]["stdout"] is True
    got = line.finish(channel)
    assert got.status == 0


def _settled(line: Line, channel: int, wanted: int) -> None:
    got = 0
    while got < wanted:
        got += len(line.take(channel, agent.DATA).payload)


def test_credit_for_stdin_is_told_as_what_still_fits(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.spawn("sh", "-c", "read a < /dev/null; sleep 600; cat", stdin=True)
    first.write(channel, bytes(500_000))
    first.settle()
    second, listing = managed.take_over()
    credit = commands(listing)[channel]["stdin"]
    assert agent.WINDOW - 500_000 <= credit <= agent.WINDOW - 500_000 + (1 << 16)  # the pipe has taken some
    second.write(channel, bytes(credit))
    second.settle()
    second.ask("signal", target=channel, signal=9)
    assert second.finish(channel).exit == {"signal": 9}
    assert not [f for f in second.drop_pending() if f.kind == agent.ERROR]


def test_a_closed_stdin_takes_no_more(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.spawn("sh", "-c", "exec sleep 600", stdin=True)
    first.send(agent.EOF, channel)
    first.settle()
    second, listing = managed.take_over()
    assert commands(listing)[channel]["stdin"] is None
    second.ask("signal", target=channel, signal=9)
    second.finish(channel)


def test_an_exit_that_the_last_manager_took_is_listed(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.spawn("sh", "-c", "exit 42")
    first.finish(channel)
    _, listing = managed.take_over()
    assert listing["exits"][-1]["channel"] == channel
    assert listing["exits"][-1]["status"] == 42
    assert listing["exits"][-1]["argv"] == ["sh", "-c", "exit 42"]


def test_the_exits_that_are_kept_are_bounded_and_so_are_their_words(managed: Managed) -> None:
    line, _ = managed.take_over()
    for _ in range(70):
        line.run("true", "x" * 100_000)
    _, listing = managed.take_over()
    assert len(listing["exits"]) == 64
    assert all(sum(map(len, one["argv"])) <= 4096 for one in listing["exits"])


def test_two_managers_that_come_at_once_both_get_their_answer_and_the_last_one_all(managed: Managed) -> None:
    ask = [TOKEN + agent.encode_json(agent.REQUEST, FIRST + 999 + n, {"op": "resume"}) for n in (1, 2)]
    managed.process.sock.sendall(ask[0] + ask[1])
    line, _ = managed.take_over()
    assert line.run("echo", "fine").stdout == b"fine\n"
    assert line.drop_pending() == []


def test_another_token_is_bytes_that_are_no_frame(managed: Managed) -> None:
    line, _ = managed.take_over()
    line.send_bytes(bytes(16))
    assert json.loads(line.take(0, agent.ERROR).payload)["code"] == "malformed"
    assert line.run("echo", "fine").stdout == b"fine\n"


def test_numbers_go_on_behind_the_highest_that_was_used(managed: Managed) -> None:
    first, _ = managed.take_over()
    channel = first.request("no such operation")
    first.take(channel, agent.ERROR)
    _, listing = managed.take_over()
    assert listing["last"] == channel


@pytest.mark.parametrize("token", ["00", "zz" * 16, "00" * 17, 5])
def test_a_token_of_another_shape_is_refused(token: object) -> None:
    skip_unless_possible()
    with AgentProcess() as process:
        line = Line(process)
        line.take(0, agent.HELLO)
        with pytest.raises(Refused, match=r"malformed|sense"):
            line.ask("setup", time=time.time(), token=token, **SETUP)
        with pytest.raises(Refused, match="without a token"):
            line.ask("resume")
