"""`gavotte plug` and `unplug`: devices in QEMU's own words, while a detached sandbox runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from gavotte.compat import override
from gavotte.errors import UsageError
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
    backends = [(kind, _map(text, kind)) for kind, text in options.backends]
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


def _map(text: str, path: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{error} in {text!r}", path=path, hint="write a JSON object, in single quotes") from None
    if not isinstance(value, dict):
        raise UsageError(f"{text!r} is not a JSON object", path=path)
    return value


def unplug(options: argparse.Namespace) -> int:
    """Returns when the device has gone."""
    with connect(find_entry(options.name)) as line:
        line.ask("unplug", id=options.id)
    return 0
