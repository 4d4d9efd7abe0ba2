"""Everything that Gavotte raises on purpose, as one tree.

GavotteError                 message, hint (what to do next), exit_code for the command line
├── UsageError               what was asked for is malformed; `path` names the culprit   (yours, exit 2)
│   └── InvalidMachine       a machine file or a step of it that the QEMU binary wouldn't take; all problems at once
│   └── NoSuchSandbox        no sandbox has that name
├── StateError               the right call at the wrong time; the message names the way out
│   ├── ForeignProcess       a sandbox was used in a process that didn't make it
│   ├── InUse                a name that is taken, or a machine that another process manages
│   └── PoolBusy             a pool had no sandbox to hand over before the deadline
├── HostError                this machine lacks something                              (the host's)
│   ├── ImageError           the guest image is missing, damaged or can't be built
│   ├── QemuNotFound         no QEMU binary
│   ├── Unsupported          this binary, machine type or accelerator can't; nothing happened
│   └── StateTooNew          what was saved is of a later version than this Gavotte knows
├── QemuError                QEMU said no, or went away                                (QEMU's)
│   ├── QmpRefused           QEMU answered a command with an error: it had no effect
│   ├── UnplugRefused        the guest doesn't let a device go: it is still there
│   ├── SaveFailed           a machine wasn't saved or loaded whole; one that was saved goes on
│   ├── QmpNotSent           the command never left this process: it had no effect
│   ├── OutcomeUnknown       sent, and no answer will come: it may have had its effect
│   ├── QmpProtocolError     what came over the wire is not QMP
│   └── QemuExited           the process ended; exit status, last stderr lines, command line
├── GuestError               the guest, or what runs in it                             (the guest's)
│   ├── GuestDied            panic, reset or power-off that nobody asked for
│   ├── GuestSilent          no sign of life before the deadline; carries the console's tail
│   ├── AgentError           the agent refused a request, or broke the protocol
│   ├── CommandNotStarted    not found (exit 127), not executable (exit 126)
│   ├── CommandTimeout       the command was ended at its deadline (exit 124)
│   ├── CommandLost          the command's outcome is unknown: what ran it has gone
│   ├── CommandFailed        raised by `Result.check()`
│   └── FunctionFailed       a Python function raised in the guest, or ended without a result
└── Bug                      an invariant of ours is broken; please report
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AgentError",
    "Bug",
    "CommandFailed",
    "CommandLost",
    "CommandNotStarted",
    "CommandTimeout",
    "ForeignProcess",
    "FunctionFailed",
    "GavotteError",
    "GuestDied",
    "GuestError",
    "GuestSilent",
    "HostError",
    "ImageError",
    "InUse",
    "InvalidMachine",
    "NoSuchSandbox",
    "OutcomeUnknown",
    "PoolBusy",
    "QemuError",
    "QemuExited",
    "QemuNotFound",
    "QmpNotSent",
    "QmpProtocolError",
    "QmpRefused",
    "SaveFailed",
    "StateError",
    "StateTooNew",
    "UnplugRefused",
    "Unsupported",
    "UsageError",
]


LONGEST_MESSAGE = 600  # characters; more would bury the hint


def _shortened(text: str) -> str:
    """`text` without its middle where it is too long: the culprit is named first, and the reason last."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    return f"{text[: LONGEST_MESSAGE - 203]} … {text[-200:]}"


class GavotteError(Exception):
    """Base of all. `str()` is the message alone; the command line prints `hint` below it.

    Both have 600 characters at most. `argv` is the command line of the process that failed, where one did.
    """

    exit_code = 125
    argv: tuple[str, ...] = ()

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = _shortened(message)
        self.hint = _shortened(hint)
        super().__init__(self.message)


class UsageError(GavotteError):
    """What was asked for is malformed. `path` names the culprit in the caller's own input."""

    exit_code = 2

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, hint=hint)
        self.path = path
        self.problem = _shortened(message)


