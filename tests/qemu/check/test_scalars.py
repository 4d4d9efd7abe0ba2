"""One value, from what people write to what QEMU's JSON wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.qemu.check.scalars import Misfit, to_bool, to_int, to_number, to_size, to_text, to_word
from gavotte.qemu.props import Json


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(True, True), ("on", True), ("yes", True), ("true", True), ("y", True), ("off", False), ("n", False)],
)
def test_a_bool_is_any_of_qemus_words(value: Json, wanted: bool) -> None:
    assert to_bool(value) is wanted


@pytest.mark.parametrize("value", [1, 0, "1", "ON", "maybe", "", None, 1.0])
def test_a_number_is_no_bool(value: Json) -> None:
    with pytest.raises(Misfit):
        to_bool(value)


@pytest.mark.parametrize(("text", "wanted"), [("2", 2), ("0x10", 16), ("010", 8), ("-1", -1), ("+7", 7), ("0", 0)])
def test_an_integer_is_read_as_c_reads_it(text: str, wanted: int) -> None:
    assert to_int(text) == wanted


@pytest.mark.parametrize("value", [True, 2.0, "2.0", "08", "two", " 2", "", "9" * 10_000, None, "1_000", "٣"])
def test_what_is_no_integer_is_refused(value: Json) -> None:
    with pytest.raises(Misfit):
        to_int(value)


def test_an_integer_out_of_bounds_is_told_its_bounds() -> None:
    with pytest.raises(Misfit, match="an integer from 0 to 255"):
        to_int("256", (0, 255))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("512M", 512 << 20),
        ("512m", 512 << 20),
        ("1.5G", 3 << 29),
        ("4096", 4096),
        ("010", 10),
        ("0x1000", 4096),
        ("1B", 1),
        ("2k", 2048),
        ("1T", 1 << 40),
        ("1P", 1 << 50),
        ("1E", 1 << 60),
        ("0.3K", 307),
        (4096, 4096),
    ],
)
def test_a_size_is_read_as_qemu_reads_it(text: Json, wanted: int) -> None:
    assert to_size(text) == wanted


@pytest.mark.parametrize(
    "value", ["512Q", "512MB", "1.5", "1.5B", "", "M", "-1", -1, "16E", "0x10M", "1e3", True, None, "9" * 10_000, "²"]
)
def test_what_is_no_size_is_refused(value: Json) -> None:
    with pytest.raises(Misfit):
        to_size(value)


@pytest.mark.parametrize(("value", "wanted"), [(5, "5"), (True, "on"), (False, "off"), (1.5, "1.5"), ("x", "x")])
def test_text_is_written_as_an_option_writes_it(value: Json, wanted: str) -> None:
    assert to_text(value) == wanted


@pytest.mark.parametrize("value", [None, [], {}])
def test_what_has_parts_is_no_text(value: Json) -> None:
    with pytest.raises(Misfit, match="text"):
        to_text(value)


def test_true_is_on_where_on_is_a_word() -> None:
    assert to_word(True, ("on", "off", "auto")) == "on"
    assert to_word(16, ("8", "16")) == "16"
    with pytest.raises(Misfit, match="one of on, off, auto"):
        to_word("yes", ("on", "off", "auto"))


def test_a_long_list_of_words_is_cut() -> None:
    with pytest.raises(Misfit, match=r"one of 0, .*, 11 and 88 more$"):
        to_word("x", [str(n) for n in range(100)])


@given(st.integers(0, 2**64 - 1))
def test_every_64_bit_size_survives_as_text(number: int) -> None:
    assert to_size(str(number)) == to_size(hex(number)) == to_size(number) == number


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_stays_one(number: float) -> None:
    assert to_number(number) == number


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (to_bool, to_int, to_size, to_number):
        try:
            read(text)
        except Misfit:
            pass
