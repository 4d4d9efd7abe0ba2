"""Why a machine isn't there any more, as the error to raise."""

from __future__ import annotations

import signal

from gavotte.errors import GavotteError, GuestDied, QemuError
from gavotte.hypervisor.qemu.state import Life
from gavotte.qemu.process import UNKNOWN_STATUS, QemuProcess
from gavotte.qemu.tail import QUOTED, Tail

__all__ = ["console_words", "explain_exit"]


def explain_exit(process: QemuProcess, life: Life, console: Tail | None) -> GavotteError:
    """The end of a process that nobody here has ended: the guest's own doing, or what QEMU said last."""
    status, shutdown = process.returncode, life.shutdown
    if status is None:
        return QemuError("the connection to QEMU broke, and it still runs")
    if life.panic is None and shutdown is not None and shutdown.reason.startswith("host-"):
        what = f"QEMU was told to end ({shutdown.reason}), and not by Gavotte"
        return process.exited_error(what, hint="see who ends processes on this host")
    if status == 0 or (status == UNKNOWN_STATUS and shutdown is not None):
        return GuestDied(
            life.words(console.text if console else ""),
            ending=console_words(console),
            console=console.last_lines() if console else "",
            hint="the console's last lines above say what the guest's kernel met; "
            "a panic at start often means too little memory",
        )
    hint = "its last words above say why; `gavotte check` looks at QEMU"
    if status == -signal.SIGBUS:
        hint = "a file that its memory was in, such as a template's, was cut off, or its disk is full"
    return process.exited_error("QEMU ended", hint=hint)


def console_words(console: Tail | None) -> str:
    """The end of the console as a clause of an error's text."""
    lines = console.last_lines(QUOTED) if console else ""
    return f"the end of its console:\n{lines}" if lines else "its console is empty"
