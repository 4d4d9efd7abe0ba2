"""What is shown as a table on a terminal, as plain lines elsewhere, or as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gavotte.text import harmless, rough_size, size_text

if TYPE_CHECKING:
    from gavotte.guest.image import Image
    from gavotte.sandbox.host import Finding
    from gavotte.sandbox.template.store import Template

__all__ = ["print_findings", "print_images", "print_json", "print_templates", "short_time"]


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
        size = rough_size(row["bytes"])
        made_for = f"{row['suite']:<8}  {row['architecture']:<7}"
        print(f"{row['id']}  {made_for}  {row['created']}  {size:>7}{'  current' if row['current'] else ''}")


_TEMPLATE_COLUMNS = ("KEY", "SIZE", "AGE", "USED", "MACHINE", "ACCEL", "MEMORY", "CPUS", "DEVICES", "IMAGE", "QEMU")


def print_templates(templates: Iterable[tuple[Template, str]], damaged: Mapping[str, str], *, as_json: bool) -> None:
    """What each has room for and was made of, and if nothing can use it, why."""
    rows = [_template_facts(template, stale) for template, stale in templates]
    if as_json:
        print_json([*rows, *({"key": key, "stale": why} for key, why in damaged.items())])
        return
    lines = [_TEMPLATE_COLUMNS, *map(_template_row, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line, why in zip(lines, ["", *(row["stale"] for row in rows)], strict=True) if rows else ():
        words = "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        print(f"{words}  stale: {why}" if why else words)
    for key, why in damaged.items():
        print(f"{key}  stale: {harmless(why)}")


def _template_facts(template: Template, stale: str) -> dict[str, Any]:
    """All but the token, which its copies are spoken to with."""
    layout = template.layout
    return {
        "key": template.key,
        "bytes": template.size,
        "created": datetime.fromtimestamp(template.created).isoformat(timespec="seconds"),
        "used": datetime.fromtimestamp(template.used).isoformat(timespec="seconds"),
        "arch": template.arch,
        "machine": template.machine,
        "accel": template.accel,
        "memory": layout.memory,
        "max_memory": layout.max_memory,
        "cpus": layout.cpus,
        "slots": layout.slots,
        "places": {"disk": layout.disk, "nic": layout.nic, "share": layout.share},
        "image": template.image,
        "qemu": template.qemu,
        "stale": stale,
    }


def _template_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    counts = {"slot": row["slots"], **row["places"]}
    return (
        row["key"],
        rough_size(row["bytes"]),
        _ago(row["created"]),
        _ago(row["used"]),
        f"{row['arch']} {row['machine']}",
        row["accel"],
        size_text(row["memory"]) + (f"-{size_text(row['max_memory'])}" if row["max_memory"] else ""),
        "1" if row["cpus"] == 1 else f"1-{row['cpus']}",
        ", ".join(f"{count} {what}{'s' * (count > 1)}" for what, count in counts.items() if count) or "-",
        row["image"],
        row["qemu"],
    )


def _ago(moment: str) -> str:
    return short_time(datetime.now().timestamp() - datetime.fromisoformat(moment).timestamp())


def short_time(seconds: float) -> str:
    """Such as 5m or 3d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
