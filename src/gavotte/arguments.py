"""What callers give, checked: paths, bytes, numbers, seconds, flags and text.

Each check gives the value in the form in which it is used, or raises UsageError, which names the parameter and the
wanted form. `path` is the parameter's name.
"""

from __future__ import annotations

import os

from gavotte.errors import UsageError

__all__ = [
    "BytesLike",
    "StrPath",
    "check_bytes",
    "check_flag",
    "check_known",
    "check_number",
    "check_path",
    "check_seconds",
    "check_text",
    "check_timeout",
    "wrong",
]

StrPath = str | os.PathLike[str]
_FOR_EVER = 1e9  # seconds: 31 years

BytesLike = bytes | bytearray | memoryview


def wrong(value: object, wanted: str, path: str, *, hint: str = "") -> UsageError:
    """The error for a value that isn't what is `wanted`, such as "a path"."""
    import reprlib  # here, since short commands have no time for it

    return UsageError(f"{reprlib.repr(value)} is not {wanted}", path=path, hint=hint)


def check_path(value: object, path: str) -> str:
    """A path as text. A path of bytes is refused, as it would be lost in JSON."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str) or not text:
        hint = "os.fsdecode() makes text of a path in bytes" if isinstance(text, bytes) else ""
        raise wrong(value, "a path: give text or a pathlib.Path", path, hint=hint)
    return _check_encodable(text, path)


def check_text(value: object, path: str, *, hint: str = "") -> str:
    """Text that a system call takes: it has no NUL, and can be encoded as by os.fsencode()."""
    if not isinstance(value, str):
        raise wrong(value, "text", path, hint="os.fsdecode() makes text of bytes" if isinstance(value, bytes) else hint)
    return _check_encodable(value, path)


def _check_encodable(text: str, path: str) -> str:
    if "\0" in text:
        raise UsageError("there is a NUL in the text", path=path)
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError("the text has a surrogate that stands for no byte", path=path) from None
    return text


def check_bytes(value: object, path: str, *, hint: str = ".encode() makes bytes of text") -> memoryview:
    """Bytes, or what holds some, as one row of single bytes. Nothing is copied."""
    try:
        return memoryview(value).cast("B")  # type: ignore[arg-type]  # it says so itself
    except TypeError:
        raise wrong(value, "bytes", path, hint=hint if isinstance(value, str) else "") from None


def check_number(value: object, least: int, most: int | None, path: str, *, hint: str = "") -> int:
    """A whole number from `least` to `most` (None: without a bound)."""
    fits = isinstance(value, int) and not isinstance(value, bool) and least <= value and (most is None or value <= most)
    if not fits or not isinstance(value, int):
        span = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise wrong(value, f"a number {span}", path, hint=hint)
    return value


def check_seconds(value: object, path: str, *, zero: bool = False) -> float:
    """A number of seconds above 0; with `zero`, 0 is one too. What no float holds is longer than anybody waits."""
    if isinstance(value, int | float) and not isinstance(value, bool) and (value > 0 or (zero and value == 0)):
        return float(min(value, _FOR_EVER))
    raise wrong(value, f"a number of seconds{', 0 or more' if zero else ' above 0'}", path)


def check_timeout(timeout: object, *, zero: bool = False) -> float | None:
    """Seconds to wait at most, or None to wait without an end. See `check_seconds`."""
    return None if timeout is None else check_seconds(timeout, "timeout", zero=zero)


def check_flag(value: object, path: str) -> bool:
    """True or False, and nothing that is only taken for one."""
    if not isinstance(value, bool):
        raise wrong(value, "True or False", path)
    return value


def check_known(name: str, known: frozenset[str]) -> None:
    """Raises UsageError, with the name that was probably meant, for an option that there isn't."""
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
        raise UsageError("there is no such option", path=name, hint=hint)
