"""Whose a sandbox's directory is: the record by which another process finds out whether its owner lives."""

from __future__ import annotations

import json
import os
import stat

from gavotte.qemu.pids import ProcessId

__all__ = ["OWNER", "is_ours_alone", "write_owner"]

OWNER = "owner.json"


def is_ours_alone(directory: str | os.PathLike[str]) -> bool:
    """Whether it is this user's, and nobody else can write to it: what lies there is trusted. Raises OSError."""
    status = os.lstat(directory)
    return status.st_uid == os.getuid() and not stat.S_ISLNK(status.st_mode) and not status.st_mode & 0o022


def write_owner(directory: str | os.PathLike[str], owner: ProcessId) -> None:
    """Have it say so. Raises OSError."""
    path = os.path.join(directory, OWNER)
    with open(f"{path}.new", "w") as file:
        json.dump(owner._asdict(), file)
    os.replace(f"{path}.new", path)
