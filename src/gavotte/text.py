"""Text from others, made fit to be shown."""

from __future__ import annotations

__all__ = ["harmless"]


def harmless(text: str) -> str:
    """`text` with everything replaced that a terminal would act on."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
