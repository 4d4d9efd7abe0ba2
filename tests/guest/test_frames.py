"""The frames of the line between host and agent: any split, any garbage, any length."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gavotte.guest import agent
from gavotte.guest.agent import HEADER, MAGIC, Decoder, Frame, encode, encode_json

MARK = MAGIC.to_bytes(2, "big")

frames = st.builds(
    Frame,
    kind=st.integers(0, 255),
    channel=st.integers(0, 2**32 - 1),
    stream=st.integers(0, 255),
    payload=st.binary(max_size=60) | st.just(MARK * 9),
)
garbage = st.binary(max_size=60).filter(lambda data: MARK not in data)


def as_bytes(frame: Frame) -> bytes:
    return encode(frame.kind, frame.channel, frame.payload, frame.stream)


def feed_in_pieces(decoder: Decoder, data: bytes, cuts: list[int]) -> list[Frame]:
    found: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        found += decoder.feed(data[start:end])
    return found


@given(sent=st.lists(frames, max_size=6), data=st.data())
def test_frames_split_at_any_bytes_are_the_same_frames(sent: list[Frame], data: st.DataObject) -> None:
    wire = b"".join(map(as_bytes, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    decoder = Decoder()
    assert feed_in_pieces(decoder, wire, cuts) == sent
    assert decoder.skipped == 0


def test_frames_that_arrive_byte_by_byte_are_the_same_frames() -> None:
    sent = [Frame(agent.DATA, 7, agent.STDERR, b"x" * 40), Frame(agent.EOF, 7, agent.STDERR, b"")]
    wire = b"".join(map(as_bytes, sent))
    assert feed_in_pieces(Decoder(), wire, list(range(1, len(wire)))) == sent


@given(pairs=st.lists(st.tuples(garbage, frames), min_size=1, max_size=5), data=st.data())
@example(pairs=[(b"G", Frame(1, 2, 3, b"x"))], data=None)
@example(pairs=[(b"G" * 11, Frame(1, 2, 3, b"")), (b"VG", Frame(4, 5, 6, b"GV"))], data=None)
def test_garbage_between_frames_is_skipped_and_counted(
    pairs: list[tuple[bytes, Frame]], data: st.DataObject | None
) -> None:
    wire = b"".join(noise + as_bytes(frame) for noise, frame in pairs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8))) if data else []
    decoder = Decoder()
    assert feed_in_pieces(decoder, wire, cuts) == [frame for _, frame in pairs]
    assert decoder.skipped == sum(len(noise) for noise, _ in pairs)


@given(st.binary(max_size=400))
def test_any_bytes_at_all_give_frames_or_are_skipped(data: bytes) -> None:
    decoder = Decoder(limit=64)
    found = decoder.feed(data)
    taken = sum(HEADER.size + len(frame.payload) for frame in found)
    assert taken + decoder.skipped <= len(data)
    assert all(len(frame.payload) <= 64 for frame in found)


def test_a_frame_may_be_as_large_as_the_limit() -> None:
    assert len(Decoder(limit=100).feed(encode(agent.DATA, 1, bytes(100)))) == 1


def test_a_header_that_announces_more_than_the_limit_is_no_header() -> None:
    decoder = Decoder(limit=100)
    following = encode(agent.EOF, 9)
    assert decoder.feed(encode(agent.DATA, 1, bytes(101)) + following) == [Frame(agent.EOF, 9, 0, b"")]
    assert decoder.skipped == HEADER.size + 101


@pytest.mark.parametrize("length", [agent.MAX_PAYLOAD + 1, 2**31, 2**32 - 1])
def test_a_huge_length_is_refused_as_soon_as_the_header_is_there(length: int) -> None:
    decoder = Decoder()
    assert decoder.feed(HEADER.pack(MAGIC, agent.DATA, 0, 1, length)) == []
    assert decoder.skipped
    assert decoder.feed(encode(agent.EOF, 1)) == [Frame(agent.EOF, 1, 0, b"")]


@pytest.mark.parametrize("piece", [b"\0" * 4096, MARK * 2048, b"G" * 4096], ids=["zeros", "magic", "half magic"])
def test_a_flood_of_garbage_takes_no_memory(piece: bytes) -> None:
    decoder = Decoder()
    decoder.feed(piece)
    tracemalloc.start()
    try:
        for _ in range(50):
            assert decoder.feed(piece) == []
        assert tracemalloc.get_traced_memory()[1] < 64 << 10
    finally:
        tracemalloc.stop()
    assert decoder.skipped > 49 * len(piece)


def test_an_unfinished_frame_takes_no_more_memory_than_the_limit() -> None:
    decoder = Decoder(limit=1 << 16)
    wire = encode(agent.DATA, 1, bytes(1 << 16))
    tracemalloc.start()
    try:
        for _ in range(50):  # each is completed by the first byte of the next
            decoder.feed(wire[:-1])
            assert len(decoder.feed(wire[-1:])) == 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_survives_json_in_a_frame_even_lone_surrogates(text: str) -> None:
    (frame,) = Decoder().feed(encode_json(agent.REPLY, 5, {"text": text}))
    assert json.loads(frame.payload) == {"text": text}


def test_bytes_of_a_path_that_is_no_utf8_survive_json_in_a_frame() -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    (frame,) = Decoder().feed(encode_json(agent.REPLY, 5, [name]))
    assert json.loads(frame.payload)[0].encode(errors="surrogateescape") == b"caf\xe9"
