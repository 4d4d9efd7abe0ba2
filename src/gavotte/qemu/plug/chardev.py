"""From the flat map of `-chardev` to the nested one of `chardev-add`.

QMP puts a back-end's members under `backend.data`, an address one level deeper, and has other names and defaults for
some (QEMU's qapi/char.json; the functions `parse` of chardev/char-*.c are where -chardev is turned into the same).
"""

from __future__ import annotations

from collections.abc import Mapping

from gavotte.errors import UsageError
from gavotte.qmp.wire import Json

__all__ = ["chardev_backends", "check_chardev"]

_ALIASES = {"tty": "serial", "parport": "parallel", "memory": "ringbuf"}

_RENAMED = {
    "file": {"path": "out", "input-path": "in"},
    "parallel": {"path": "device"},
    "pipe": {"path": "device"},
    "serial": {"path": "device"},
    "spiceport": {"name": "fqdn"},
    "spicevmc": {"name": "type"},
}

# The type of a socket's address by the key that -chardev tells it from, and the other keys that belong to it.
_ADDRESSES = {
    "path": ("unix", ("path", "abstract", "tight")),
    "host": ("inet", ("host", "port", "to", "ipv4", "ipv6")),
    "fd": ("fd", ("fd",)),
}

_TEXT = frozenset({"host", "port", "path", "str"})  # QAPI wants text where -chardev users write 5555


def check_chardev(props: Mapping[str, object]) -> None:
    """Raises UsageError for a chardev that would stop a QEMU that runs, its monitor included."""
    if _on(props.get("server")) and _on(props.get("wait")):
        raise UsageError(
            "QEMU would stand still until somebody connects, and so would its guest",
            path="wait",
            hint="leave it out, or give the chardev at start",
        )


def chardev_backends(props: dict[str, Json]) -> dict[str, dict[str, Json]]:
    """Gives the `backend` of chardev-add for each id, in order: with `mux`, what is shared comes first.

    Raises UsageError for a socket without an address.
    """
    data = dict(props)
    id = str(data.pop("id"))
    name = str(data.pop("backend", ""))
    type = _ALIASES.get(name, name)
    muxed = _on(data.pop("mux", False))
    data = {_RENAMED.get(type, {}).get(key, key): value for key, value in data.items()}
    if type == "socket":
        data = _socket(data)
    elif type == "udp":
        data = _udp(data)
    backend: dict[str, Json] = {"type": type, "data": data}
    if not muxed:
        return {id: backend}
    base = f"{id}-base"  # as -chardev names it
    return {base: backend, id: {"type": "mux", "data": {"chardev": base}}}


def _socket(data: dict[str, Json]) -> dict[str, Json]:
    by = next((key for key in _ADDRESSES if key in data), None)
    if by is None:
        raise UsageError("a socket needs a 'path', a 'host' with its 'port', or an 'fd'", path="backend")
    type, keys = _ADDRESSES[by]
    address = {("str" if key == "fd" else key): data.pop(key) for key in keys if key in data}
    data["addr"] = _address(type, address)
    data.setdefault("server", False)  # QMP's default is true
    if _on(data["server"]):
        data.setdefault("wait", False)  # see check_chardev
    if "delay" in data:
        data["nodelay"] = not _on(data.pop("delay"))
    return data


def _udp(data: dict[str, Json]) -> dict[str, Json]:
    remote: dict[str, Json] = {key: data.pop(key) for key in ("host", "port", "ipv4", "ipv6") if key in data}
    local: dict[str, Json] = {
        key: data.pop(name) for key, name in (("host", "localaddr"), ("port", "localport")) if name in data
    }
    data["remote"] = _address("inet", {"host": "localhost", **remote})
    if local:
        data["local"] = _address("inet", {"host": "", "port": "0", **local})
    return data


def _address(type: str, members: Mapping[str, Json]) -> Json:
    """A SocketAddressLegacy."""
    return {"type": type, "data": {key: str(value) if key in _TEXT else value for key, value in members.items()}}


def _on(value: object) -> bool:
    return value in (True, "on")
