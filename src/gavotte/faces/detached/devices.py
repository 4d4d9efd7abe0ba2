"""`gavotte plug` and `unplug`: devices in QEMU's own words, while a detached sandbox runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gavotte.arguments import wrong
from gavotte.compat import override
from gavotte.errors import UsageError
from gavotte.places import absolute
from gavotte.sandbox.keeper.client import connect
from gavotte.sandbox.register import find_entry

__all__ = ["add_arguments"]

_BACKENDS = {
    "object": "an object that it needs",
    "chardev": "a character device that it needs",
    "blockdev": "a block device that it needs",
    "netdev": "a network that it needs",
}


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    parser.add_argument("name", metavar="NAME", help="the sandbox")
    if command == "unplug":
        parser.set_defaults(handler=unplug)
        parser.add_argument("id", metavar="ID", help="the device's id, as plug printed it and inspect shows it")
        return
    parser.set_defaults(handler=plug, backends=[])
    parser.add_argument("device", metavar="JSON", help="""its properties, such as '{"driver": "virtio-rng-pci"}'""")
    for kind, help in _BACKENDS.items():
        parser.add_argument(f"--{kind}", action=_Backend, metavar="JSON", help=f"{help}; repeatable, made in order")


# Keys that name a file of this host, for which QEMU's own directory is `/` (block-core.json, char.json, net.json,
# qom.json in QEMU's qapi/); those of a unix socket's address are found by its type
_FILES = {
    "blockdev": {"filename", "dir"},
    "chardev": {"path", "in", "out", "logfile"},
    "netdev": {"script", "downscript"},
    "object": {"mem-path", "filename", "file", "dir"},
}
_NO_SCRIPT = {"netdev": ("no",)}


class _Backend(argparse.Action):
    """Keeps the back ends of all kinds in the order in which they were given."""

    @override
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        namespace.backends = [*namespace.backends, (self.dest, values)]


def plug(options: argparse.Namespace) -> int:
    """Prints the device's id, which is made up unless the map has one."""
    device = _map(options.device, "device")
    backends = [(kind, _located(_map(text, kind), kind)) for kind, text in options.backends]
    if "driver" not in device:
        raise _driverless(device)
    with connect(find_entry(options.name)) as line:
        print(line.ask("plug", device=device, backends=backends)["id"])
    return 0


def _driverless(device: Mapping[str, Any]) -> UsageError:
    import difflib

    hint = """write it like '{"driver": "virtio-rng-pci"}'"""
    if close := difflib.get_close_matches("driver", device, 1):
        return UsageError("a device has no such key; did you mean 'driver'?", path=f"device.{close[0]}", hint=hint)
    return UsageError("it says no driver", path="device", hint=hint)


def _located(props: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The same back end, with the files that it names below our working directory by their whole path."""
    files = {"path"} if props.get("type") == "unix" else _FILES[kind]
    if props.get("abstract"):
        files = set()  # a name, and no file's

    def located(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _located(value, kind)
        if key in files and isinstance(value, str) and value not in ("", *_NO_SCRIPT.get(kind, ())):
            return absolute(value)
        return value

    return {key: located(key, value) for key, value in props.items()}


def _map(text: str, path: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise wrong(text, "a JSON object", path, hint="write it in single quotes: '{\"driver\": …}'")
    return value


def unplug(options: argparse.Namespace) -> int:
    """Returns when the device has gone."""
    with connect(find_entry(options.name)) as line:
        line.ask("unplug", id=options.id)
    return 0
