"""A recipe told to a QEMU that runs, and taken back: in reverse, and as far as it got when a step fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gavotte.errors import (
    InvalidMachine,
    OutcomeUnknown,
    QemuError,
    QmpNotSent,
    QmpRefused,
    UnplugRefused,
    UsageError,
)
from gavotte.qemu.plug.chardev import chardev_backends, check_chardev
from gavotte.qemu.plug.lent import label, lent, with_sets
from gavotte.qemu.props import Fd, Recipe, Step, plain
from gavotte.qemu.shape import within
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.wire import Json

if TYPE_CHECKING:
    from gavotte.qemu.schema import Schema

__all__ = ["plug", "remove_device", "unplug"]

_DELETED = "DEVICE_DELETED"
_GUEST_ERROR = "DEVICE_UNPLUG_GUEST_ERROR"

# What adds, what removes, and the key that names the thing to both.
_COMMANDS = {
    "object": ("object-add", "object-del", "id"),
    "netdev": ("netdev_add", "netdev_del", "id"),
    "blockdev": ("blockdev-add", "blockdev-del", "node-name"),
    "chardev": ("chardev-add", "chardev-remove", "id"),
    "device": ("device_add", "device_del", "id"),
}

# QEMU has no class for this refusal (qdev_unplug in system/qdev-monitor.c), so its words have to do.
_PENDING = "already in the process of unplug"


@dataclass(frozen=True, slots=True)
class _Action:
    """One command that adds, and the one that takes it back."""

    index: int
    title: str
    command: str
    arguments: dict[str, Json]
    undo: str
    target: dict[str, Json]
    named: tuple[Fd, ...] = ()
    sets: tuple[Fd, ...] = ()

    def __str__(self) -> str:
        return f"step {self.index} ({self.title})"


async def plug(
    client: QmpClient, recipe: Recipe, schema: Schema | None = None, *, deadline: float = Deadline.NORMAL
) -> tuple[Json, ...]:
    """Tells QEMU all steps, in order; gives its answers, such as {"pty": "/dev/pts/3"} of a chardev.

    With a schema, each step is checked before anything happens, and its values get the types that the binary wants.
    When a step fails or this is cancelled, all that was done is undone; a device that is to go again has `deadline`
    seconds for it. The error names the step, and what couldn't be undone.

    Raises InvalidMachine before anything happened, with all problems, for what can't be told to a QEMU that runs;
    QmpRefused, QmpNotSent and OutcomeUnknown of the step that failed.
    """
    actions = _actions(recipe, lambda step: _addable(step, schema))
    answers: list[Json] = []
    for count, action in enumerate(actions):
        try:
            answers.append(await _act(client, action))
        except BaseException as error:
            surely_not = isinstance(error, QmpRefused | QmpNotSent)
            problems = await _roll_back(client, actions[:count], None if surely_not else action, deadline)
            if isinstance(error, QemuError):
                _explain(error, action, problems)
            raise
    return tuple(answers)


async def unplug(client: QmpClient, recipe: Recipe, *, deadline: float = Deadline.NORMAL) -> None:
    """Takes back all steps, the last one first. A device is gone when QEMU says so, within `deadline` seconds.

    A device that is gone already is no error: the guest may have let it go late. The first step that can't be undone
    ends it, since what comes before is still in use; the error names it. The steps after it are gone, so what remains
    to be tried again is the recipe up to it.

    Raises InvalidMachine before anything happened; QmpRefused; UnplugRefused; QmpNotSent; OutcomeUnknown, also for a
    device that isn't gone at the deadline.
    """
    for action in reversed(_actions(recipe)):
        try:
            await _undo(client, action, deadline)
        except QemuError as error:
            if action.index + 1 < len(recipe):
                error.hint = error.hint or "what was plugged after it is gone; try again without that"
            _explain(error, action, None)
            raise


async def remove_device(client: QmpClient, id: str, *, deadline: float = Deadline.NORMAL) -> None:
    """Asks for the removal of a device and returns when it is gone (the event DEVICE_DELETED).

    If its removal was asked for before, this waits for that one.

    Raises QmpRefused; UnplugRefused, when it is the guest who refuses; QmpNotSent; OutcomeUnknown when it isn't gone
    within `deadline` seconds.
    """
    with client.events(_DELETED, _GUEST_ERROR) as events:  # before the command: the event may come with its answer
        try:
            async with asyncio.timeout(deadline):
                await _ask_to_go(client, id)
                async for event in events:
                    if event.data.get("device") == id:
                        if event.name == _GUEST_ERROR:
                            raise UnplugRefused(id)
                        return
        except TimeoutError:
            late = OutcomeUnknown("device_del", f"{id!r} is not gone after {deadline:g} s")
            late.hint = "it goes when a guest that runs agrees; try again, or give it more time"
            raise late from None
    raise OutcomeUnknown("device_del", f"the connection ended before {id!r} was gone")


async def _ask_to_go(client: QmpClient, id: str) -> None:
    try:
        await client.execute("device_del", {"id": id})
    except QmpRefused as error:
        if _PENDING not in error.desc:
            raise


def _actions(recipe: Recipe, prepare: Callable[[Step], Step] = lambda step: step) -> list[_Action]:
    """Gives all commands, so that nothing has happened yet when a step can't be one. Raises InvalidMachine."""
    found: list[_Action] = []
    problems: list[UsageError] = []
    for index, step in enumerate(recipe):
        try:
            _check_kind(step)
            found += _commands(index, prepare(step))
        except UsageError as error:
            each = error.problems if isinstance(error, InvalidMachine) else (error,)
            problems += (within(f"recipe[{index}]", problem) for problem in each)
    if problems:
        raise InvalidMachine(problems)
    return found


