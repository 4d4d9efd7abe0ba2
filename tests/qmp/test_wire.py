from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.errors import QmpProtocolError, UsageError
from gavotte.qmp.wire import MAX_LINE, Decoder, Event, Greeting, Json, Message, Refusal, Reply, encode, encode_opening

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=20)  # what QEMU takes for characters
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=4)
MESSAGE = (
    st.builds(Greeting, OBJECT, st.lists(TEXT, max_size=3).map(tuple))
    | st.builds(Reply, JSON, JSON)
    | st.builds(Refusal, JSON, TEXT, TEXT)
    | st.builds(Event, TEXT, OBJECT, st.integers(-1, 2**32).map(float))
)


def line_of(message: Message) -> bytes:
    """What QEMU would send."""
    content: dict[str, Any]
    match message:
        case Greeting(version, capabilities):
            content = {"QMP": {"version": version, "capabilities": list(capabilities)}}
        case Reply(id, value):
            content = {"return": value, "id": id}
        case Refusal(id, error_class, desc):
            content = {"id": id, "error": {"class": error_class, "desc": desc}}
        case Event(name, data, seconds):
            timestamp = {"seconds": int(seconds), "microseconds": 0}
            content = {"timestamp": timestamp, "event": name, "data": data}
    return json.dumps(content).encode() + b"\r\n"


def decode(data: bytes) -> list[Message]:
    return Decoder().feed(data)


@given(st.lists(MESSAGE, max_size=5), st.data())
def test_a_stream_cut_anywhere_gives_the_same_messages(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(line_of(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = Decoder()
    got: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += decoder.feed(stream[start:end])
    assert got == messages


def test_a_stream_that_comes_byte_by_byte_gives_the_same_messages() -> None:
    stream = line_of(Reply("1", {"näme": "€"})) + line_of(Event("STOP", {}, 5.0))
    decoder = Decoder()
    got = [message for byte in stream for message in decoder.feed(bytes([byte]))]
    assert got == [Reply("1", {"näme": "€"}), Event("STOP", {}, 5.0)]


@given(st.lists(st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()), max_size=4))
def test_garbage_gives_messages_or_a_protocol_error_and_nothing_else(lines: list[bytes]) -> None:
    try:
        decode(b"\n".join(lines) + b"\n")
    except QmpProtocolError as e:
        assert len(str(e)) < 1000


@given(
    st.sampled_from(["QMP", "return", "error", "event"]),
    JSON | st.fixed_dictionaries({}, optional={"version": JSON, "capabilities": JSON, "class": JSON, "desc": JSON}),
    st.fixed_dictionaries(
        {},
        optional={
            "id": JSON,
            "data": JSON,
            "timestamp": JSON | st.fixed_dictionaries({"seconds": JSON, "microseconds": JSON}),
        },
    ),
)
def test_a_message_of_the_wrong_shape_gives_a_message_or_a_protocol_error(
    kind: str, body: Json, rest: dict[str, Json]
) -> None:
    try:
        [message] = decode(json.dumps({kind: body} | rest).encode() + b"\n")
    except QmpProtocolError:
        return
    assert isinstance(message, Greeting | Reply | Refusal | Event)


@given(TEXT, OBJECT, TEXT, st.booleans())
def test_an_encoded_command_is_one_line_of_json_that_says_the_same(
    command: str, arguments: dict[str, Json], id: str, oob: bool
) -> None:
    line = encode(command, arguments, id=id, oob=oob)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    content = json.loads(line)
    assert content.pop("exec-oob" if oob else "execute") == command
    assert content.pop("id") == id
    assert content.pop("arguments", {}) == arguments
    assert not content


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, b"bytes", object(), "\ud800", "\uffff", "a\ufdd0", {"\U0010fffe": 1}, {(1, 2): 3}],
    ids=["nan", "inf", "bytes", "object", "half a surrogate pair", "FFFF", "FDD0", "10FFFE as key", "a tuple as key"],
)
def test_arguments_that_json_cannot_say_are_the_callers_error(value: Any) -> None:
    with pytest.raises(UsageError, match="arguments: can't be written as JSON for x"):
        encode("x", {"a": value}, id="1")


