"""Whether something can be a machine file at all: sections, their shapes, and values that any QEMU could be given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gavotte.errors import InvalidMachine, UsageError
from gavotte.qemu.descriptors import check_fds
from gavotte.qemu.props import IMPLIED_KEY, is_passable, plain, word_to_argv
from gavotte.qemu.sections import SECTIONS, Section, Shape

__all__ = ["MAX_DEPTH", "Pairs", "check_shape", "entries_of", "within"]

MAX_DEPTH: Final = 64  # levels in a map; QEMU's own parser stops at 1024, and what walks maps here is recursive

_WANTED: Final[Mapping[Shape, str]] = {
    "map": "a mapping",
    "maps": "a list of mappings",
    "word": "text",
    "flag": "true or false",
    "words": "a list of lists of words",
}
_TYPES: Final[Mapping[Shape, Any]] = {
    "map": Mapping,
    "maps": list | tuple,
    "word": str,
    "flag": bool,
    "words": list | tuple,
}
_GLOBAL_KEYS = {"driver", "property", "value"}


class Pairs(dict[str, Any]):
    """A mapping as a parser found it. `twice` are the keys that stood in it more than once."""

    twice: tuple[str, ...] = ()


def check_shape(document: object) -> None:
    """Raises InvalidMachine, with all problems, for what is no machine file, whichever QEMU it were for."""
    if not isinstance(document, Mapping):
        raise InvalidMachine([UsageError("a machine file is a mapping of sections")])
    if problems := list(_problems(document)):
        raise InvalidMachine(problems)


def entries_of(section: Section, value: Any) -> Iterator[tuple[str, Any]]:
    """Gives the options that a section stands for, each with its path in the file."""
    if section.shape in ("maps", "words"):
        yield from ((f"{section.name}[{index}]", entry) for index, entry in enumerate(value))
    else:
        yield section.name, value


def within(path: str, error: UsageError) -> UsageError:
    """Gives the error with its path put into that of what holds it."""
    return UsageError(error.problem, path=f"{path}.{error.path}" if error.path else path, hint=error.hint)


def _problems(document: Mapping[Any, Any]) -> Iterator[UsageError]:
    yield from (UsageError("given twice", path=key) for key in _twice(document))
    for name, value in document.items():
        if name == "qemu":
            if not isinstance(value, str) or not value or not is_passable(value):
                yield UsageError("the name or the path of a QEMU binary is wanted", path="qemu")
        elif name == "fds":
            yield from _nesting_problems(value, "fds")
            yield from check_fds(value)
        elif name in SECTIONS:
            yield from _section_problems(SECTIONS[name], value)
        else:
            yield _unknown(str(name))


def _section_problems(section: Section, value: Any) -> Iterator[UsageError]:
    if isinstance(value, _TYPES[section.shape]):
        for path, entry in entries_of(section, value):
            yield from _entry_problems(section, entry, path)
    else:
        yield _wrong(_WANTED[section.shape], value, section.name, _hint(section, value))


def _entry_problems(section: Section, entry: Any, path: str) -> Iterator[UsageError]:
    match section.shape:
        case "map" | "maps":
            yield from _map_problems(section, entry, path)
        case "word":
            yield from _refusal(path, word_to_argv, section.option, entry)
        case "words" if not isinstance(entry, list | tuple) or not entry:
            yield _wrong("a list of words, an option and its value,", entry, path)
        case "words":
            for index, word in enumerate(entry):
                if isinstance(word, str):
                    yield from _refusal(f"{path}[{index}]", word_to_argv, "", word)
                else:
                    yield _wrong("text", word, f"{path}[{index}]")


def _map_problems(section: Section, entry: Any, path: str) -> Iterator[UsageError]:
    if not isinstance(entry, Mapping):
        yield _wrong("a mapping", entry, path, _hint(section, entry))
    elif problems := list(_nesting_problems(entry, path)):
        yield from problems
    elif section.name == "globals" and set(entry) != _GLOBAL_KEYS:
        yield UsageError("'driver', 'property' and 'value' are wanted, and no other key", path=path)
    else:
        yield from _refusal(path, plain, entry)


def _nesting_problems(value: object, path: str) -> Iterator[UsageError]:
    """Walks without recursion, so that what is nested too deeply can be told."""
    stack: list[tuple[str, object, int]] = [(path, value, 1)]
    while stack:
        place, inner, depth = stack.pop()
        if depth > MAX_DEPTH:
            yield UsageError(f"nested deeper than {MAX_DEPTH} levels", path=path)
            return
        if isinstance(inner, Mapping):
            yield from (UsageError("given twice", path=f"{place}.{key}") for key in _twice(inner))
            stack += [(f"{place}.{key}", item, depth + 1) for key, item in inner.items()]
        elif isinstance(inner, list | tuple):
            stack += [(f"{place}[{index}]", item, depth + 1) for index, item in enumerate(inner)]


def _twice(mapping: Mapping[Any, Any]) -> tuple[str, ...]:
    return mapping.twice if isinstance(mapping, Pairs) else ()


def _refusal(path: str, call: Callable[..., object], *arguments: Any) -> Iterator[UsageError]:
    try:
        call(*arguments)
    except UsageError as e:
        yield within(path, e)


def _wrong(wanted: str, value: object, path: str, hint: str = "") -> UsageError:
    return UsageError(f"{wanted} is wanted, not {_called(value)}", path=path, hint=hint)


def _called(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
    return f"a {type(value).__name__}"


def _hint(section: Section, value: object) -> str:
    """What was surely meant."""
    if section.shape in ("maps", "words") and isinstance(value, Mapping):
        return "put it into a list"
    if section.shape == "map" and isinstance(value, list):
        return "it can be there once only, so it isn't a list"
    key = IMPLIED_KEY.get(section.option)
    if section.shape in ("map", "maps") and key and isinstance(value, str | int):
        import json

        return f"write {json.dumps({key: value})}"
    return ""


def _unknown(name: str) -> UsageError:
    import difflib

    known = [*SECTIONS, "qemu", "fds"]
    by_option = {section.option: section.name for section in SECTIONS.values()}
    close = by_option.get(name.lstrip("-")) or next(iter(difflib.get_close_matches(name, known, 1)), "")
    hint = f"did you mean '{close}'?" if close else "what has no section goes into options, as a list of words"
    return UsageError("there is no such section", path=name, hint=hint)
