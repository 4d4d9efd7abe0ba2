"""What holds for every error, whatever it is made of: it is short, and says the culprit and the reason."""

from __future__ import annotations

import pytest

from gavotte import errors
from gavotte.errors import LONGEST_MESSAGE, GavotteError

LONG = "culprit" + " x" * 5000 + " reason"

# What each class takes beside its text.
SPECIAL: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
    "CommandFailed": ((LONG,), {"returncode": 1, "stdout": b"", "stderr": b""}),
    "CommandNotStarted": ((LONG,), {"exit_code": 127}),
    "InvalidMachine": (([errors.UsageError(LONG, path="devices[0]"), errors.UsageError(LONG)],), {}),
    "OutcomeUnknown": (("quit", LONG), {}),
    "QemuExited": ((LONG,), {"returncode": 1, "stderr": LONG, "argv": ("qemu", LONG)}),
    "QmpRefused": (("device_add", "GenericError", LONG), {}),
    "StateTooNew": ((LONG, 2, 1), {}),
    "Unsupported": (("clone", LONG), {}),
}
HINTLESS = {"CommandFailed", "FunctionFailed", "NoSuchSandbox", "OutcomeUnknown", "QmpRefused", "StateTooNew"}
HINTLESS |= {"UnplugRefused"}


def make(name: str) -> GavotteError:
    given, named = SPECIAL.get(name, ((LONG,), {}))
    hint = {} if name in HINTLESS else {"hint": LONG}
    error: GavotteError = getattr(errors, name)(*given, **named, **hint)
    return error


@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_is_short_and_says_the_culprit_and_the_reason(name: str) -> None:
    error = make(name)
    lines = error.problems if isinstance(error, errors.InvalidMachine) else [error]
    for line in lines:
        assert len(line.message) <= LONGEST_MESSAGE
        assert len(line.hint) <= LONGEST_MESSAGE
        assert "culprit" in line.message
    assert str(error) == error.message == error.args[0]
    if name not in ("StateTooNew", "UnplugRefused", "NoSuchSandbox"):  # whose texts end with words of their own
        assert error.message.endswith("reason")
    if isinstance(error, errors.UsageError):
        assert len(error.problem) <= LONGEST_MESSAGE * max(1, len(getattr(error, "problems", ())) + 1)


def test_a_text_that_fits_is_left_as_it_is() -> None:
    text = "x" * LONGEST_MESSAGE
    assert GavotteError(text, hint=text).message == GavotteError(text, hint=text).hint == text
    assert len(GavotteError(text + "x").message) == LONGEST_MESSAGE


def test_the_command_line_of_a_process_that_failed_is_kept_whole() -> None:
    error = errors.QemuExited("it ended", returncode=1, stderr=LONG, argv=("qemu", LONG))
    assert (error.argv, error.stderr) == (("qemu", LONG), LONG)
    assert errors.ImageError("it failed", argv=["mmdebstrap", LONG]).argv == ("mmdebstrap", LONG)
    assert errors.UsageError("no").argv == ()