def test_commands_that_open_a_connection_are_lines_whose_ids_count_from_one() -> None:
    said = encode_opening([("first", {"a": [1]}), ("second", None), ("third", {})])
    assert said == encode("first", {"a": [1]}, id="1") + encode("second", id="2") + encode("third", id="3")
    assert encode_opening([]) == b""


def test_an_opening_that_json_cannot_say_is_the_callers_error() -> None:
    with pytest.raises(UsageError, match="arguments: can't be written as JSON for second"):
        encode_opening([("first", None), ("second", {"a": math.nan})])


def test_arguments_that_contain_themselves_are_the_callers_error() -> None:
    arguments: dict[str, Json] = {}
    arguments["a"] = arguments
    with pytest.raises(UsageError):
        encode("x", arguments, id="1")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b"{",
        b'{"return": {}, "error": {"class": "a", "desc": "b"}}',
        b'{"QMP": {"version": {}, "capabilities": [1]}}',
        b'{"QMP": {"version": {}}}',
        b'{"error": "no"}',
        b'{"error": {"class": "GenericError"}}',
        b'{"event": "STOP"}',
        b'{"event": "STOP", "timestamp": {"seconds": true, "microseconds": 0}}',
        b'{"event": "STOP", "timestamp": {"seconds": 1.5, "microseconds": 0}}',
        b'{"event": "STOP", "timestamp": {"seconds": 1' + b"0" * 400 + b', "microseconds": 0}}',
        b'{"event": "STOP", "data": [], "timestamp": {"seconds": 1, "microseconds": 0}}',
        b'{"return": NaN}',
        b'{"return": -Infinity}',
        b'{"return": ' + b"9" * 5000 + b"}",
        b'{"return": "\xff"}',
        b'{"return": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"return": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
    ids=lambda line: repr(line[:40]),
)
def test_what_is_not_qmp_is_a_protocol_error_with_a_short_text(line: bytes) -> None:
    with pytest.raises(QmpProtocolError) as caught:
        decode(line + b"\r\n")
    assert len(str(caught.value)) < 300


def test_a_pretty_monitor_is_told_in_the_hint() -> None:
    with pytest.raises(QmpProtocolError) as caught:
        decode(b'{\r\n    "QMP": {\r\n')
    assert "pretty=on" in caught.value.hint


def test_an_error_without_an_id_is_a_refusal_without_an_id() -> None:
    line = b'{"error": {"class": "GenericError", "desc": "JSON parse error, stray \'x\'"}}\r\n'
    assert decode(line) == [Refusal(None, "GenericError", "JSON parse error, stray 'x'")]


def test_an_event_without_data_has_no_data_and_its_time_is_in_seconds() -> None:
    line = b'{"timestamp": {"seconds": 1267020223, "microseconds": 435656}, "event": "POWERDOWN"}\r\n'
    assert decode(line) == [Event("POWERDOWN", {}, 1267020223.435656)]


def test_an_event_of_a_host_without_a_clock_is_taken() -> None:
    line = b'{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "STOP"}\r\n'
    [event] = decode(line)
    assert isinstance(event, Event)
    assert event.seconds < 0


def test_a_line_may_have_the_limit_and_not_a_byte_more() -> None:
    line = b'{"return": 1}'
    assert Decoder(limit=len(line)).feed(line + b"\n") == [Reply(None, 1)]
    with pytest.raises(QmpProtocolError, match=f"longer than {len(line) - 1} bytes"):
        Decoder(limit=len(line) - 1).feed(line + b"\n")


def test_a_line_without_an_end_is_refused_at_the_limit() -> None:
    decoder = Decoder(limit=1000)
    assert decoder.feed(b"x" * 1000) == []
    with pytest.raises(QmpProtocolError, match="longer than 1000 bytes"):
        decoder.feed(b"x")


@pytest.mark.timeout(60)
def test_a_line_as_long_as_the_limit_in_small_pieces_is_not_scanned_again_for_each() -> None:
    # A decoder that looked at all it has for each piece would touch 16 MB 260,000 times, and be at it for minutes.
    value = "x" * (MAX_LINE - 100)
    line = line_of(Reply("1", value))
    decoder = Decoder()
    got: list[Message] = []
    for position in range(0, len(line), 64):
        got += decoder.feed(line[position : position + 64])
    assert got == [Reply("1", value)]
