"""Requests and frames that make no sense: each is answered or ignored, and the next good one is served."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gavotte.guest import agent
from tests.support.agents import (
    SETUP,
    AgentProcess,
    Line,
    Refused,
    exec_fields,
    skip_unless_possible,
)

WRONG: list[Any] = [
    *[None, True, 0, -1, 1.5, math.inf, -math.inf, math.nan, 2**31, 2**70, -(2**70)],
    *["", "x", "a\0b", "\ud800", "x" * 70000],
    *[[], [0], [None], [-1, -1], [70000, 70000], ["x", "y"], [[]], [1, 2, 3], ["true", 5], ["true", None]],
    *[{}, {"A": 1}, {"A": None}, {"": "x"}, {"A=B": "x"}, {"A": "b\0c"}, {"A": ["b"]}],
]


# requests


@pytest.mark.parametrize("missing", [False, True], ids=["wrong", "missing"])
@pytest.mark.parametrize("name", ["argv", "env", "cwd", "user", "window", "stdin", "tty"])
def test_an_exec_with_a_senseless_field_is_answered(line: Line, name: str, missing: bool) -> None:
    for value in WRONG[:1] if missing else WRONG:
        fields = {**exec_fields("true"), name: value}
        if missing:
            del fields[name]
        channel = line.request("exec", **fields)
        try:
            line.answer(channel)
        except Refused:
            continue
        except AssertionError as error:
            pytest.fail(f"{name}={value!r:.80}: {error}")
        for stream in (agent.STDOUT, agent.STDERR):
            line.send(agent.CLOSE, channel, stream=stream)
        assert "lost" not in line.finish(channel).exit, f"{name}={value!r:.80}"
        assert not [frame for frame in line.pending if frame.kind == agent.NOTICE], f"{name}={value!r:.80}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("argv", "true"),
        ("argv", ["true", 5]),
        ("argv", {"true": 1}),
        ("env", ["A=b"]),
        ("env", {"A": 1}),
        ("env", {"A": None}),
        ("cwd", 5),
        ("cwd", ["/"]),
        ("user", 0),
        ("user", None),
        ("tty", [24]),
        ("tty", ["24", "80"]),
        ("tty", [-1, 80]),
        ("tty", [1 << 20, 80]),
        ("tty", "24x80"),
        ("window", "many"),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_refused_not_guessed(line: Line, name: str, value: object) -> None:
    channel = line.request("exec", **{**exec_fields("true"), name: value})
    with pytest.raises(Refused) as caught:
        line.answer(channel)
    assert caught.value.code in ("malformed", "invalid"), caught.value


@pytest.mark.parametrize("terminal", [None, [24, 80]], ids=["pipes", "terminal"])
@pytest.mark.parametrize(("operation", "name"), [("signal", "signal"), ("window", "size")])
def test_a_senseless_signal_or_size_leaves_the_stage_alone(
    line: Line, operation: str, name: str, terminal: list[int] | None
) -> None:
    for value in WRONG:
        channel = line.spawn("sleep", "1000", stdin=True, tty=terminal)
        line.request(operation, target=channel, **{name: value})
        line.settle()
        line.ask("signal", target=channel, signal=9)
        outcome = line.finish(channel)
        assert "signal" in outcome.exit, f"{value!r:.80}: {outcome}"


@pytest.mark.parametrize("fields", [{"signal": 9}, {"size": [1, 1]}], ids=["signal", "window"])
def test_a_senseless_target_reaches_nobody(line: Line, fields: dict[str, object]) -> None:
    channel = line.spawn("cat", stdin=True)
    for value in [*WRONG, str(channel), channel + 0.5, [channel]]:
        line.request("signal" if "signal" in fields else "window", target=value, **fields)
    line.settle()
    line.write(channel, b"alive")
    line.send(agent.EOF, channel)
    assert line.finish(channel).stdout == b"alive"


@pytest.mark.parametrize("operation", ["no-such", "", "__class__", "setup ", None, 5, [], {}, "x" * 100000])
def test_an_unknown_operation_is_refused(line: Line, operation: object) -> None:
    with pytest.raises(Refused) as caught:
        line.answer(line.request(operation))
    assert caught.value.code in ("unknown", "malformed")


@pytest.mark.parametrize(
    "payload",
    [
        *[b"", b"{", b"null", b"[]", b"5", b'"exec"', b"{}", b"\xff\xfe", b'{"op":"exec"', b"NaN", b'{"op":}'],
        *[b"[" * 100000, b'{"op":' * 50000, b"9" * 10000, b'{"op":"signal","target":1,"signal":1e999}'],
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_a_request_that_is_no_json_object_is_refused(line: Line, payload: bytes) -> None:
    channel = line.new_channel()
    line.send(agent.REQUEST, channel, payload)
    line.settle()
    kinds = [frame.kind for frame in line.drop_pending() if frame.channel == channel]
    assert kinds in ([agent.ERROR], [agent.REPLY])


def test_an_answer_to_a_huge_senseless_request_is_small(line: Line) -> None:
    channel = line.request("x" * (3 << 20))
    assert len(line.take(channel, agent.ERROR).payload) < 1 << 16


def test_a_set_up_with_a_senseless_field_is_refused_and_can_be_done_again() -> None:
    skip_unless_possible()
    with AgentProcess() as process:
        line = Line(process)
        line.take(0, agent.HELLO)
        good = {"time": time.time(), **SETUP}
        senseless: list[Any] = [None, math.inf, math.nan, [], {}, [1], "\0", "\ud800"]
        for name in good:
            for value in senseless:
                line.request("setup", **{**good, name: value})
                line.settle()
                refused = [frame for frame in line.drop_pending() if frame.kind == agent.ERROR]
                assert refused, f"{name}={value!r}"
        line.ask("setup", **good)
        assert line.run("hostname").stdout == b"guest\n"


# frames


@pytest.mark.parametrize("kind", [0, agent.HELLO, agent.REPLY, agent.ERROR, agent.EXIT, agent.NOTICE, 11, 255])
def test_a_frame_of_a_kind_that_is_not_for_the_agent_is_refused(line: Line, kind: int) -> None:
    channel = line.new_channel()
    line.send(kind, channel, b'{"op":"sync"}')
    assert json.loads(line.take(channel, agent.ERROR).payload)["code"] == "malformed"


@pytest.mark.parametrize("kind", [agent.DATA, agent.EOF, agent.CREDIT, agent.CLOSE])
def test_a_frame_for_an_unknown_channel_is_ignored(line: Line, kind: int) -> None:
    for channel in (0, 7_000_000, 2**32 - 1):
        for payload in (b"", b"\0\0\0\1", b"x" * 1000):
            line.send(kind, channel, payload)
    line.settle()
    assert not line.pending


@pytest.mark.parametrize("kind", [agent.DATA, agent.EOF, agent.CREDIT, agent.CLOSE])
@pytest.mark.parametrize("stream", [0, 1, 2, 3, 255])
def test_a_senseless_stream_frame_harms_no_other_command(line: Line, kind: int, stream: int) -> None:
    bystander = line.spawn("cat", stdin=True)
    channel = line.spawn("sleep", "1000", stdin=True)
    for payload in (b"", b"\0", b"\0\0\0\0\0", b"\xff\xff\xff\xff"):
        line.send(kind, channel, payload, stream)
    line.settle()
    line.ask("signal", target=channel, signal=9)
    line.finish(channel)
    line.write(bystander, b"untouched")
    line.send(agent.EOF, bystander)
    assert line.finish(bystander).stdout == b"untouched"


@pytest.mark.parametrize(
    "noise",
    [
        b"garbage in the middle of the stream",
        b"G",
        agent.HEADER.pack(agent.MAGIC, agent.DATA, 0, 1, agent.MAX_PAYLOAD + 1),
        agent.HEADER.pack(agent.MAGIC, agent.DATA, 0, 1, 2**32 - 1) + bytes(5000),
        bytes(300_000),
    ],
    ids=lambda noise: repr(noise[:12]),
)
def test_bytes_that_are_no_frame_are_told_and_skipped(line: Line, noise: bytes) -> None:
    channel = line.spawn("cat", stdin=True)
    line.write(channel, b"one ")
    line.send_bytes(noise)
    line.write(channel, b"two")
    line.send(agent.EOF, channel)
    assert line.finish(channel).stdout == b"one two"
    error = json.loads(line.take(0, agent.ERROR).payload)
    assert error["code"] == "malformed"
    line.drop_pending()  # a long noise is told in more than one piece


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["argv", "env", "cwd", "user", "window", "stdin", "tty", "target", "signal", "size", "time", "root"]
requests = st.fixed_dictionaries(
    {"op": st.sampled_from(["exec", "signal", "window", "setup"]) | anything},
    optional=dict.fromkeys(FIELDS, anything),
)
quietly = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quietly
@given(request=requests)
def test_no_request_of_any_shape_ends_the_agent(line: Line, request: dict[str, Any]) -> None:
    channel = line.new_channel()
    line.send_bytes(agent.encode_json(agent.REQUEST, channel, request))
    line.take(channel, agent.REPLY, agent.ERROR)
    line.settle()


@quietly
@given(
    kind=st.integers(0, 255).filter(lambda kind: kind != agent.REQUEST),
    channel=st.integers(0, 2**32 - 1),
    stream=st.integers(0, 255),
    payload=st.binary(max_size=100),
)
def test_no_frame_of_any_shape_ends_the_agent(line: Line, kind: int, channel: int, stream: int, payload: bytes) -> None:
    line.send(kind, channel, payload, stream)
    line.settle()
    line.drop_pending()
