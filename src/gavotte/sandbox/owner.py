"""Whose a sandbox's directory is: the record by which another process finds out whether its owner lives."""

from __future__ import annotations

import json
import os

from gavotte.qemu.pids import ProcessId

__all__ = ["OWNER", "write_owner"]

OWNER = "owner.json"


def write_owner(directory: str | os.PathLike[str], owner: ProcessId) -> None:
    """Have it say so. Raises OSError."""
    path = os.path.join(directory, OWNER)
    with open(f"{path}.new", "w") as file:
        json.dump(owner._asdict(), file)
    os.replace(f"{path}.new", path)
