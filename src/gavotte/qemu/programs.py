"""Programs of this host, found as a shell finds them."""

from __future__ import annotations

import os

from gavotte.errors import HostError
from gavotte.places import absolute

__all__ = ["tool", "which"]


def which(name: str) -> str | None:
    """Gives the executable that `name` stands for on PATH; None if there is none.

    A name with a slash in it is a path, looked at as it is.
    """
    folders = [""] if "/" in name else os.get_exec_path()
    candidates = (os.path.join(folder, name) for folder in folders)
    found = next((path for path in candidates if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    return None if found is None else os.path.normpath(absolute(found))


def tool(name: str, package: str = "util-linux") -> str:
    """Gives the path of a program that has to be there. Raises HostError, which names its Debian package."""
    found = which(name)
    if found is None:
        raise HostError(f"{name} is not on PATH", hint=f"apt-get install {package}")
    return found
