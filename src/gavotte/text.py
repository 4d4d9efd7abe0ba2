"""Text from others, made fit to be shown; sizes as text."""

from __future__ import annotations

__all__ = ["harmless", "rough_size", "size_text"]

_UNITS = ((40, "T"), (30, "G"), (20, "M"), (10, "K"))


def harmless(text: str) -> str:
    """`text` with everything replaced that a terminal would act on."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def size_text(size: int) -> str:
    """A number of bytes, exactly, in the largest unit of which it has whole quarters: 96M, 1.5G, 1000 bytes.

    `sandbox.words.parse_size` reads all but the word.
    """
    for shift, unit in _UNITS:
        if size >= 1 << shift and size % (1 << shift - 2) == 0:
            return f"{size / (1 << shift):.12g}{unit}"
    return f"{size} byte{'s' * (size != 1)}"


def rough_size(size: int) -> str:
    """A number of bytes where a tenth of a gigabyte, or a megabyte, doesn't matter; never more than it is."""
    for shift, unit in _UNITS[:2]:
        if size >= 1 << shift:
            return f"{(size * 10 >> shift) / 10:.12g}{unit}"
    return f"{size >> 20}M"
