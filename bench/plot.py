"""Small plots as SVG: dots and lines over one axis of whole numbers, one panel below the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Panel", "Series", "draw"]

WIDTH, HEIGHT = 720, 260  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 44, 46  # around its axes
TICKS = 5
COLOURS = ("#1f5fa8", "#c4551a", "#3a7d34")
STYLE = "text{font:13px sans-serif;fill:#222}.title{font-weight:bold}.number{fill:#555}.grid{stroke:#ddd}"


@dataclass(frozen=True)
class Series:
    """Points, drawn as dots, or as a line with dots on it."""

    name: str
    points: Sequence[tuple[float, float]]
    line: bool = False


@dataclass(frozen=True)
class Panel:
    """Series on the same axes, both of which begin at 0."""

    title: str
    below: str
    series: Sequence[Series]


def draw(panels: Sequence[Panel]) -> str:
    """The text of an SVG file."""
    size = f'width="{WIDTH}" height="{HEIGHT * len(panels)}" viewBox="0 0 {WIDTH} {HEIGHT * len(panels)}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>"]
    parts.append('<rect width="100%" height="100%" fill="#fff"/>')
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate(0 {number * HEIGHT})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> list[str]:
    points = [point for series in panel.series for point in series.points]
    (step_x, most_x), (step_y, most_y) = (_scale([point[axis] for point in points]) for axis in (0, 1))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (right - LEFT) * x / most_x, bottom - (bottom - TOP) * y / most_y

    parts = [_text(LEFT, 18, panel.title, "title"), _text(right, HEIGHT - 8, panel.below, anchor="end")]
    for count in range(round(most_y / step_y) + 1):
        _, y = place(0, count * step_y)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{count * step_y:g}", "number", "end"))
    for count in range(round(most_x / step_x) + 1):
        x, _ = place(count * step_x, 0)
        parts.append(_text(x, bottom + 18, f"{count * step_x:g}", "number", "middle"))
    for number, (series, colour) in enumerate(zip(panel.series, COLOURS, strict=False)):
        places = [place(*point) for point in series.points]
        if series.line:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        at = LEFT + number * (right - LEFT) / len(panel.series)
        parts.append(f'<circle cx="{at + 4:.1f}" cy="32" r="4" fill="{colour}"/>')
        parts.append(_text(at + 14, 36, series.name))
    return parts


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """A round step between the numbers of an axis, and its end, which no value is beyond."""
    rough = max(*values, 1e-9) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    return step, step * math.ceil(max(values) / step) or step


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
