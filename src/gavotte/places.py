"""Where Gavotte's files are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["cache_directory", "cache_path"]


def cache_path() -> str:
    """What can be made again, and is kept until somebody removes it (XDG Base Directory Specification, by which a
    relative path counts for nothing). Raises FileNotFoundError without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        home = os.path.expanduser("~")
        if home == "~":
            raise FileNotFoundError("there is no home directory")
        base = f"{home.rstrip('/')}/.cache"
    return f"{base}/gavotte"


def cache_directory() -> Path:
    """The same, as a Path."""
    from pathlib import Path  # who has no time to lose does without

    return Path(cache_path())
