"""What a finished command leaves: text of any size is decoded in steps, and errors quote the end of it alone."""

from __future__ import annotations

import asyncio
import codecs
import threading

import pytest

from gavotte.compat import override
from gavotte.errors import CommandFailed, GuestError
from gavotte.sandbox import result
from gavotte.sandbox.result import Result, in_text

STEP = 1000


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """How many bytes each step decodes, and whether that is beside the loop; steps are short meanwhile."""
    done: list[tuple[int, bool]] = []
    decode = codecs.utf_8_decode

    def recorded(data: memoryview, errors: str, final: bool) -> tuple[str, int]:
        done.append((len(data), threading.current_thread() is not threading.main_thread()))
        return decode(data, errors, final)

    monkeypatch.setattr(codecs, "utf_8_decode", recorded)
    monkeypatch.setattr(result, "_STEP", STEP)
    return done


def text_of(data: bytes) -> str:
    return asyncio.run(in_text(Result(["x"], 0, data, b""))).stdout


@pytest.mark.parametrize("character", ["a", "é", "\N{SNOWMAN}", "\U0001f600"])
def test_large_text_is_decoded_in_steps_beside_the_loop(steps: list[tuple[int, bool]], character: str) -> None:
    text = "a" + character * 3000 + "\U0001f600"
    assert text_of(text.encode()) == text
    assert len(steps) >= len(text.encode()) / STEP
    assert all(size <= STEP and beside for size, beside in steps)


def test_small_text_takes_no_thread(steps: list[tuple[int, bool]]) -> None:
    assert text_of(b"small") == "small"
    assert steps == [(5, False)]


@pytest.mark.parametrize(
    ("data", "at"),
    [(b"a" * 2500 + b"\xff", 2500), (b"a" * 999 + "é".encode() + b"\xff", 1001), (b"a" * 1999 + b"\xc3", 1999)],
    ids=["in-a-later-step", "behind-a-split-character", "half-a-character-at-the-end"],
)
def test_what_is_no_text_is_told_by_its_place_in_all_of_the_output(
    steps: list[tuple[int, bool]], data: bytes, at: int
) -> None:
    with pytest.raises(GuestError, match=rf"wrote what is no UTF-8: byte {data[at]:#04x} at {at}$"):
        text_of(data)


class Undecoded(bytes):
    @override
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        pytest.fail(f"all {len(self)} bytes are decoded")


def test_a_failure_quotes_the_end_of_stderr_and_decodes_no_more_of_it() -> None:
    with pytest.raises(CommandFailed, match=r"ended with status 1: é{495} last$"):
        Result(["x"], 1, b"", Undecoded("é".encode() * 10_000 + b" last \n")).check()
