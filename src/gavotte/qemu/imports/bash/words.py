"""What a word of a script becomes: bash(1), EXPANSION, with the IFS that bash begins with.

Each expansion is exact, or raises Untold. What a word is made of keeps apart what was quoted, since only the rest is
split, and only the rest can be a pattern, a `~` or braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gavotte.qemu.imports.bash.grammar import Untold, called, line_of, raw, text_of
from gavotte.qemu.imports.bash.variables import Variables

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["Expander"]

_VARIABLE = re.compile(rb"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:\[([@*]|0|[1-9]\d{0,8})\])?\})", re.ASCII)
_PATTERN = re.compile(rb"[*?]|\[.*\]|[?*+@!]\(", re.DOTALL)
_BRACES = re.compile(rb"\{.*(?:,|\.\.).*\}", re.DOTALL)
_OPERATOR = re.compile(rb"""[ \t\n|&;()<>$`"']""")
_HOME = re.compile(rb"(?:^|[=:])~")
_BLANKS = re.compile(rb"[ \t\n]+")
_QUOTED: Final = b"\0"  # in the place of what no later expansion looks at

_ANSI = re.compile(rb"\\(?:([abeEfnrtv\\'\"?])|([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
_ANSI_CHARS: Final = dict(
    zip(
        b"abeEfnrtv\\'\"?",
        (b"\a", b"\b", b"\x1b", b"\x1b", b"\f", b"\n", b"\r", b"\t", b"\v", b"\\", b"'", b'"', b"?"),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that is part of the word; or, if `quoted` is false and it came of a variable, that is to be split."""

    text: bytes
    quoted: bool
    of_variable: bool = False


@dataclass(frozen=True, slots=True)
class _Elements:
    """An array, each element a word of its own: `[@]`, or `[*]` without quotes."""

    items: Sequence[bytes]
    quoted: bool


class Expander:
    """Expands words with the variables of one moment. In `sh`, only what POSIX's shell has is taken."""

    def __init__(self, variables: Variables, *, sh: bool) -> None:
        self._variables = variables
        self._sh = sh

    def words(self, node: Node) -> list[bytes]:
        """Gives the words that a word becomes as an argument: none, one or several. Raises Untold."""
        pieces = list(self._pieces(node))
        _check_unquoted(node, pieces)
        return _split(node, pieces)

    def value(self, node: Node, *, argument: bool = False) -> bytes:
        """Gives what a word becomes behind `name=`, where nothing is split. Raises Untold.

        An `argument` of `export` and its like is one, but its braces are expanded.
        """
        pieces = list(self._pieces(node))
        if argument and _BRACES.search(_mask(pieces)):
            raise _braces(node)
        if _HOME.search(_mask(pieces)):
            raise _home(node)
        return b"".join(b" ".join(one.items) if isinstance(one, _Elements) else one.text for one in pieces)

    def _pieces(self, node: Node) -> Iterator[_Piece | _Elements]:
        match node.type:
            case "word" | "number":
                pieces = list(_bare(raw(node)))
                if any(_OPERATOR.search(one.text) for one in pieces if not one.quoted):
                    raise Untold(text_of(node), "its parts can't be told apart", line_of(node))
                yield from pieces
            case "raw_string":
                yield _Piece(raw(node)[1:-1], True)
            case "string":
                yield from self._double_quoted(node)
            case "ansi_c_string":
                yield _Piece(self._ansi_quoted(node), True)
            case "concatenation":
                yield from self._joined(node)
            case "simple_expansion" | "expansion":
                yield self._variable(node, quoted=False)
            case _:
                raise Untold(text_of(node), "" if node.type == "command_substitution" else called(node), line_of(node))

    def _joined(self, node: Node) -> Iterator[_Piece | _Elements]:
        at = node.start_byte
        for child in node.children:
            if child.start_byte != at or not child.is_named:
                raise Untold(text_of(node), "its parts can't be told apart", line_of(node))
            at = child.end_byte
            yield from self._pieces(child)

    def _double_quoted(self, node: Node) -> Iterator[_Piece | _Elements]:
        """What is in the quotes; what lies between the expansions is taken from the text, blanks at its edges too."""
        text, start = raw(node), node.start_byte
        at = 1
        found: list[_Piece | _Elements] = []
        for child in node.children[1:-1]:
            if child.type == "string_content":
                continue
            begin = child.start_byte - start + len(raw(child)) - len(raw(child).lstrip(b" \t\n"))  # blanks may be in it
            found.append(_Piece(_unescaped(text[at:begin]), True))
            if child.type not in ("simple_expansion", "expansion"):
                raise Untold(
                    text_of(child), "" if child.type == "command_substitution" else called(child), line_of(child)
                )
            found.append(self._variable(child, quoted=True))
            at = child.end_byte - start
        found.append(_Piece(_unescaped(text[at:-1]), True))
        told = [one for one in found if isinstance(one, _Elements) or one.text]
        if len(told) > 1 and any(isinstance(one, _Elements) and not one.items for one in told):
            raise Untold(text_of(node), "an empty array is beside other text", line_of(node))
        yield from told or found

    def _ansi_quoted(self, node: Node) -> bytes:
        if self._sh:
            raise Untold(text_of(node), "sh has no $'…'", line_of(node))

        def char(found: re.Match[bytes]) -> bytes:
            if found[1]:
                return _ANSI_CHARS[found[1][0]]
            number = int(found[2] or b"0", 8) if found[2] else int(found[3] or b"0", 16)
            if found[4] or not 0 < number < 256:
                raise Untold(text_of(node), f"the escape {found[0].decode(errors='replace')} in it", line_of(node))
            return bytes([number])

        return _ANSI.sub(char, raw(node)[2:-1])

    def _variable(self, node: Node, *, quoted: bool) -> _Piece | _Elements:
        text = raw(node).lstrip(b" \t\n") if quoted else raw(node)
        found = _VARIABLE.fullmatch(text)
        if found is None:
            raise Untold(text_of(node), _why_no_variable(text), line_of(node))
        name, index = found[1] or found[2], found[3]
        if index is not None and self._sh:
            raise Untold(text_of(node), "sh has no arrays", line_of(node))
        try:
            value = self._variables.get(name, line_of(node))
        except Untold as e:
            raise Untold(text_of(node), e.why, line_of(node)) from None
        if index is None or index.isdigit():
            return _Piece(_element(node, value, int(index or 0)), quoted, of_variable=True)
        items = value if isinstance(value, list) else [value]
        if index == b"*" and quoted:
            return _Piece(b" ".join(items), True, of_variable=True)
        return _Elements(items, quoted)


def _element(node: Node, value: bytes | list[bytes], index: int) -> bytes:
    items = value if isinstance(value, list) else [value]
    if index >= len(items):
        raise Untold(text_of(node), "the array has no such element", line_of(node))
    return items[index]


def _why_no_variable(text: bytes) -> str:
    if re.fullmatch(rb"\$\{?[0-9@*#]+\}?", text):
        return "it is what the script is called with"
    if re.fullmatch(rb"\$\{?[?$!_-]\}?", text):
        return "bash sets it while it runs"
    return "an expansion with an operator"


def _bare(text: bytes) -> Iterator[_Piece]:
    """Text without quotes, whose backslashes quote one character each."""
    for part in re.findall(rb"\\.|[^\\]+|\\", text, re.DOTALL):
        if part[:1] != b"\\" or part == b"\\":
            yield _Piece(part, part == b"\\")
        elif part != b"\\\n":
            yield _Piece(part[1:], True)


def _unescaped(text: bytes) -> bytes:
    """Text in double quotes, whose backslashes quote these characters only."""
    return re.sub(rb'\\([$`"\\\n])', lambda found: b"" if found[1] == b"\n" else found[1], text)


# --- what only unquoted text becomes ----------------------------------------------------------------------------------


def _mask(pieces: Sequence[_Piece | _Elements], *, with_values: bool = False) -> bytes:
    """The text, as it was written, with _QUOTED for what was quoted; of variables, too, unless their values count."""
    mask = []
    for one in pieces:
        if isinstance(one, _Elements):
            mask.append(b" ".join(one.items) if with_values and not one.quoted else _QUOTED)
        else:
            mask.append(_QUOTED if one.quoted or (one.of_variable and not with_values) else one.text)
    return b"".join(mask)


def _braces(node: Node) -> Untold:
    return Untold(text_of(node), "a brace expansion, as there are no quotes around it", line_of(node))


def _home(node: Node) -> Untold:
    return Untold("~", f"in `{text_of(node)}` it is the home of who runs the script", line_of(node))


def _check_unquoted(node: Node, pieces: Sequence[_Piece | _Elements]) -> None:
    written = _mask(pieces)
    if written.startswith(b"{" + _QUOTED):
        why = "it is JSON that has lost its quotes, as in what ps prints"
        raise Untold(text_of(node), why, line_of(node), hint="gavotte qemu import --pid N reads a process that runs")
    if _BRACES.search(written):
        raise _braces(node)
    if _HOME.search(written):
        raise _home(node)
    values = _mask(pieces, with_values=True)
    if _PATTERN.search(values) or b"\\" in values:
        raise Untold(text_of(node), "a pattern, which stands for the names of files that fit", line_of(node))


def _split(node: Node, pieces: Sequence[_Piece | _Elements]) -> list[bytes]:
    """Cuts unquoted values at blanks. Nothing at all is no word, but a quoted nothing is an empty one."""
    words: list[bytes] = []
    word: bytes | None = None

    def end() -> None:
        nonlocal word
        if word is not None:
            words.append(word)
        word = None

    def add(text: bytes) -> None:
        nonlocal word
        word = (word or b"") + text

    for one in pieces:
        if isinstance(one, _Elements):
            for index, item in enumerate(one.items):
                if index:
                    end()
                (add if one.quoted else _adder(add, end))(item)
        elif one.quoted or not one.of_variable:
            add(one.text)
        else:
            _adder(add, end)(one.text)
    end()
    return words


def _adder(add: Callable[[bytes], None], end: Callable[[], None]) -> Callable[[bytes], None]:
    """Adds a value to the words, as many as there are between its blanks."""

    def split(text: bytes) -> None:
        for index, part in enumerate(_BLANKS.split(text)):
            if index:
                end()
            if part:
                add(part)

    return split
