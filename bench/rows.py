"""One row of the table: what was measured, what it is held to, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Row", "median", "ratio", "spread"]


@dataclass(frozen=True)
class Row:
    """`holds` is None for a number that is shown and held to nothing. `samples` are the raw numbers, by their unit."""

    what: str
    measured: str
    bound: str = ""
    holds: bool | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)


def median(samples: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(samples)


def ratio(ours: Sequence[float], measure: Sequence[float]) -> float:
    """The ratio of the medians."""
    return median(ours) / median(measure)


def spread(samples: Sequence[float], scale: float, unit: str) -> str:
    """Median and, in brackets, smallest and largest."""
    return f"{median(samples) * scale:.2f} {unit} ({min(samples) * scale:.2f} to {max(samples) * scale:.2f})"