class InvalidMachine(UsageError):
    """What was described can't be: each of `problems` names its culprit by `path`, and may have a `hint` of its own.

    The message has a line for each of them, so it may be longer than that of others.
    """

    def __init__(self, problems: Sequence[UsageError], *, hint: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__("", hint=hint or next((p.hint for p in problems if p.hint), ""))
        self.message = self.problem = "\n".join(map(str, self.problems))
        self.args = (self.message,)


class NoSuchSandbox(UsageError):
    """No sandbox of this user has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no sandbox {name!r}", path="name", hint="gavotte ps lists those there are")


class StateError(GavotteError):
    """The right call at the wrong time; the message names the way out."""


class ForeignProcess(StateError):
    """A sandbox was used in a process that didn't make it, such as a forked child."""


class InUse(StateError):
    """A name that is taken, or a machine that another process manages."""


class PoolBusy(StateError):
    """A pool had no sandbox to hand over before the deadline: all are in use or still being started."""


class HostError(GavotteError):
    """This machine lacks something that is needed."""


class ImageError(HostError):
    """The guest image is missing, damaged or can't be built."""

    def __init__(self, message: str, *, argv: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.argv = tuple(argv)


class QemuNotFound(HostError):
    """There is no QEMU binary where one was looked for."""


class Unsupported(HostError):
    """This QEMU binary, machine type or accelerator hasn't `ability`; nothing happened."""

    def __init__(self, ability: str, why: str, *, hint: str = "") -> None:
        super().__init__(f"{ability}: {why}", hint=hint)
        self.ability = ability


class StateTooNew(HostError):
    """What was saved has a later version than the latest that this Gavotte knows."""

    def __init__(self, what: str, found: int, known: int) -> None:
        super().__init__(
            f"{what} is of version {found}; this Gavotte knows versions up to {known}",
            hint="use the Gavotte that wrote it, or a later one",
        )
        self.found = found
        self.known = known


class QemuError(GavotteError):
    """QEMU refused, broke off or ended."""


class QmpRefused(QemuError):
    """QEMU answered `command` with an error; the command had no effect.

    `error_class` and `desc` are QEMU's own (QMP specification, section 2.4.2).
    """

    def __init__(self, command: str, error_class: str, desc: str) -> None:
        super().__init__(f"QEMU refused {command}: {desc}")
        self.command = command
        self.error_class = error_class
        self.desc = desc


class UnplugRefused(QemuError):
    """QEMU asked the guest to let `device` go, and the guest refused (the event DEVICE_UNPLUG_GUEST_ERROR)."""

    def __init__(self, device: str) -> None:
        super().__init__(
            f"the guest doesn't let {device!r} go", hint="see what uses it in the guest, end that, and try again"
        )
        self.device = device


class SaveFailed(QemuError):
    """A machine wasn't saved, or loaded, whole. One that was to be saved goes on as before."""


class QmpNotSent(QemuError):
    """The command never left this process; it had no effect."""


class OutcomeUnknown(QemuError):
    """The command was sent and no answer will come: it may or may not have had its effect."""

    def __init__(self, command: str, why: str) -> None:
        super().__init__(f"the outcome of {command} is unknown: {why}")
        self.command = command


class QmpProtocolError(QemuError):
    """What came over the wire is not QMP."""


class QemuExited(QemuError):
    """The QEMU process ended. `returncode` as in `subprocess`: negative is a signal."""

    def __init__(self, message: str, *, returncode: int, stderr: str, argv: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.stderr = stderr
        self.argv = argv


class GuestError(GavotteError):
    """The guest, or what runs in it, failed.

    `reason` is the message without its `ending`, which quotes the end of the guest's console where that says more.
    `console` is the tail of what was printed there, or empty.
    """

    def __init__(self, reason: str, *, ending: str = "", console: str = "", hint: str = "") -> None:
        super().__init__(f"{reason}; {ending}" if ending else reason, hint=hint)
        self.reason = reason
        self.console = console


class GuestDied(GuestError):
    """The guest panicked, reset or powered off without being asked to."""


class GuestSilent(GuestError):
    """The guest gave no sign of life before the deadline."""


class AgentError(GuestError):
    """The agent refused a request, or what it sent breaks the protocol."""


class CommandNotStarted(GuestError):
    """The command could not be started.

    `exit_code` is 127 (not found) or 126 (not executable), as in a shell; 125 when its user or directory is missing.
    """

    def __init__(self, message: str, *, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class CommandTimeout(GuestError):
    """The command was ended at its deadline; what it had written until then is in `stdout` and `stderr`."""

    exit_code = 124

    def __init__(self, message: str, *, stdout: bytes = b"", stderr: bytes = b"", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.stdout = stdout
        self.stderr = stderr


class CommandLost(GuestError):
    """The command's outcome is unknown: what ran it has gone."""


class CommandFailed(GuestError):
    """A command ended with a status other than 0; raised by `Result.check()`."""

    def __init__(self, message: str, *, returncode: int, stdout: bytes, stderr: bytes) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class FunctionFailed(GuestError):
    """A Python function raised in the guest, or ended without a result.

    `kind` is the name of the exception's type, such as "ValueError"; empty where there was none. `traceback` is the
    guest's text of it, and `output` the last of what the function printed; both are fit to be shown.
    """

    def __init__(self, message: str, *, kind: str = "", traceback: str = "", output: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback
        self.output = output
        if traceback:
            self.add_note(f"in the guest:\n{traceback}")


class Bug(GavotteError):
    """An invariant of Gavotte's own is broken; please report it."""
