"""From the text of one option to its map."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from gavotte.errors import UsageError
from gavotte.qemu.imports.options import words
from gavotte.qemu.imports.syntax import Unreadable, last_ones, parse_keyval, parse_opts
from gavotte.qemu.props import IMPLIED_KEY, REPEATED, option_to_argv

__all__ = ["MERGED", "READABLE", "is_json", "is_modern_netdev", "print_map", "read_map"]

# Options of util/qemu-option.c, and of util/keyval.c. What is in neither stays words.
_OPTS: Final = words(
    """
    accel acpitable action chardev cpu device fsdev fw_cfg global icount iscsi m mon msg name netdev numa object
    option-rom overcommit plugin rtc run-with sandbox smbios spice tpmdev trace vnc
    """
)
_KEYVAL: Final = words("audio audiodev blockdev boot compat display machine smp")

READABLE: Final = _OPTS | _KEYVAL

_JSON: Final = frozenset({"audiodev", "blockdev", "compat", "device", "display", "netdev", "object"})

MERGED: Final = frozenset({"boot", "icount", "m", "machine", "name", "rtc", "smp", "spice"})
"""Options that add to each other when they are given more than once, key by key."""

# Plugins are given each key as it comes.
_ALL_COUNT: Final = frozenset({"plugin", "trace"})

_NETDEV_LISTS = ("dnssearch", "guestfwd", "hostfwd")  # ['String'] in qapi/net.json
_OBJECT_LISTS = ("cpu-affinity", "host-nodes", "node-affinity")  # ['uint16'], written as 0-3 or repeated


def is_json(option: str, text: str) -> bool:
    """Tells whether QEMU reads this as JSON."""
    return option in _JSON and text.startswith("{")


def is_modern_netdev(text: str) -> bool:
    """Tells whether `-netdev` reads this by QAPI alone, and so before all others (`netdev_is_modern` in net/net.c)."""
    if text.startswith("{"):
        return True
    try:
        return last_ones(parse_opts(text, "type")).get("type") in ("stream", "dgram")
    except Unreadable:
        return False


def read_map(option: str, text: str) -> dict[str, Any]:
    """Gives the map that `-option text` stands for. Scalars are strings unless the text is JSON.

    Raises Unreadable unless the map, printed again, is the same option.
    """
    props = _read(option, text)
    printed = print_map(option, props)
    again = _read(option, printed)
    if again != (props if is_json(option, printed) else _as_text(props)):
        raise Unreadable("it would be another option when printed again")
    return props


def print_map(option: str, props: dict[str, Any]) -> str:
    """Gives the text of `-option`. Raises Unreadable for a map that has none, such as JSON with bytes beyond UTF-8."""
    try:
        (_, printed) = option_to_argv(option, props)
    except UsageError as e:
        raise Unreadable(str(e)) from e
    return printed


def _read(option: str, text: str) -> dict[str, Any]:
    if is_json(option, text):
        return _read_json(text)
    if option in _SPECIAL:
        return _SPECIAL[option](text)
    if option == "display" and text.startswith("vnc"):  # it is another way to write -vnc
        raise Unreadable("a display of its own")
    if option in _KEYVAL:
        return parse_keyval(text, IMPLIED_KEY.get(option))
    return _read_opts(option, text)


def _as_text(value: Any) -> Any:
    """A value as it comes back from key=value syntax."""
    match value:
        case dict():
            return {key: _as_text(item) for key, item in value.items()}
        case list():
            return [_as_text(item) for item in value]
        case bool():
            return "on" if value else "off"
    return str(value)


def _read_json(text: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Unreadable("a key is given twice")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as e:  # QEMU's parser takes more: single quotes, for example
        raise Unreadable(str(e)) from e
    if not isinstance(value, dict):
        raise Unreadable("a mapping is wanted")
    return value


def _read_opts(option: str, text: str) -> dict[str, Any]:
    """Keys that QEMU takes each time they come become lists; of any other key the last counts."""
    pairs = parse_opts(text, IMPLIED_KEY.get(option))
    props: dict[str, Any] = dict(last_ones(pairs))
    for key in props.keys() & REPEATED.get(option, frozenset()):
        values = [value for name, value in pairs if name == key]
        props[key] = values if len(values) > 1 else values[0]
    if option in _ALL_COUNT and len(pairs) > len(props):
        raise Unreadable("a key is given twice")
    return props


def _read_memory(text: str) -> dict[str, Any]:
    """A size without a unit is in MiB (`parse_memory_options` in vl.c); `maxmem` isn't."""
    props = _read_opts("m", text)
    if props.get("size", "")[-1:].isdecimal():
        props["size"] += "M"
    return props


def _read_netdev(text: str) -> dict[str, Any]:
    if is_modern_netdev(text):
        return parse_keyval(text, "type")
    pairs = parse_opts(text, "type")
    props: dict[str, Any] = dict(last_ones(pairs))
    for key in _NETDEV_LISTS:
        if key in props:
            props[key] = [{"str": value} for name, value in pairs if name == key]
    if "ipv6-net" in props:  # net_client_init in net/net.c takes it apart; QAPI doesn't know it
        prefix, slash, length = props.pop("ipv6-net").partition("/")
        props |= {"ipv6-prefix": prefix, "ipv6-prefixlen": length if slash else "64"}
    return props


def _read_object(text: str) -> dict[str, Any]:
    pairs = parse_opts(text, "qom-type")
    props: dict[str, Any] = dict(last_ones(pairs))
    for key in _OBJECT_LISTS:
        if key in props:
            props[key] = [number for name, value in pairs if name == key for number in _numbers(value)]
    return props


def _numbers(text: str) -> range:
    """`3` or `0-3` (`opts_next_list` in qapi/opts-visitor.c)."""
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    if not found:
        raise Unreadable(f"{text!r} is not a range of numbers")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


def _read_global(text: str) -> dict[str, Any]:
    """`driver.property=value`, with a value that is taken as it is (`qemu_global_option` in util/qemu-config.c)."""
    found = re.fullmatch(r"([^.=]{1,63})\.([^=]{1,63})=(.*)", text, re.DOTALL)
    if found:
        return {"driver": found[1], "property": found[2], "value": found[3]}
    props: dict[str, Any] = dict(last_ones(parse_opts(text, None)))
    if props.keys() != {"driver", "property", "value"}:
        raise Unreadable("'driver', 'property' and 'value' are wanted, and no other key")
    return props


def _read_cpu(text: str) -> dict[str, Any]:
    """A model and `feature=value`. Flags (`+x`, `-x`, `x`) are applied in an order of their own: not a map."""
    model, *features = text.split(",")
    pairs = [tuple(feature.split("=", 1)) for feature in features]
    props = {"model": model, **{pair[0]: pair[-1] for pair in pairs if len(pair) == 2}}
    if len(props) != 1 + len(pairs) or any(key[:1] in ("+", "-") for key in props):
        raise Unreadable("a feature is a flag, or given twice")
    return props


_SPECIAL: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "cpu": _read_cpu,
    "global": _read_global,
    "m": _read_memory,
    "netdev": _read_netdev,
    "object": _read_object,
}
