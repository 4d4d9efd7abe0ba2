"""`gavotte qemu adopt`: a QEMU that something else started."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gavotte.errors import GavotteError, InvalidMachine, QemuError, UsageError
from gavotte.faces.parser import one_of
from gavotte.text import harmless, size_text

if TYPE_CHECKING:
    from gavotte.qemu.props import Kind, Recipe
    from gavotte.qemu.schema import Schema
    from gavotte.qmp.client import QmpClient

__all__ = ["add_actions"]

_BACKENDS: tuple[Kind, ...] = ("object", "chardev", "netdev", "blockdev")
_NAMES = {"blockdev": "node-name"}


def add_actions(add: Callable[..., Any]) -> None:
    """Add the actions: `add(name, handler, help)` gives the action's argument parser."""
    parser = add("adopt", _adopt, "look at, check, plug into a QEMU that something else started; it is never stopped")
    parser.add_argument("--qmp", required=True, metavar="SOCKET", help="the path of its QMP socket")
    parser.add_argument("--pid", type=int, metavar="N", help="its process (who made the socket, unless given)")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--deadline", type=float, default=30.0, metavar="S", help="seconds for a removal (30)")
    for kind in _BACKENDS:
        parser.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar="MAP|ID",
            help=f"plug: one as JSON, made before the device; unplug: its {_NAMES.get(kind, 'id')}",
        )
    parser.add_argument(
        "action",
        nargs="?",
        default="overview",
        metavar="ACTION",
        type=one_of("overview", "check", "plug", "unplug", "events", "stats"),
        help="overview (unless given), check, plug MAP, unplug ID, events, stats",
    )
    parser.add_argument("what", nargs="?", metavar="MAP|ID", help="the device: for plug as JSON, for unplug its id")


def _adopt(options: argparse.Namespace) -> int:
    if not options.deadline > 0:
        raise UsageError(f"{options.deadline:g} is not a number of seconds above 0", path="deadline")
    if options.action not in ("plug", "unplug") and (options.what or any(getattr(options, k) for k in _BACKENDS)):
        raise UsageError(f"{options.action} takes no device", path="adopt", hint="plug MAP, unplug ID")
    if options.action == "check":
        return _check(options)
    recipe = _recipe(options) if options.action in ("plug", "unplug") else ()
    try:
        return asyncio.run(_visit(options, recipe))
    except InvalidMachine as error:
        raise InvalidMachine([_in_words(problem, recipe) for problem in error.problems]) from error
    except KeyboardInterrupt:
        if options.action == "events":
            return 0
        raise


async def _visit(options: argparse.Namespace, recipe: Recipe) -> int:
    from gavotte.qemu.adopt import adopt

    schema = await _schema(options) if options.action == "plug" else None
    async with adopt(options.qmp) as client:
        match options.action:
            case "plug":
                await _plug(client, recipe, schema, options.deadline)
            case "unplug":
                await _unplug(client, recipe, options.deadline)
            case "events":
                await _events(client)
            case action:
                await _ask(client, action, options.json)
    return 0


def _recipe(options: argparse.Namespace) -> Recipe:
    """The steps that the arguments name: maps to plug, ids to unplug."""
    from gavotte.qemu.props import Step

    given = [(kind, text) for kind in _BACKENDS for text in getattr(options, kind)]
    if options.what is not None:
        given.append(("device", options.what))
    if not given:
        raise UsageError(f"{options.action} what?", path="adopt", hint="plug '{\"driver\": …}', unplug ID")
    if options.action == "plug":
        return tuple(Step(kind, _map(text, kind)) for kind, text in given)
    return tuple(Step(kind, {_NAMES.get(kind, "id"): text}) for kind, text in given)


def _map(text: str, kind: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}", path=kind, hint='for example {"driver": "virtio-rng-pci"}') from error
    if not isinstance(found, dict):
        raise UsageError("a mapping is wanted", path=kind)
    return found


def _in_words(problem: UsageError, recipe: Recipe) -> UsageError:
    """The problem with a path in what was typed: `--netdev.ifname`, not `recipe[0].ifname`."""
    index, _, rest = problem.path.removeprefix("recipe[").partition("]")
    kind = recipe[int(index)].kind
    word = "MAP" if kind == "device" else f"--{kind}"
    return UsageError(problem.problem, path=word + rest, hint=problem.hint)


async def _ask(client: QmpClient, action: str, as_json: bool) -> None:
    from gavotte.qemu.adopt import overview, statistics

    found = await (statistics(client) if action == "stats" else overview(client))
    if as_json:
        _print_json(found)
    elif action == "overview":
        _print_overview(found)
    else:
        print("\n".join(_lines(found)) or "nothing is counted yet")


