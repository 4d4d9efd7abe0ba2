"""Templates for tests: the one of a sandbox, a cache for those that are to be broken, and how right a clock is."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from gavotte.guest.command import AsyncProcess
from gavotte.places import cache_directory
from gavotte.sandbox.template.store import Template, find_template

__all__ = ["CLOCK", "own_cache", "put_template", "template_of", "templates_in", "time_off"]

# A command that answers each line with the time of day.
CLOCK = ["python3", "-Buc", "import sys, time\nfor line in sys.stdin: print(repr(time.time()))"]


def own_cache(folder: Path) -> Path:
    """An empty cache, but for the images and what is known of QEMU: its directory, for XDG_CACHE_HOME.

    Its images have other paths, so the templates have other keys.
    """
    usual, own = cache_directory(), folder / "cache" / "gavotte"
    own.mkdir(parents=True)
    for name in ("images", "schemas", "accel.json"):
        if (usual / name).exists():
            (own / name).symlink_to(usual / name)
    return own.parent


def put_template(template: Template, templates: Path) -> Template:
    """A copy of a finished template in the directory of another cache."""
    templates.mkdir(mode=0o700, exist_ok=True)
    target = templates / template.key
    subprocess.run(["cp", "-a", "--sparse=always", template.path, target], check=True, timeout=60)
    return Template.load(target)


def template_of(key: str) -> Template:
    """The template with that key, which has to be there."""
    found = find_template(key)
    assert found is not None, f"no template {key}"
    return found


def templates_in(templates: Path) -> list[str]:
    """The names of what lies in a directory of templates, but for locks."""
    return sorted(path.name for path in templates.iterdir() if not path.name.startswith(".lock-"))


async def time_off(process: AsyncProcess, *, tries: int = 20, clock: Callable[[], float] = time.time) -> float:
    """How far the clock of a guest, in which CLOCK runs, is off by this host's, in seconds: the least that it can be.

    The answer was given at some moment between question and reading: of many, that of the shortest time is taken.
    """
    assert process.stdin is not None
    found: list[tuple[float, float]] = []
    for _ in range(tries):
        before = clock()
        await process.stdin.write(b"\n")
        line = await process.stdout.readline()
        after = clock()
        middle, half = (before + after) / 2, (after - before) / 2
        found.append((half, max(0.0, abs(float(line) - middle) - half)))
    return min(found)[1]
