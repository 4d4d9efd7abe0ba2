"""A recipe told to a QEMU that runs, and taken back: in reverse, and as far as it got when a step fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gavotte.errors import OutcomeUnknown, QemuError, QmpNotSent, QmpRefused
from gavotte.qemu.plug.actions import Action, actions_of
from gavotte.qemu.plug.chardev import check_chardev
from gavotte.qemu.plug.lent import label, with_sets
from gavotte.qemu.plug.removal import Removal, forgive, remove_sets
from gavotte.qemu.props import Fd, Recipe, Step
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.wire import Json

if TYPE_CHECKING:
    from gavotte.qemu.schema import Schema

__all__ = ["plug", "unplug"]

_TOLD = 0.5  # seconds for a command of which nobody expects that it is answered


async def plug(
    client: QmpClient, recipe: Recipe, schema: Schema | None = None, *, deadline: float = Deadline.NORMAL
) -> tuple[Json, ...]:
    """Tells QEMU all steps, in order; gives its answers, such as {"pty": "/dev/pts/3"} of a chardev.

    With a schema, each step is checked before anything happens, and its values get the types that the binary wants.
    Each step has `deadline` seconds. When one fails or this is cancelled, all that was done is undone; a device that is
    to go again has `deadline` seconds for it, or 5 when this is cancelled. The error names the step, and what couldn't
    be undone.

    Raises InvalidMachine before anything happened, with all problems, for what can't be told to a QEMU that runs;
    QmpRefused, QmpNotSent and OutcomeUnknown of the step that failed.
    """
    actions = actions_of(recipe, lambda step: _addable(step, schema))
    answers: list[Json] = []
    for count, action in enumerate(actions):
        try:
            answers.append(await _act(client, action, deadline))
        except BaseException as error:
            surely_not = isinstance(error, QmpRefused | QmpNotSent)
            patience = deadline if isinstance(error, QmpRefused) else min(deadline, Deadline.QUICK)
            problems = await _roll_back(client, actions[: count + (not surely_not)], patience)
            if isinstance(error, QemuError):
                _explain(error, action, problems)
            raise
    return tuple(answers)


async def unplug(client: QmpClient, recipe: Recipe, *, deadline: float = Deadline.NORMAL) -> None:
    """Takes back all steps, the last one first. A device is gone when QEMU says so, within `deadline` seconds.

    What is gone already is no error: the guest may have let a device go late, or an earlier try may have come this far.
    The first step that can't be undone ends it, since what comes before is still in use; the error names it. The same
    recipe may be tried again.

    Raises InvalidMachine before anything happened; QmpRefused; UnplugRefused; QmpNotSent; OutcomeUnknown, also for a
    device that isn't gone at the deadline.
    """
    actions = actions_of(tuple(step for step in recipe if step.kind != "fsdev"))  # those stay until QEMU's end
    with Removal(client) as removal:
        for action in reversed(actions):
            try:
                await removal.undo(action, deadline)
            except QemuError as error:
                if action is not actions[-1]:
                    error.hint = error.hint or "what was plugged after it is gone; try again"
                _explain(error, action, None)
                raise


def _addable(step: Step, schema: Schema | None) -> Step:
    """Gives the step with the values that the binary wants. Raises UsageError and InvalidMachine."""
    if step.kind == "chardev":
        check_chardev(step.props)
    if schema is None:
        return step
    from gavotte.qemu.check import check_step  # loads the checker only where there is something to check with

    return check_step(step, schema, hot=True)


async def _act(client: QmpClient, action: Action, deadline: float) -> Json:
    """Sends the fds, then the command. QEMU keeps an fd by its name until a command takes it."""
    sets: dict[str, str] = {}
    sent: list[Fd] = []
    try:
        for fd in action.named:
            sent.append(fd)
            await client.execute("getfd", {"fdname": fd.name}, fds=[fd.number], deadline=deadline)
        for fd in action.sets:
            match await client.execute("add-fd", {"opaque": label(fd.name)}, fds=[fd.number], deadline=deadline):
                case {"fdset-id": int(number)}:
                    sets[fd.name] = str(number)
        arguments = {key: with_sets(value, sets) for key, value in action.arguments.items()}
        return await client.execute(action.command, arguments, deadline=deadline)
    except BaseException as error:
        patience = _TOLD if isinstance(error, OutcomeUnknown) else Deadline.QUICK
        for fd in sent:
            await forgive(client, "closefd", {"fdname": fd.name}, patience)
        await remove_sets(client, action.sets, patience)
        raise


async def _roll_back(client: QmpClient, done: Sequence[Action], deadline: float) -> list[str]:
    """Undoes; gives what couldn't be undone. A QEMU that doesn't answer is told all of it, and does it when it can."""
    problems: list[str] = []
    with Removal(client) as removal:
        for action in reversed(done):
            try:
                await removal.undo(action, deadline)
            except QemuError as error:
                problems.append(f"{action}: {error.message}")
                if isinstance(error, OutcomeUnknown) and error.command != "device_del":
                    deadline = min(deadline, _TOLD)
    return problems


def _explain(error: QemuError, action: Action, problems: list[str] | None) -> None:
    """Has the error name its step, and say what became of the others. It stays the error that it is."""
    text = f"{action}: {error.message}"
    if problems:
        text += f"; and then couldn't be undone: {'; '.join(problems)}"
    elif problems is not None and action.index:
        text += "; the steps before it were undone"
    error.message = text
    error.args = (text,)
