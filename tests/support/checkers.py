"""The programs that judge the code, run one at a time: mypy's cache is the whole checkout's, and takes one writer."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "checker"]

ROOT = Path(__file__).parents[2]


def checker(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one of them to its end, with the settings of this checkout."""
    with (ROOT / "pyproject.toml").open() as settings:
        fcntl.flock(settings, fcntl.LOCK_EX)  # the tests that use it may be in two processes
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
        )
