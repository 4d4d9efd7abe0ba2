"""A QEMU that something else started: what it is made of, seen through its QMP socket and /proc.

What is sent asks, or does what the caller named; nothing here could stop the machine. Closing the connection leaves
QEMU as it is.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gavotte.errors import HostError, QmpRefused, UsageError
from gavotte.qmp.client import QmpClient
from gavotte.qmp.dial import dial
from gavotte.qmp.wire import Json

if TYPE_CHECKING:
    from gavotte.qemu.binary import QemuBinary

__all__ = ["adopt", "binary_of", "check_process", "overview", "server_pid", "statistics"]

_PERIPHERALS = ("/machine/peripheral", "/machine/peripheral-anon")


@asynccontextmanager
async def adopt(path: str, *, deadline: float = 5.0) -> AsyncIterator[QmpClient]:
    """A connection to the QMP server at a Unix socket's path, closed at the end; QEMU goes on.

    Raises UsageError for what isn't a socket; QmpNotSent when nobody listens there, or no greeting comes within
    `deadline` seconds: QEMU serves one client at a time, and lets the next one wait.
    """
    async with await QmpClient.connect(dial(path), deadline=deadline) as client:
        yield client


def server_pid(path: str) -> int | None:
    """Gives the process that made the socket listen (SO_PEERCRED, unix(7)): QEMU, or who passed it to QEMU; else None.

    Raises UsageError for what isn't a socket, QmpNotSent when nobody listens there.
    """
    with dial(path) as sock:
        pid, _uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid or None  # 0 is a process of another pid namespace


# --- what it is made of -----------------------------------------------------------------------------------------------


async def overview(client: QmpClient) -> dict[str, Json]:
    """Gives what the machine is made of, in QEMU's words. What this QEMU has no command for is None."""
    version = client.greeting.version.get("qemu")
    machine = await _property(client, "/machine", "type")
    memory, blocks, chardevs, cpus, status, name = await asyncio.gather(
        _ask(client, "query-memory-size-summary"),
        _ask(client, "query-named-block-nodes", {"flat": True}),
        _ask(client, "query-chardev"),
        _ask(client, "query-cpus-fast"),
        _ask(client, "query-status"),
        _ask(client, "query-name"),
    )
    return {
        "name": name.get("name") if isinstance(name, dict) else None,
        "version": version,
        "status": status,
        "machine": machine,
        "memory": memory,
        "vcpus": [_part(cpu, "cpu-index", "thread-id", "qom-path") for cpu in _maps(cpus)],
        "objects": await _objects(client),
        "devices": await _devices(client),
        "blocks": [_part(node, "node-name", "drv", "ro", "file") for node in _maps(blocks)],
        "netdevs": await _netdevs(client),
        "chardevs": [_part(chardev, "label", "filename", "frontend-open") for chardev in _maps(chardevs)],
    }


async def _children(client: QmpClient, folder: str) -> dict[str, str]:
    """The type of each thing in a folder of QOM, by its path."""
    entries = _maps(await _ask(client, "qom-list", {"path": folder}))
    types = {f"{folder}/{entry.get('name')}": str(entry.get("type")) for entry in entries}
    return {path: type[len("child<") : -1] for path, type in types.items() if type.startswith("child<")}


async def _devices(client: QmpClient) -> list[Json]:
    """The devices that users named, as a tree: each below the one whose bus it is on."""
    found: dict[str, dict[str, Any]] = {}
    for folder in _PERIPHERALS:
        for path, driver in (await _children(client, folder)).items():
            id = path.rpartition("/")[2] if folder == _PERIPHERALS[0] else None
            found[path] = {"driver": driver, "id": id, "path": path}
    buses = await asyncio.gather(*(_property(client, path, "parent_bus") for path in found))
    tree: list[Json] = []
    for (path, device), bus in zip(found.items(), buses, strict=True):
        device["bus"] = str(bus or "").rpartition("/")[2]
        parent = next((other for other in found if other != path and str(bus).startswith(f"{other}/")), None)
        (tree if parent is None else found[parent].setdefault("devices", [])).append(device)
    return tree


async def _netdevs(client: QmpClient) -> list[Json]:
    """The net back ends that devices use. QMP has no query for them, so one that nobody uses isn't seen."""
    paths = [path for folder in _PERIPHERALS for path in await _children(client, folder)]
    netdevs = await asyncio.gather(*(_property(client, path, "netdev") for path in paths))
    return [{"id": netdev, "device": path} for path, netdev in zip(paths, netdevs, strict=True) if netdev]


async def _objects(client: QmpClient) -> list[Json]:
    """What `-object` made, and what QEMU made of the same kind for itself."""
    return [
        {"qom-type": type, "id": path.rpartition("/")[2]}
        for path, type in (await _children(client, "/objects")).items()
    ]


async def statistics(client: QmpClient) -> dict[str, Json]:
    """Gives what this QEMU counts: blocks, balloon, vCPU times by thread, and `query-stats` where it has that."""
    blocks, balloon, vm, vcpu = await asyncio.gather(
        _ask(client, "query-blockstats", {"query-nodes": True}),
        _ask(client, "query-balloon"),
        _ask(client, "query-stats", {"target": "vm"}),
        _ask(client, "query-stats", {"target": "vcpu"}),
    )
    return {"blocks": blocks, "balloon": balloon, "vm": vm, "vcpu": vcpu}


async def _ask(client: QmpClient, command: str, arguments: Mapping[str, Json] | None = None) -> Json:
    """QEMU's answer; None where it refuses, which an old one or a machine without such a part does."""
    try:
        return await client.execute(command, arguments)
    except QmpRefused:
        return None


async def _property(client: QmpClient, path: str, name: str) -> Json:
    return await _ask(client, "qom-get", {"path": path, "property": name})


def _maps(listing: Json) -> Iterable[dict[str, Json]]:
    return (entry for entry in listing if isinstance(entry, dict)) if isinstance(listing, list) else ()


def _part(entry: Mapping[str, Json], *keys: str) -> dict[str, Json]:
    return {key: entry[key] for key in keys if key in entry}


# --- the process ------------------------------------------------------------------------------------------------------


def binary_of(pid: int) -> QemuBinary:
    """Gives the executable that a process runs, for a schema to be learnt from it.

    Raises UsageError when by its name it isn't QEMU's, since learning starts it; HostError when it can't be told, or
    isn't there any more.
    """
    from gavotte.qemu.binary import QemuBinary
    from gavotte.qemu.imports import is_qemu

    running = Path(f"/proc/{pid}/exe")
    hint = "give QEMU's own process by --pid, and look as its user or as root"
    try:
        path = running.readlink()
        if not (path.exists() and path.samefile(running)):  # replaced since, or of another mount namespace
            raise HostError(f"what process {pid} runs is not at {path}", hint="a QEMU started anew could be checked")
        if not is_qemu(str(path)):
            raise UsageError(f"process {pid} runs {path}, which is no QEMU by its name", path="pid", hint=hint)
        return QemuBinary.from_path(path)
    except OSError as error:
        raise HostError(f"can't tell what process {pid} runs: {error.strerror}", hint=hint) from error


def check_process(pid: int) -> dict[str, Any]:
    """Gives the machine file for a process's command line, checked by the schema of the binary that it runs.

    Raises InvalidMachine with all problems, UsageError for what isn't a QEMU command line, HostError.
    """
    from gavotte.qemu.check import check_document
    from gavotte.qemu.imports import command_of_process, import_argv
    from gavotte.qemu.schema import schema_of

    document = import_argv(command_of_process(pid).argv)
    return dict(check_document(document, schema_of(binary_of(pid))))
