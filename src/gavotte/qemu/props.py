"""Property maps, in QEMU's own words, and the only code that writes them as options.

QEMU reads an option's text in one of two ways. JSON keeps each value's type, and is the very text that
QMP takes; `-object`, `-device`, `-netdev` and `-blockdev` read it (QEMU 6.2 and later). All others read
`key=value,...` (QEMU's util/keyval.c and util/qemu-option.c), where a comma in a value is doubled.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from gavotte.errors import UsageError
from gavotte.qmp import wire
from gavotte.values import dataclass

__all__ = [
    "IMPLIED_KEY",
    "REPEATED",
    "Fd",
    "Json",
    "Kind",
    "PropertyMap",
    "Recipe",
    "Step",
    "is_passable",
    "option_to_argv",
    "plain",
    "recipe_to_argv",
    "step_to_argv",
    "to_json",
    "to_keyval",
    "word_to_argv",
]

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
PropertyMap: TypeAlias = Mapping[str, Json]
Kind: TypeAlias = Literal["object", "chardev", "netdev", "blockdev", "fsdev", "device"]


@dataclass(frozen=True, slots=True)
class Fd:
    """A descriptor of this process that a step lends to QEMU. In the step's map it goes by `name`.

    `name` begins with a letter. Where the map says `"fd": name` (or `fds`, `vhostfd`, `vhostfds`), QEMU is told the
    number that the child got, when it is started, or the name, over QMP (`getfd`).
    """

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that QEMU is told: the option `-<kind>` with these properties, or its QMP command."""

    kind: Kind
    props: PropertyMap
    fds: tuple[Fd, ...] = ()


Recipe: TypeAlias = tuple[Step, ...]
"""Steps that are applied in order and undone in reverse."""

_JSON_OPTIONS = frozenset({"object", "netdev", "blockdev", "device"})

IMPLIED_KEY: Final[Mapping[str, str]] = {
    "accel": "accel",
    "acpitable": "data",
    "audio": "driver",
    "audiodev": "driver",
    "blockdev": "driver",
    "boot": "order",
    "chardev": "backend",
    "cpu": "model",
    "device": "driver",
    "display": "type",
    "fsdev": "fsdriver",
    "fw_cfg": "name",
    "icount": "shift",
    "m": "size",
    "machine": "type",
    "mon": "chardev",
    "name": "guest",
    "netdev": "type",
    "numa": "type",
    "object": "qom-type",
    "option-rom": "romfile",
    "plugin": "file",
    "sandbox": "enable",
    "smp": "cpus",
    "tpmdev": "type",
    "trace": "enable",
    "vnc": "vnc",
}
"""The key that each option lets its first value go without (`implied_opt_name` in QEMU's sources)."""

REPEATED: Final[Mapping[str, frozenset[str]]] = {
    "numa": frozenset({"cpus"}),
    "semihosting-config": frozenset({"arg"}),
    "smbios": frozenset({"path", "value"}),
    "spice": frozenset({"plaintext-channel", "tls-channel"}),
}
"""The keys that count each time they are given, by option: a list is such a key given again and again.

So it is where QemuOpts reads the option (opts-visitor.c, smbios.c, semihosting/config.c, spice-core.c); where keyval.c
does, a list is `key.0=`, `key.1=`.
"""

# Where `help` or `?` as a value makes QEMU print a list and exit with status 0, as if all were well. Elsewhere it is a
# value like another, or QEMU refuses it.
_PRINTS_HELP: Mapping[str, tuple[str, ...]] = {
    "accel": ("accel",),
    "audio": ("driver", "model"),
    "chardev": ("backend",),
    "plugin": ("file",),
    "trace": ("enable",),
}
_HELP_WORDS: Mapping[str, frozenset[str]] = {
    "d": frozenset({"help", "?", "trace:help", "trace:?"}),
    "vga": frozenset({"help"}),
}

_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

# What is surely a value: no `=` (it would be a key), no `,`, no `{` (JSON), no `?` (asks for help).
_BARE = re.compile(r"(?!help$)[A-Za-z0-9_.+-]+")

# NUL ends an argument; surrogates have no UTF-8; noncharacters are refused by QEMU's JSON parser
# (is_valid_codepoint in util/unicode.c), so they are refused everywhere: hot and cold must agree.
_PLANE_ENDS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_UNWRITABLE = re.compile(f"[\0\ud800-\udfff\ufdd0-\ufdef{_PLANE_ENDS}]")
_UNPASSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")  # as an argument; \udc80 to \udcff are single bytes


def to_json(props: PropertyMap) -> str:
    """Gives the JSON text for `-object`, `-netdev`, `-blockdev` and `-device`.

    It is ASCII: what is beyond is written as `\\uXXXX`, which QEMU reads back as it was. So the bytes
    don't depend on the locale, and a command line shown in a terminal holds no character that acts on it.

    Raises UsageError for what QEMU can't read; see `plain`.
    """
    return json.dumps(plain(props), separators=(",", ":"))


def to_keyval(props: PropertyMap, *, first: str | None = None, repeat: bool = False) -> str:
    """Gives the `key=value,...` text: commas doubled, bool as on and off, nesting as `a.b=c` and `a.0=c`.

    With `repeat`, a list is written as its key once for each item: `a=c,a=d`. The value of the key `first` comes
    first and bare, as in `q35,usb=off`; where it could be mistaken for something else (it holds `=` or `,`, or reads
    `help`), it keeps its key.

    Raises UsageError as `plain` does, and for a malformed key and a value that this syntax can't write:
    None, an empty mapping, an empty list.
    """
    values: dict[str, str] = {}
    for key, texts in _leaves(plain(props), "", repeat):
        if key in values:
            raise UsageError("given twice, once with a dotted key", path=key)
        values[key] = ",".join(f"{key}={text.replace(',', ',,')}" for text in texts)
    if first is not None and first in values:
        pair = values.pop(first)
        bare = pair.removeprefix(f"{first}=")
        values = {first: bare if _BARE.fullmatch(bare) else pair, **values}
    return ",".join(values.values())


