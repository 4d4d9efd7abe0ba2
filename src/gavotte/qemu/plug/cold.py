"""A recipe as arguments of a QEMU that is about to start."""

from __future__ import annotations

import os

from gavotte.errors import HostError
from gavotte.qemu.descriptors import with_numbers
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.plug.lent import label, lent, with_sets
from gavotte.qemu.props import Fd, Recipe, Step, option_to_argv, plain

__all__ = ["cold"]


def cold(recipe: Recipe, ledger: FdLedger) -> list[str]:
    """Gives the arguments that make all steps, in order, with the number that the child sees for each fd they lend.

    The child gets copies through `ledger`; the caller's own descriptors stay open. An fd set is numbered as its fd.

    Raises UsageError for what can't be written, HostError when there are no fds left, StateError when the ledger is
    spent.
    """
    return [word for step in recipe for word in _step(step, ledger)]


def _step(step: Step, ledger: FdLedger) -> list[str]:
    named, sets = lent(step)
    numbers = {fd.name: _give(fd, step, ledger) for fd in named}
    members = {fd: _give(fd, step, ledger) for fd in sets}
    argv: list[str] = []
    for fd, number in members.items():
        argv += option_to_argv("add-fd", {"fd": number, "set": number, "opaque": label(fd.name)})
    files = {fd.name: str(number) for fd, number in members.items()}
    props = {key: with_sets(value, files) for key, value in plain(step.props).items()}
    return argv + option_to_argv(step.kind, with_numbers(props, numbers))


def _give(fd: Fd, step: Step, ledger: FdLedger) -> int:
    try:
        copy = os.dup(fd.number)
    except OSError as e:
        raise HostError(f"can't lend fd {fd.number} as {fd.name!r}: {e.strerror}", hint="is it still open?") from e
    return ledger.give(copy, f"{fd.name} of {step.kind}")
