"""Templates without a guest: directories that look like them, below a cache directory of the test's own."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from gavotte.sandbox.template.layout import Layout
from gavotte.sandbox.template.store import MEMORY, Template, draft, publish, templates_directory

__all__ = ["MIB", "TEMPLATE", "drafts", "made"]

MIB = 1 << 20

TEMPLATE = Template(
    key="",
    layout=Layout(memory=4 * MIB, max_memory=64 * MIB, cpus=2),
    accel="tcg",
    arch="x86_64",
    machine="q35",
    qemu="/bin/true",
    binary="",
    host="",
    image="00112233",
    token="00" * 16,
    root_size=2 * MIB,
    macs={},
    state_crc=0,
    created=0.0,
    stopped=0.0,
)


def made(key: str, template: Template = TEMPLATE, *, age: float = 0) -> Template:
    """A template of that key, which was made and used last so many seconds ago."""
    templates_directory().mkdir(parents=True, exist_ok=True)
    created = time.time() - age
    with draft(key) as path:
        with (path / MEMORY).open("wb") as file:
            file.truncate(template.layout.memory)
        published = publish(path, replace(template, key=key, created=created), b"")
    os.utime(published.path, (created, created))
    return published


def drafts() -> list[Path]:
    """What is being made, or was left."""
    return sorted(templates_directory().glob(".tmp-*"))
