"""`gavotte qemu devices`, `props`, `objects`, `machines`, `cpus`, `commands`, `command`: what a QEMU binary has."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from gavotte.errors import QemuError, UsageError
from gavotte.faces.tables import print_json

if TYPE_CHECKING:
    from gavotte.qemu.schema import MachineType, Property, Schema

__all__ = ["add_actions"]

Row = Mapping[str, Any]


def add_actions(add: Callable[..., Any]) -> None:
    """Add the actions: `add(name, handler, help)` gives the action's argument parser."""
    for name, handler, help in (
        ("devices", _devices, "list the device types that a user can make"),
        ("objects", _objects, "list the types of objects that a user may make"),
        ("machines", _machines, "list the machine types"),
        ("cpus", _cpus, "list the CPU models"),
        ("commands", _commands, "list the QMP commands"),
    ):
        listing = add(name, handler, help)
        listing.add_argument(
            "pattern", nargs="?", metavar="PATTERN", help="a part of the name, or a glob: virtio-*-pci"
        )
        _add_common(listing)
    props = add("props", _props, "show the properties of a device, object or machine type")
    props.add_argument("name", metavar="NAME", help="as the lists have it")
    _add_common(props)
    command = add("command", _command, "show what a QMP command takes and gives")
    command.add_argument("name", metavar="NAME", help="as `commands` lists it")
    _add_common(command)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--qemu", metavar="PATH", help="the QEMU binary to look at")
    parser.add_argument("--arch", metavar="ARCH", help="the architecture of its guests (this host's)")


def _schema(options: argparse.Namespace, *, hot: Sequence[str] = (), cold: Sequence[str] = ()) -> Schema:
    from gavotte.qemu.binary import find_qemu
    from gavotte.qemu.schema import schema_of

    return schema_of(find_qemu(options.arch, options.qemu), hot=hot, cold=cold)


# --- lists ----------------------------------------------------------------------------------------------------------


def _devices(options: argparse.Namespace) -> int:
    """Those that a user can make. Which they are takes some seconds once: 30 ms for each that matches."""
    names = _matching(options, _schema(options).devices, "device type")
    schema = _schema(options, cold=names)
    rows = [
        {"name": device.name, "kind": _kind(device.parents), "parents": list(device.parents)}
        for device in map(schema.device, names)
        if device and device.creatable is not False
    ]
    if not rows:
        what = f"what has a name like {options.pattern!r} is a part of boards, and no user can make one"
        raise UsageError(what, hint=f"to see its properties: gavotte qemu props {names[0]}")
    return _show(options, rows, ("name", "kind"))


def _objects(options: argparse.Namespace) -> int:
    rows = [{"name": name} for name in _matching(options, _schema(options).objects, "object type")]
    return _show(options, rows, ("name",))


def _machines(options: argparse.Namespace) -> int:
    schema = _schema(options)
    found = {machine.name: machine for machine in map(schema.machine, schema.machines) if machine}
    aliases = {machine.alias: name for name, machine in found.items()}
    names = _matching(options, list(found), "machine type", aliases)
    return _show(options, [_machine_row(found[name]) for name in names], _MACHINE_COLUMNS)


_MACHINE_COLUMNS = ("name", "alias", "cpus", "cpu", "default", "deprecated")


def _machine_row(machine: MachineType) -> Row:
    cells = (machine.name, machine.alias, machine.max_cpus, machine.default_cpu, machine.default, machine.deprecated)
    return dict(zip(_MACHINE_COLUMNS, cells, strict=True))


def _cpus(options: argparse.Namespace) -> int:
    models = {model.name: model for model in _schema(options).cpus}
    rows = [
        {"name": name, "type": models[name].type, "deprecated": models[name].deprecated}
        for name in _matching(options, list(models), "CPU model")
    ]
    return _show(options, rows, ("name", "type", "deprecated"))


def _commands(options: argparse.Namespace) -> int:
    schema = _schema(options)
    found = map(schema.command, _matching(options, schema.commands, "command"))
    rows = [{"name": one.name, "oob": one.oob, "deprecated": one.deprecated} for one in found if one]
    return _show(options, rows, ("name", "oob", "deprecated"))


def _matching(
    options: argparse.Namespace, names: Sequence[str], what: str, aliases: Mapping[str, str] | None = None
) -> list[str]:
    """Gives the names that PATTERN finds, all without one. Raises UsageError when it finds none."""
    pattern = options.pattern
    if pattern is None:
        return list(names)
    glob = pattern if any(mark in pattern for mark in "*?[") else f"*{pattern}*"
    found = {name for name in names if fnmatchcase(name.lower(), glob.lower())}
    found |= {name for alias, name in (aliases or {}).items() if alias and fnmatchcase(alias, glob)}
    if not found:
        raise _unknown(
            pattern,
            f"no {what} has a name like {pattern!r}",
            [*names, *(aliases or ())],
            "leave PATTERN out to see all",
        )
    return sorted(found)