def option_to_argv(option: str, props: PropertyMap) -> list[str]:
    """Gives the two arguments of one option, named without its dash, in the syntax that it reads.

    Not for options that take their word literally (`-kernel`, `-append`, `-initrd`).
    Raises UsageError as the encoders do.
    """
    if option in _JSON_OPTIONS:
        return [f"-{option}", to_json(props)]
    for key in _PRINTS_HELP.get(option, ()):
        if props.get(key) in ("help", "?"):
            raise _asks_for_help(key)
    if option == "cpu":
        _check_cpu(props)
    return [f"-{option}", to_keyval(props, first=IMPLIED_KEY.get(option), repeat=option in REPEATED)]


def word_to_argv(option: str, word: str) -> list[str]:
    """Gives the two arguments of an option that takes its word literally, whatever it begins with.

    Bytes that aren't UTF-8 stand as `os.fsdecode` writes them. Raises UsageError for what can't be an argument, and
    for the words that make QEMU print help.
    """
    if not _HELP_WORDS.get(option, frozenset()).isdisjoint(word.split(",")):
        raise _asks_for_help("")
    if not is_passable(word):
        raise UsageError("an argument can't hold NUL, nor a surrogate that doesn't stand for a byte")
    return [f"-{option}", word]


def is_passable(word: str) -> bool:
    """Tells whether a word can be an argument or a path: it has bytes, and no NUL among them."""
    return not _UNPASSABLE.search(word)


def step_to_argv(step: Step) -> list[str]:
    """Gives the arguments that make one step at start. Raises UsageError as the encoders do."""
    return option_to_argv(step.kind, step.props)


def recipe_to_argv(recipe: Recipe) -> list[str]:
    """Gives the arguments of all steps, in order. Raises UsageError as the encoders do."""
    return [word for step in recipe for word in step_to_argv(step)]


def plain(props: PropertyMap) -> dict[str, wire.Json]:
    """Gives a checked copy made of dict, list and scalars, fit for an encoder or for QMP.

    Raises UsageError, whose `path` is the culprit's key, for what QEMU can't read: another type, a key
    that isn't text, NaN and infinity, an integer beyond 64 bits (QEMU would round it to a double),
    NUL, lone surrogates and noncharacters.
    """
    return {_checked_key(key, ""): _plain(value, key) for key, value in props.items()}


def _plain(value: object, path: str) -> wire.Json:
    match value:
        case None | bool():
            return value
        case str():
            return _checked_text(value, path)
        case int():
            if not -(2**63) <= value < 2**64:
                raise UsageError(f"{value} doesn't fit into 64 bits", path=path)
            return value
        case float():
            if not math.isfinite(value):
                raise UsageError(f"{value} is not a number that QEMU can read", path=path)
            return value
        case Mapping():
            return {_checked_key(key, path): _plain(item, f"{path}.{key}") for key, item in value.items()}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise UsageError(
        f"a value of type {type(value).__name__} can't be given to QEMU",
        path=path,
        hint="give text, a number, True or False, a list or a mapping; os.fspath() makes text of a path",
    )


def _checked_key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise UsageError(f"the key {key!r} is not text", path=path)
    return _checked_text(key, path)


def _checked_text(text: str, path: str) -> str:
    if found := _UNWRITABLE.search(text):
        hint = "make a symbolic link whose name is UTF-8" if "\udc80" <= found[0] <= "\udcff" else ""
        raise UsageError(f"QEMU can't be given the character U+{ord(found[0]):04X}", path=path, hint=hint)
    return text


def _asks_for_help(key: str) -> UsageError:
    return UsageError(
        "this word makes QEMU print a list instead of starting",
        path=key,
        hint="gavotte qemu devices, machines, cpus … list what a binary has",
    )


def _leaves(value: wire.Json, key: str, repeat: bool) -> Iterator[tuple[str, list[str]]]:
    """Walks a plain value, giving each leaf's dotted key and its text, or texts, before commas are doubled."""
    match value:
        case list() if value and repeat:
            yield key, [text for item in value for _, texts in _leaves(item, key, False) for text in texts]
        case dict() | list() if value or not key:
            for name, item in value.items() if isinstance(value, dict) else enumerate(value):
                if not _KEY.fullmatch(str(name)):
                    raise UsageError(f"{name!r} can't be a key in QEMU's key=value syntax", path=key)
                yield from _leaves(item, f"{key}.{name}" if key else str(name), repeat)
        case bool():
            yield key, ["on" if value else "off"]
        case str() | int() | float():
            yield key, [str(value)]
        case _:
            raise UsageError(f"key=value syntax has no way to write {value!r}", path=key, hint="leave it out")


def _check_cpu(props: PropertyMap) -> None:
    """`-cpu` cuts at every comma, doubled or not: a value `a,vmx=on` would set a feature of its own."""
    for key, texts in _leaves(plain(props), "", False):
        if any("," in text for text in texts):
            raise UsageError("the value holds a comma, which -cpu has no way to take", path=key)
    model = props.get("model")
    if not isinstance(model, str) or not _BARE.fullmatch(model):
        raise UsageError("-cpu needs a model made of letters, digits and _ . + -", path="model")
