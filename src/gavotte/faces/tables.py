"""What is shown as a table on a terminal, as plain lines elsewhere, or as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gavotte.guest.image import Image
    from gavotte.sandbox.host import Finding

__all__ = ["print_findings", "print_images", "print_json"]


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def print_findings(findings: Sequence[Finding]) -> None:
    """One line each: yes, no or a dash, what was found, and below it what to do about it."""
    colours = sys.stdout.isatty()
    for finding in findings:
        word, colour = {True: ("yes", 32), False: ("no ", 31), None: ("-  ", 33)}[finding.ok]
        mark = f"\x1b[{colour}m{word}\x1b[0m" if colours else word
        print(f"{mark} {finding.name:<12} {finding.text}")
        if finding.remedy:
            print(f"{'':17}next: {finding.remedy}")


def print_images(images: Sequence[Image], current: Collection[str], *, as_json: bool) -> None:
    """Id, suite, architecture, time of making, size, and which one is used."""
    rows: list[dict[str, Any]] = [
        {
            "id": image.id,
            "suite": image.manifest.recipe.suite,
            "architecture": image.manifest.recipe.architecture,
            "created": datetime.fromtimestamp(image.created).isoformat(timespec="minutes"),
            "bytes": sum(file.stat().st_size for file in image.path.iterdir()),
            "current": image.id in current,
        }
        for image in images
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        size = f"{row['bytes'] / 1e6:.0f} MB"
        made_for = f"{row['suite']:<8}  {row['architecture']:<7}"
        print(f"{row['id']}  {made_for}  {row['created']}  {size:>7}{'  current' if row['current'] else ''}")
