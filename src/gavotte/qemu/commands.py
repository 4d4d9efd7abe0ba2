"""QMP's commands as methods: `await Commands(client).query_status()`.

The stub beside this file gives each its type; `make stubs` writes it from `query-qmp-schema` of the newest QEMU. Here
nothing is listed but what a Python name can't tell: which names of QEMU's hold an underscore. There won't be new ones:
its qapi/pragma.json lists those that may have one.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from gavotte.errors import QmpRefused
from gavotte.qemu.props import Json, PropertyMap, plain
from gavotte.qmp.client import Deadline, QmpClient

__all__ = ["Commands", "argument_of", "command_of", "execute", "python_name"]

# What query-qmp-schema tells, by name.
_Entities: TypeAlias = dict[str, dict[str, Any]]

_UNDERSCORED_COMMAND = re.compile(
    "add_client|block_(resize|set_io_throttle)|client_migrate_info|(device|netdev)_(add|del)|expire_password"
    "|migrate_cancel|qmp_capabilities|set_(link|password)|system_(powerdown|reset|wakeup)"
)
_UNDERSCORED_ARGUMENT = re.compile(
    "(bps|iops)(_rd|_wr|_size)?(_max(_length)?)?|compare_timeout|expired_scan_cycle|grab_all|max_queue_size|notify_dev"
    "|(primary|secondary)_in|vnet_hdr(_support)?"
)

# A device has properties of its own, beside what the schema lists, and some are spelt with an underscore.
_OPEN = "device_add"


class Commands:
    """The commands of one monitor; what each answers is given as it was decoded.

    A name's `-` is written `_`, also in arguments, and a word of Python's gets a `_` behind it (`if_`). The properties
    of `device_add` keep QEMU's spelling: `device_add(driver="virtio-rng-pci", **{"disable-legacy": "on"})`.
    Calling the object sets what goes with a command: `qmp(deadline=300).dump_guest_memory(…)`, `qmp(fds=[4]).getfd(…)`.

    A command raises what `QmpClient.execute` does. Where this QEMU has no such command, or no such argument, the
    QmpRefused says so with its version; that is found out when it refuses, so it costs nothing before.
    """

    def __init__(
        self, client: QmpClient, *, deadline: float = Deadline.NORMAL, fds: Sequence[int] = (), oob: bool = False
    ) -> None:
        self._client = client
        self._deadline = deadline
        self._fds = fds
        self._oob = oob

    def __call__(self, *, deadline: float = Deadline.NORMAL, fds: Sequence[int] = (), oob: bool = False) -> Commands:
        return Commands(self._client, deadline=deadline, fds=fds, oob=oob)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Json]]:
        if name.startswith("_"):  # not a command, but what copy, pickle and debuggers look for
            raise AttributeError(name)
        command = command_of(name)

        async def method(**named: Json) -> Json:
            arguments = {argument_of(command, key): value for key, value in named.items()}
            return await execute(
                self._client, command, arguments, deadline=self._deadline, fds=self._fds, oob=self._oob
            )

        return method


async def execute(
    client: QmpClient,
    command: str,
    arguments: PropertyMap,
    *,
    deadline: float = Deadline.NORMAL,
    fds: Sequence[int] = (),
    oob: bool = False,
    final: bool = False,
) -> Json:
    """Gives QEMU's answer, as `QmpClient.execute`, to a command in QEMU's own words.

    Raises what that does; where this QEMU has no such command or argument, the QmpRefused says so. Raises UsageError as
    `plain` does.
    """
    checked = plain(arguments)
    try:
        return await client.execute(command, checked, deadline=deadline, fds=fds, oob=oob, final=final)
    except QmpRefused as refusal:
        raise await _explain(client, refusal, list(checked)) from None


async def _explain(client: QmpClient, refusal: QmpRefused, arguments: list[str]) -> QmpRefused:
    """The same refusal; or, where this QEMU lacks what was asked of it, one that says so."""
    if refusal.error_class == "CommandNotFound":
        commands = [name for name, entity in (await _entities(client)).items() if entity["meta-type"] == "command"]
        if refusal.command not in commands:  # else it is only the wrong time for it
            return _lacking(client, refusal, f"no command {refusal.command!r}", refusal.command, commands)
    elif refusal.command != _OPEN and any(f"'{name}'" in refusal.desc for name in arguments):
        known = _argument_names(await _entities(client), refusal.command)
        for name in arguments:
            if name not in known:
                return _lacking(client, refusal, f"no argument {name!r} of {refusal.command}", name, known)
    return refusal


async def _entities(client: QmpClient) -> _Entities:
    schema: Any = await client.execute("query-qmp-schema")
    return {entity["name"]: entity for entity in schema}


def _lacking(client: QmpClient, refusal: QmpRefused, what: str, name: str, known: list[str]) -> QmpRefused:
    version = client.greeting.version.get("qemu")
    parts = [version.get(part) for part in ("major", "minor", "micro")] if isinstance(version, dict) else ["?"]
    number = ".".join(map(str, parts))
    lack = QmpRefused(refusal.command, refusal.error_class, f"this QEMU, version {number}, has {what}")
    import difflib

    close = difflib.get_close_matches(name, known, 1)
    lack.hint = f"did you mean {close[0]!r}?" if close else "a newer QEMU may have it"
    return lack


def command_of(name: str) -> str:
    """QEMU's name of the command that Python calls `name`."""
    return name if _UNDERSCORED_COMMAND.fullmatch(name) else _dashed(name)


def argument_of(command: str, name: str) -> str:
    """QEMU's name of the command's argument that Python calls `name`."""
    if command == _OPEN or _UNDERSCORED_ARGUMENT.fullmatch(name):
        return name
    return _dashed(name)


def python_name(name: str) -> str:
    """What Python calls a command or an argument of QEMU's."""
    name = name.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _dashed(name: str) -> str:
    bare = name.removesuffix("_")
    return (bare if keyword.iskeyword(bare) else name).replace("_", "-")


def _argument_names(entities: _Entities, command: str) -> list[str]:
    """The names that a command's arguments may have, those of all its variants included."""
    arguments = entities[entities[command]["arg-type"]]
    structs = [arguments, *(entities[variant["type"]] for variant in arguments.get("variants", ()))]
    return [member["name"] for struct in structs for member in struct["members"]]
