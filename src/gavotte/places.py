"""Where Gavotte's files are, and those that are named from the working directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gavotte.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["absolute", "cache_directory", "cache_path"]


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


def absolute(path: str | os.PathLike[str]) -> str:
    """`path` from the root on, with nothing resolved. Raises HostError for one that is relative to a directory which is
    no more: getcwd(2) fails then."""
    text = os.fspath(path)
    if text.startswith("/"):
        return text
    try:
        return os.path.join(os.getcwd(), text)
    except FileNotFoundError:
        raise HostError(
            f"{text!r} is relative to the working directory, which was removed",
            hint="cd to a directory that is there, or give the path from / on",
        ) from None