def _kind(parents: Sequence[str]) -> str:
    """The ancestor just below `device`, such as pci-device or cpu; that is mostly the bus that it needs."""
    place = parents.index("device") if "device" in parents else 0
    return parents[place - 1] if place else ""


# --- one type -------------------------------------------------------------------------------------------------------


def _props(options: argparse.Namespace) -> int:
    schema = _schema(options)
    name = options.name
    if device := schema.device(name):
        options.name = device.name  # it may be an alias
        return _show_device(options)
    if (found := schema.object(name)) is not None:
        return _show_properties(options, {"name": name, "what": "object"}, found.values())
    if machine := schema.machine(name):
        return _show_properties(options, {"name": machine.name, "what": "machine"}, machine.properties.values())
    if model := next((model for model in schema.cpus if model.name == name and model.type in schema.devices), None):
        options.name = model.type
        return _show_device(options)
    known = [*schema.devices, *schema.objects, *schema.machines, *(model.name for model in schema.cpus)]
    what = f"{name!r} is no device, object or machine type, nor a CPU model, of this QEMU"
    hint = "gavotte qemu devices, objects, machines and cpus list them"
    if name in schema.commands:
        hint = f"it is a command: gavotte qemu command {name}"
    raise _unknown(name, what, known, hint)


def _show_device(options: argparse.Namespace) -> int:
    device = _schema(options, hot=[options.name]).device(options.name)
    if device is None or device.properties is None:
        raise QemuError(
            f"this QEMU can't tell the properties of {options.name}: it ends when it is asked for them",
            hint="that is a fault of this build; another one may tell them: --qemu PATH",
        )
    facts = {"name": device.name, "what": "device", "pluggable": device.pluggable, "parents": list(device.parents)}
    return _show_properties(options, facts, device.properties.values())


def _show_properties(options: argparse.Namespace, facts: Row, properties: Iterable[Property]) -> int:
    import json

    rows: list[dict[str, Any]] = [
        {
            "name": one.name,
            "type": one.type,
            "default": one.default,
            "values": list(one.values),
            "description": one.description,
        }
        for one in properties
    ]
    if options.json:
        print_json({**facts, "properties": rows})
        return 0
    for row in rows:
        row["default"] = "" if row["default"] is None else json.dumps(row["default"])
        if row["description"] in ("on/off", "/".join(row["values"])):  # the type says so already
            row["description"] = ""
    _print_facts(facts)
    return _show(options, rows, ("name", "type", "default", "values", "description"))


def _print_facts(facts: Row) -> None:
    """The one line above a table; a note beside the data, so that lines in a pipe stay lines of properties."""
    words: dict[Any, str] = {
        True: ", can be plugged while the machine runs",
        False: ", can't be plugged while the machine runs",
    }
    print(f"{facts['what']} {facts['name']}{words.get(facts.get('pluggable'), '')}", file=sys.stderr)


def _command(options: argparse.Namespace) -> int:
    from gavotte.faces.qemu import signatures

    schema = _schema(options)
    command = schema.command(options.name)
    if command is None:
        what = f"this QEMU has no command {options.name!r}"
        raise _unknown(options.name, what, schema.commands, "gavotte qemu commands lists them")
    if options.json:
        print_json(signatures.as_dict(schema, command))
        return 0
    for line in signatures.as_lines(schema, command):
        print(line)
    return 0


def _unknown(name: str, what: str, known: Sequence[str], hint: str) -> UsageError:
    from difflib import get_close_matches

    close = get_close_matches(name, known, 3, 0.6)
    return UsageError(what, hint=f"did you mean {' or '.join(close)}?" if close else hint)


# --- tables ---------------------------------------------------------------------------------------------------------


def _show(options: argparse.Namespace, rows: Sequence[Row], columns: Sequence[str]) -> int:
    """JSON with all there is, or the columns that say something: a table on a terminal, aligned lines elsewhere."""
    if options.json:
        print_json(list(rows))
        return 0
    shown = [column for column in columns if column == "name" or any(row[column] for row in rows)]
    cells = [[_cell(row[column], column) for column in shown] for row in rows]
    if sys.stdout.isatty():
        _print_table(shown, cells)
    else:
        _print_lines(cells)
    return 0


def _cell(value: Any, column: str) -> str:
    if isinstance(value, bool):
        return column if value else ""
    return "/".join(value) if isinstance(value, list) else str(value)


def _print_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")  # a name that is cut short is no name
    for row in cells:
        table.add_row(*map(Text, row))  # names are no markup
    Console().print(table)


def _print_lines(cells: Sequence[Sequence[str]]) -> None:
    """An empty cell is a dash, so that `awk` finds the same column in each line; only the last one may hold blanks."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(f"{cell or '-':<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
