"""Sizes as messages and tables have them."""

from __future__ import annotations

import pytest

from gavotte.sandbox.words import parse_size
from gavotte.text import rough_size, size_text

MIB = 1 << 20
GIB = 1 << 30

TEXTS = [
    (512, "512 bytes"),
    (1536, "1.5K"),
    (3 << 10, "3K"),
    (96 * MIB, "96M"),
    (640 * MIB, "640M"),
    (1536 * MIB, "1.5G"),
    (1537 * MIB, "1537M"),
    (GIB + 1024, "1048577K"),
    (GIB + 1, "1073741825 bytes"),
    (2 * GIB, "2G"),
    (1 << 40, "1T"),
]


@pytest.mark.parametrize(("size", "text"), [*TEXTS, (0, "0 bytes"), (1, "1 byte")])
def test_a_size_is_told_exactly_and_with_its_unit(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("size", "text"), TEXTS)
def test_what_is_told_can_be_given_back(size: int, text: str) -> None:
    assert parse_size(text.removesuffix(" bytes"), "memory") == size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0M"), (MIB - 1, "0M"), (300_000_000, "286M"), (GIB - 1, "1023M"), (16_396_328_960, "15.2G"), (5 << 40, "5T")],
)
def test_a_rough_size_is_never_more_than_there_is(size: int, text: str) -> None:
    assert rough_size(size) == text