async def _events(client: QmpClient) -> None:
    with client.events() as events:
        print("gavotte: events from now on; Ctrl-C leaves, and QEMU stays", file=sys.stderr)
        async for event in events:
            print(json.dumps({"event": event.name, "data": event.data, "seconds": event.seconds}), flush=True)
    raise QemuError("QEMU ended the connection", hint="see whether it still runs")


async def _plug(client: QmpClient, recipe: Recipe, schema: Schema | None, deadline: float) -> None:
    from gavotte.qemu.plug import plug

    for answer in await plug(client, recipe, schema, deadline=deadline):
        if answer:
            print(harmless(json.dumps(answer)))


async def _unplug(client: QmpClient, recipe: Recipe, deadline: float) -> None:
    from gavotte.qemu.plug import remove_device, unplug

    for step in recipe:
        if step.kind == "device":  # its own call: that there is no such device is an error here
            await remove_device(client, str(step.props["id"]), deadline=deadline)
    await unplug(client, tuple(step for step in recipe if step.kind != "device"))


def _pid(options: argparse.Namespace) -> int:
    from gavotte.qemu.adopt import server_pid

    pid = options.pid or server_pid(options.qmp)
    if pid is None:
        raise UsageError("the socket doesn't tell its process", path="adopt", hint="give it by --pid")
    return int(pid)


async def _schema(options: argparse.Namespace) -> Schema | None:
    """What the binary supports; None where that can't be told, and QEMU itself has to find mistakes."""
    from gavotte.qemu.adopt import binary_of
    from gavotte.qemu.schema import get_schema

    try:
        return await get_schema(binary_of(_pid(options)))
    except GavotteError as error:
        if options.pid:
            raise
        print(harmless(f"gavotte: QEMU alone checks this: {error.message}"), file=sys.stderr)
        return None


def _check(options: argparse.Namespace) -> int:
    from gavotte.qemu.adopt import check_process

    pid = _pid(options)
    try:
        check_process(pid)
    except InvalidMachine as error:
        problems = error.problems
    else:
        problems = ()
    if options.json:
        rows = [{"path": one.path, "problem": one.problem, "hint": one.hint} for one in problems]
        _print_json({"ok": not problems, "pid": pid, "problems": rows})
    else:
        for problem in problems:
            print(harmless(str(problem)) + (f"\n  next: {harmless(problem.hint)}" if problem.hint else ""))
        print(f"process {pid}: {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    return UsageError.exit_code if problems else 0


# --- text -------------------------------------------------------------------------------------------------------------


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))  # ASCII: it holds no character that acts on a terminal


def _print_overview(found: dict[str, Any]) -> None:
    version = found["version"] or {}
    number = ".".join(str(version.get(part, "?")) for part in ("major", "minor", "micro"))
    status = (found["status"] or {}).get("status", "unknown")
    print(harmless(f"QEMU {number}, {status}: {found['machine']}" + (f", {found['name']}" if found["name"] else "")))
    memory = found["memory"] or {}
    if "base-memory" in memory:
        plugged = memory.get("plugged-memory", 0)
        print(f"memory    {size_text(memory['base-memory'])}" + (f" + {size_text(plugged)} plugged" if plugged else ""))
    for cpu in found["vcpus"]:
        print(harmless(f"vcpu      {cpu.get('cpu-index')}  thread {cpu.get('thread-id')}"))
    for thing in found["objects"]:
        print(harmless(f"object    {thing['id']}  {thing['qom-type']}"))
    _print_devices(found["devices"], "")
    for node in found["blocks"]:
        print(harmless(f"block     {node.get('node-name')}  {node.get('drv')}  {node.get('file', '')}"))
    for netdev in found["netdevs"]:
        print(harmless(f"netdev    {netdev['id']}  of {netdev['device'].rpartition('/')[2]}"))
    for chardev in found["chardevs"]:
        print(harmless(f"chardev   {chardev.get('label')}  {chardev.get('filename')}"))


def _print_devices(devices: list[dict[str, Any]], indent: str) -> None:
    for device in devices:
        name = device["id"] or device["path"].rpartition("/")[2]
        print(harmless(f"device    {indent}{name}  {device['driver']}  on {device['bus'] or 'no bus'}"))
        _print_devices(device.get("devices", []), indent + "  ")


def _lines(value: Any, path: str = "") -> list[str]:
    """One line for each number that isn't 0."""
    match value:
        case dict():
            return [line for key, item in value.items() for line in _lines(item, f"{path}.{key}" if path else key)]
        case list():
            return [line for index, item in enumerate(value) for line in _lines(item, f"{path}[{index}]")]
        case None | 0 | False:
            return []
    return [harmless(f"{path} = {value}")]
