"""The `--env` of commands."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gavotte.errors import UsageError

__all__ = ["read_environment"]


def read_environment(entries: Sequence[str]) -> dict[str, str]:
    """`K=V` sets, `K` passes this process's own value through, or nothing if it has none."""
    env = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name:
            raise UsageError(f"{entry!r} has no name", path="env", hint="write NAME=VALUE, or NAME to pass it through")
        if equals:
            env[name] = value
        elif name in os.environ:
            env[name] = os.environ[name]
    return env