def _addable(step: Step, schema: Schema | None) -> Step:
    """Gives the step with the values that the binary wants. Raises UsageError and InvalidMachine."""
    if step.kind == "chardev":
        check_chardev(step.props)
    if schema is None:
        return step
    from gavotte.qemu.check import check_step  # loads the checker only where there is something to check with

    return check_step(step, schema, hot=True)


def _check_kind(step: Step) -> None:
    if step.kind == "fsdev":
        raise UsageError(
            "QMP has no command for an fsdev: it can't be added or removed while QEMU runs",
            hint="give it at start, or share the directory by vhost-user-fs, whose chardev can be added",
        )


def _commands(index: int, step: Step) -> list[_Action]:
    add, remove, key = _COMMANDS[step.kind]
    if not isinstance(step.props.get(key), str):
        raise UsageError(f"without {key!r} it couldn't be removed again", hint=f"add {key!r} to its map")
    props = plain(step.props)
    arguments = [props]
    if step.kind == "chardev":
        arguments = [{"id": id, "backend": backend} for id, backend in chardev_backends(props).items()]
    actions = [_Action(index, f"{step.kind} {props[key]!r}", add, each, remove, {key: each[key]}) for each in arguments]
    named, sets = lent(step)
    return [replace(actions[0], named=named, sets=sets), *actions[1:]]


async def _act(client: QmpClient, action: _Action) -> Json:
    """Sends the fds, then the command. QEMU keeps an fd by its name until a command takes it."""
    sets: dict[str, str] = {}
    sent: list[Fd] = []
    try:
        for fd in action.named:
            sent.append(fd)
            await client.execute("getfd", {"fdname": fd.name}, fds=[fd.number])
        for fd in action.sets:
            match await client.execute("add-fd", {"opaque": label(fd)}, fds=[fd.number]):
                case {"fdset-id": int(number)}:
                    sets[fd.name] = str(number)
        arguments = {key: with_sets(value, sets) for key, value in action.arguments.items()}
        return await client.execute(action.command, arguments)
    except BaseException:
        for fd in sent:
            await _forgive(client, "closefd", {"fdname": fd.name})
        await _remove_sets(client, action.sets)
        raise


async def _roll_back(client: QmpClient, done: Sequence[_Action], unsure: _Action | None, deadline: float) -> list[str]:
    """Undoes; gives what couldn't be undone. Of the step whose outcome is unknown, nothing may be there to undo."""
    problems: list[str] = []
    for action in (*((unsure,) if unsure else ()), *reversed(done)):
        try:
            await _undo(client, action, deadline)
        except QmpRefused as error:
            if action is not unsure:
                problems.append(f"{action}: {error.message}")
        except QemuError as error:
            problems.append(f"{action}: {error.message}")
    return problems


async def _undo(client: QmpClient, action: _Action, deadline: float) -> None:
    if action.undo == "device_del":
        try:
            await remove_device(client, str(action.target["id"]), deadline=deadline)
        except QmpRefused as error:
            if error.error_class != "DeviceNotFound":
                raise
    else:
        await client.execute(action.undo, action.target)
    await _remove_sets(client, action.sets)


async def _remove_sets(client: QmpClient, fds: Sequence[Fd]) -> None:
    """Closes the members of fd sets that are ours by their label; QEMU holds on to those that are in use."""
    labels = {label(fd) for fd in fds}
    if not labels:
        return
    listing = await _forgive(client, "query-fdsets", {})
    for fdset in listing if isinstance(listing, list) else ():
        match fdset:
            case {"fdset-id": int(number), "fds": [{"fd": int(fd), "opaque": str(opaque)}]} if opaque in labels:
                await _forgive(client, "remove-fd", {"fdset-id": number, "fd": fd})


async def _forgive(client: QmpClient, command: str, arguments: dict[str, Json]) -> Json:
    """Sends a command that tidies up; that it fails (QEMU took the fd, the connection ended) matters to nobody."""
    try:
        return await client.execute(command, arguments, deadline=Deadline.QUICK)
    except QemuError:
        return None


def _explain(error: QemuError, action: _Action, problems: list[str] | None) -> None:
    """Has the error name its step, and say what became of the others. It stays the error that it is."""
    text = f"{action}: {error.message}"
    if problems:
        text += f"; and then couldn't be undone: {'; '.join(problems)}"
    elif problems is not None and action.index:
        text += "; the steps before it were undone"
    error.message = text
    error.args = (text,)
