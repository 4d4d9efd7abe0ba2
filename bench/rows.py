"""One row of the table: what was measured, what it is held to, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Row", "median", "p99", "pair", "ratio", "spread"]


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


def p99(samples: Sequence[float]) -> float:
    """What 99 of 100 don't exceed; of fewer than 100, the largest."""
    return sorted(samples)[-(len(samples) // 100) - 1]


def pair(ours: Sequence[float], measure: Sequence[float]) -> str:
    """Seconds of two kinds, each as median and p99 in milliseconds."""
    return " / ".join(f"{median(each) * 1000:.0f} ms (p99 {p99(each) * 1000:.0f})" for each in (ours, measure))
