"""Files that have their name when all of them is on disk, and not before."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["put_in_place"]


def put_in_place(fd: int, draft: Path, path: Path) -> None:
    """Rename `draft`, which was written through `fd`, to `path`; content and name are on disk then.

    Both are in one directory. Raises OSError.
    """
    os.fsync(fd)
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
