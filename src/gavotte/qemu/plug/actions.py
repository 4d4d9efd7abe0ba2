"""A recipe as QMP commands: those that add, and those that take back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gavotte.compat import override
from gavotte.errors import InvalidMachine, UsageError
from gavotte.qemu.plug.chardev import chardev_backends
from gavotte.qemu.plug.lent import lent
from gavotte.qemu.props import Fd, Kind, Recipe, Step, plain
from gavotte.qemu.shape import within
from gavotte.qmp.wire import Json
from gavotte.values import dataclass

__all__ = ["Action", "actions_of"]

# What adds, what removes, and the key that names the thing to both.
_COMMANDS = {
    "object": ("object-add", "object-del", "id"),
    "netdev": ("netdev_add", "netdev_del", "id"),
    "blockdev": ("blockdev-add", "blockdev-del", "node-name"),
    "chardev": ("chardev-add", "chardev-remove", "id"),
    "device": ("device_add", "device_del", "id"),
}


@dataclass(frozen=True, slots=True)
class Action:
    """One command that adds, and the one that takes it back."""

    index: int
    kind: Kind
    id: str
    command: str
    arguments: dict[str, Json]
    undo: str
    target: dict[str, Json]
    named: tuple[Fd, ...] = ()
    sets: tuple[Fd, ...] = ()

    @override
    def __str__(self) -> str:
        return f"step {self.index} ({self.kind} {self.id!r})"


def actions_of(recipe: Recipe, prepare: Callable[[Step], Step] = lambda step: step) -> list[Action]:
    """Gives all commands, so that nothing has happened yet when a step can't be one.

    `prepare` may give another step in place of each. Raises InvalidMachine with all problems.
    """
    found: list[Action] = []
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


def _check_kind(step: Step) -> None:
    if step.kind == "fsdev":
        raise UsageError(
            "QMP has no command for an fsdev: it can't be added or removed while QEMU runs",
            hint="give it at start, or share the directory by vhost-user-fs, whose chardev can be added",
        )


def _commands(index: int, step: Step) -> list[Action]:
    add, remove, key = _COMMANDS[step.kind]
    if not isinstance(step.props.get(key), str):
        raise UsageError(f"without {key!r} it couldn't be removed again", hint=f"add {key!r} to its map")
    props = plain(step.props)
    arguments = [props]
    if step.kind == "chardev":
        arguments = [{"id": id, "backend": backend} for id, backend in chardev_backends(props).items()]
    actions = [Action(index, step.kind, str(each[key]), add, each, remove, {key: each[key]}) for each in arguments]
    named, sets = lent(step)
    return [replace(actions[0], named=named, sets=sets), *actions[1:]]
