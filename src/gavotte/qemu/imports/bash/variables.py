"""The variables of a script, as far as they are known."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from gavotte.qemu.imports.bash.grammar import Untold, refused

__all__ = ["Value", "Variables"]

Value: TypeAlias = bytes | list[bytes] | str
"""Text, an array, or, of what isn't known, the reason."""

# Those that bash computes, or acts on (bash(1), Shell Variables).
_SPECIAL = re.compile(
    rb"_|BASH\w*|COMP_\w+|DIRSTACK|EPOCH\w+|EUID|FUNCNAME|GLOBIGNORE|GROUPS|HISTCMD|IFS|LANG|LC_\w+|LINENO|PIPESTATUS"
    rb"|POSIXLY_CORRECT|PPID|RANDOM|SECONDS|SHELLOPTS|SRANDOM|UID"
)
_ENVIRONMENT: Final = "the script doesn't set it, and the environment may"


class Variables:
    """Names and values. What was never set here may be in the environment, so it isn't known either."""

    def __init__(self) -> None:
        self._values: dict[bytes, Value] = {}
        self._readonly: set[bytes] = set()

    def copy(self) -> Variables:
        """Gives what a subshell begins with."""
        other = Variables()
        other._values = {
            name: list(value) if isinstance(value, list) else value for name, value in self._values.items()
        }
        other._readonly = set(self._readonly)
        return other

    def get(self, name: bytes, line: int) -> bytes | list[bytes]:
        """Gives the value. Raises Untold for one that isn't known."""
        value = self._values.get(name, _ENVIRONMENT)
        if isinstance(value, str):
            raise Untold(f"${name.decode()}", value, line)
        return value

    def set(self, name: bytes, value: Value, line: int, *, more: bool = False) -> None:
        """Sets it as `name=value` does, with `more` as `name+=value`. Raises UsageError where bash does something else.

        Text for what is an array is its first element, and an array added to text has that text as its first.
        """
        self._check(name, line)
        old = self._values.get(name, _ENVIRONMENT)
        if isinstance(value, str):
            self._values[name] = value
        elif isinstance(old, str):
            # `x+=y` needs the old value, and `x=y` as well if it was an array.
            unknown = more or (old != _ENVIRONMENT and isinstance(value, bytes))
            self._values[name] = old if unknown else value
        elif isinstance(value, list):
            before = old if isinstance(old, list) else [old]
            self._values[name] = [*before, *value] if more else value
        elif isinstance(old, list):
            first = (old[0] if old else b"") + value if more else value
            self._values[name] = [first, *old[1:]]
        else:
            self._values[name] = old + value if more else value

    def forget(self, name: bytes, why: str, line: int) -> None:
        """Takes the value away, for the reason given."""
        self._check(name, line)
        self._values[name] = why

    def protect(self, name: bytes) -> None:
        """Makes it read-only: a later assignment is an error of the script's."""
        self._readonly.add(name)

    def _check(self, name: bytes, line: int) -> None:
        if _SPECIAL.fullmatch(name):
            raise refused(f"{name.decode()} is a variable that changes how bash itself works", line)
        if name in self._readonly:
            raise refused(f"{name.decode()} is read-only, and set again", line)
