"""What a construct that isn't read may change, so that the script can be read on behind it.

Only what provably changes nothing but some variables is passed over. Those are told by their names, and lose their
values. The rest is refused: what reads further code, changes how bash reads, or starts a wanted program by chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from gavotte.errors import UsageError
from gavotte.qemu.imports.bash.grammar import called, descendants, line_of, raw, refused, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["MOVING", "Finder", "kept", "names_set", "set_by"]

Finder: TypeAlias = Callable[[Sequence[str]], tuple[int, bool]]
"""Tells which of a command's words is the program that is started in the end, and whether that is a wanted one."""

_NAME = re.compile(rb"[A-Za-z_]\w*", re.ASCII)
_PLAIN = re.compile(r"[\w./+:%@,-]+|\[")

MOVING: Final = frozenset({"cd", "pushd", "popd"})

_SETTING: Final = frozenset(
    {"declare", "export", "getopts", "let", "local", "mapfile", "read", "readarray", "readonly", "typeset", "unset"}
)

# Options of other builtins whose value is the name of a variable.
_NAMING: Final = {"printf": "-v", "wait": "-p"}
_FLAGS = re.compile(r"-[A-Za-z]\w{0,99}")

# Before these, sh keeps `name=value` (POSIX, 2.14 Special Built-In Utilities). Those that are refused aren't here.
_KEEPING: Final = frozenset(
    {":", "break", "continue", "exec", "exit", "export", "readonly", "return", "set", "shift", "times", "trap", "unset"}
)

# Builtins that make bash read something else, or otherwise.
_REFUSED: Final = frozenset(
    {".", "alias", "builtin", "coproc", "enable", "eval", "fc", "hash", "shopt", "source", "unalias"}
)
_SET_FLAGS = re.compile(
    r"[+-][euxvEfTabhm]*o?|errexit|errtrace|functrace|nounset|pipefail|verbose|xtrace|noglob|physical|monitor"
)


def names_set(node: Node, functions: Collection[str], find: Finder, construct: Node) -> set[bytes]:
    """Gives the names of the variables that a node may set, which is a construct or a part of it.

    Raises UsageError, with its line, for a wanted program in it, and for what can't be passed over.
    """
    names: set[bytes] = set()
    for one in descendants(node, into_functions=False):
        match one.type:
            case "variable_assignment":
                names |= _assigned(one)
            case "for_statement" | "c_style_for_statement" | "select_statement":
                names |= set(_NAME.findall(raw(one).partition(b"\n")[0]))
            case "arithmetic_expansion":
                names |= set(_NAME.findall(raw(one)))
            case "compound_statement" | "test_command" if raw(one).startswith(b"(("):
                names |= set(_NAME.findall(raw(one)))
            case "expansion" if re.match(rb"\$\{!?\w+:?=", raw(one)):
                names |= set(_NAME.findall(raw(one)))
            case "declaration_command" | "unset_command":
                names |= _declared(one)
            case "command":
                names |= _by_command(construct, one, functions, find)
    return names


def set_by(words: Sequence[str], functions: Collection[str], line: int) -> set[bytes]:
    """Gives the names of the variables that a command may set, whose words may hold `$` where they aren't known.

    Raises UsageError for a command after which the script can't be read on.
    """
    name, *arguments = words
    while name in ("command", "time") and arguments:
        name, *arguments = [word for word in arguments if word != "-p"] or [":"]
    if name in functions:
        raise refused(f"the function {name} is called", line)
    if name in _REFUSED or (name == "set" and not all(_SET_FLAGS.fullmatch(word) for word in arguments)):
        raise refused(f"`{' '.join([name, *arguments][:4])}` changes what bash reads", line)
    if name == "trap" and {"DEBUG", "ERR", "RETURN"} & {word.upper().removeprefix("SIG") for word in arguments}:
        raise refused("`trap` runs commands between those of the script", line)
    assigned = re.match(r"([A-Za-z_]\w*)(?:\[.*\])?\+?=", name)  # behind `time`, which is a keyword
    if assigned:
        return {assigned[1].encode()}
    opened = {word[1:-1].encode() for word in arguments if re.fullmatch(r"\{\w+\}", word)}  # exec {fd}>file
    naming = _NAMING.get(name)
    if name in _SETTING or (naming and any(word.startswith(naming) for word in arguments)):
        if any("$" in word or "`" in word for word in arguments):
            raise refused(f"`{name}` sets a variable whose name can't be told", line)
        behind = [word[at:] for word in arguments if _FLAGS.fullmatch(word) for at in range(2, len(word))]  # -vNAME
        named = _NAME.findall(" ".join([*arguments, *behind]).encode("utf-8", "surrogateescape"))
        return {*opened, *named, b"REPLY", b"MAPFILE", b"OPTIND", b"OPTARG"}
    return opened | ({b"PWD", b"OLDPWD"} if name in MOVING else set())


def kept(node: Node, name: str) -> set[bytes]:
    """Gives the names of the variables that are set in front of a command, if that may be for good."""
    if name not in _KEEPING:
        return set()
    return {found[0] for one in node.children if one.type == "variable_assignment" and (found := _NAME.match(raw(one)))}


def _assigned(node: Node) -> set[bytes]:
    """The variable of an assignment; none for one in front of a command, whose alone it is."""
    parent = node.parent
    if parent is not None and parent.type == "command":
        return set()
    found = _NAME.match(raw(node))
    return {found[0]} if found else set()


def _declared(node: Node) -> set[bytes]:
    """All names in the words of a command that sets variables. A name that is itself expanded could be any."""
    for child in node.children[1:]:
        if child.type not in ("variable_assignment", "variable_name", "word"):
            raise refused(f"`{text_of(node)}` sets a variable whose name can't be told", line_of(node))
        if child.type == "word" and raw(child).startswith(b"-") and not re.fullmatch(rb"-[agrxfvp]+", raw(child)):
            raise refused(f"`{text_of(node)}` gives variables an attribute", line_of(node))
    return set(_NAME.findall(raw(node)))


def _by_command(construct: Node, node: Node, functions: Collection[str], find: Finder) -> set[bytes]:
    words = [_bare(child) for child in node.children if child.type not in _BESIDE]
    line = line_of(node)
    if not words:
        return set()
    if not _PLAIN.fullmatch(words[0]):
        raise refused(f"which command `{text_of(node)}` starts can't be told", line)
    try:
        at, wanted = find(words)
    except UsageError as e:
        raise refused(e.problem, line) from e
    if wanted:
        raise refused(f"{called(construct)} is around the command that starts QEMU", line)
    if at < len(words) and "$" in words[at]:
        raise refused(f"which command `{text_of(node)}` starts can't be told", line)
    return set_by(words, functions, line) | kept(node, words[0])


def _bare(node: Node) -> str:
    """A word without its quotes: enough to know a name by."""
    return re.sub(r"""['"\\]""", "", raw(node).decode("utf-8", "surrogateescape"))


_BESIDE: Final = frozenset({"comment", "file_redirect", "herestring_redirect", "variable_assignment"})
