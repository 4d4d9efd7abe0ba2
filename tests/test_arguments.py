"""What callers give: the form in which each check gives it back."""

from __future__ import annotations

import array
import asyncio
from pathlib import Path
from typing import Any

import pytest

from gavotte.arguments import (
    check_bytes,
    check_known,
    check_number,
    check_path,
    check_seconds,
    check_text,
    check_timeout,
    wrong,
)
from gavotte.errors import UsageError
from gavotte.sandbox.words import check_argv, check_env


@pytest.mark.parametrize(("value", "seconds"), [(5, 5.0), (0.5, 0.5), (10**400, 1e9), (float("inf"), 1e9)])
def test_seconds_are_a_float_that_a_loop_can_wait_for(value: float, seconds: float) -> None:
    assert check_timeout(value) == check_seconds(value, "x") == seconds

    async def main() -> None:
        async with asyncio.timeout(check_timeout(value)):
            await asyncio.get_running_loop().run_in_executor(None, int)

    asyncio.run(main())


def test_no_timeout_is_none_and_zero_is_one_where_it_is_said() -> None:
    assert check_timeout(None) is None
    assert check_timeout(0, zero=True) == 0
    with pytest.raises(UsageError, match="timeout: 0 is not a number of seconds above 0"):
        check_timeout(0)


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), memoryview(b"ab"), array.array("H", [0x6261])])
def test_bytes_are_what_holds_bytes(value: Any) -> None:
    assert bytes(check_bytes(value, "data")) == b"ab"


def test_bytes_that_lie_apart_are_refused_and_not_mixed_up() -> None:
    with pytest.raises(UsageError, match="^data: "):
        check_bytes(memoryview(b"abcd")[::2], "data")


def test_a_number_has_bounds_and_true_is_none() -> None:
    assert check_number(3, 1, 3, "n") == 3
    assert check_number(10**30, 1, None, "n") == 10**30
    for value, most in ((4, 3), (0, 3), (0, None), (True, 3)):
        with pytest.raises(UsageError, match=r"^n: .* is not a number (from 1 to 3|of 1 or more)"):
            check_number(value, 1, most, "n")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udfff"])
def test_text_that_no_system_call_takes_is_refused_by_its_place(text: str) -> None:
    for check, place in (
        (lambda: check_path(text, "p"), "p"),
        (lambda: check_text(text, "t"), "t"),
        (lambda: check_argv(["echo", text]), "argv[1]"),
        (lambda: check_env({"A": text}), "env['A']"),
        (lambda: check_env({text: "A"}), f"env[{text!r}]"),
    ):
        with pytest.raises(UsageError) as caught:
            check()
        assert caught.value.path == place


def test_text_that_stands_for_bytes_is_taken() -> None:
    word = b"a\xff".decode("utf-8", "surrogateescape")
    assert check_argv(["echo", word]) == ["echo", word]
    assert check_env({"A": word}) == {"A": word}


def test_a_word_in_bytes_is_told_its_way_out() -> None:
    with pytest.raises(UsageError) as caught:
        check_argv(["echo", b"1"])  # type: ignore[list-item]
    assert (caught.value.path, caught.value.hint) == ("argv[1]", "os.fsdecode() makes text of bytes")


def test_a_path_in_bytes_is_told_its_way_out() -> None:
    assert check_path(Path("/x"), "p") == "/x"
    with pytest.raises(UsageError) as caught:
        check_path(b"/x", "p")
    assert "os.fsdecode()" in caught.value.hint


def test_a_name_that_nothing_is_like_is_told_all_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        check_known("zzz", frozenset({"env", "cwd"}))
    assert caught.value.hint == "there are cwd, env"


def test_a_large_value_is_shown_in_short() -> None:
    assert len(str(wrong("x" * 10_000, "a path", "p"))) < 100
