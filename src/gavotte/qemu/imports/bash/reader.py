"""A script gone through, statement by statement, as bash would."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gavotte.errors import UsageError
from gavotte.qemu.imports.bash.effects import MOVING, Finder, kept, names_set, set_by
from gavotte.qemu.imports.bash.grammar import (
    Untold,
    called,
    descendants,
    line_of,
    parse,
    raw,
    refused,
    text_of,
)
from gavotte.qemu.imports.bash.variables import Value, Variables
from gavotte.qemu.imports.bash.words import Expander

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["Command", "read_script"]

_SHELLS = re.compile(
    rb"#![ \t]*(?:\S*/)?(?:env(?:[ \t]+-S)?[ \t]+(?:\S*/)?)?(bash|sh|dash)((?:[ \t]+-[euxv]+)*)[ \t]*(?:\n|$)"
)
_ASSIGNED = re.compile(rb"([A-Za-z_]\w*)(\+?)=", re.ASCII)
_NAME = re.compile(rb"[A-Za-z_]\w*", re.ASCII)
_END: Final = frozenset({"exit", "return", "logout"})


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the script starts: its words, its line, and the `cd` before it, if there was one."""

    words: tuple[bytes, ...]
    line: int
    moved: str = ""


def read_script(script: bytes, find: Finder) -> Iterator[Command]:
    """Gives the wanted commands of a script, in order: where bash starts any of them, it is with these words.

    Raises UsageError, whose path is the line, for a construct that can't be read and may matter.
    """
    first = script.partition(b"\n")[0]
    shell = _SHELLS.match(script)
    if first.startswith(b"#!") and not shell:
        raise refused(f"it is a script for {first[2:].decode(errors='replace').strip()}; bash and sh are read", 1)
    reader = _Reader(find, sh=bool(shell and shell[1] != b"bash"))
    yield from reader.statements(parse(script))


class _Reader:
    def __init__(self, find: Finder, *, sh: bool) -> None:
        self._find = find
        self._sh = sh
        self._variables = Variables()
        self._functions: frozenset[str] = frozenset()
        self._moved = ""
        self._ended = False

    # --- statements -------------------------------------------------------------------------------------------------

    def statements(self, root: Node) -> Iterator[Command]:
        self._functions = frozenset(
            raw(name).decode("utf-8", "surrogateescape")
            for node in descendants(root)
            if node.type == "function_definition" and (name := node.child_by_field_name("name"))
        )
        for node in root.children:
            if self._ended:
                return
            following = node.next_sibling
            if following is not None and following.type == "&":
                yield from self._apart(node)
            else:
                yield from self._statement(node)

    def _apart(self, node: Node) -> Iterator[Command]:
        """In a process of its own, so that what it changes ends with it."""
        variables, self._variables = self._variables, self._variables.copy()
        moved = self._moved
        yield from self._statement(node)
        self._variables, self._moved, self._ended = variables, moved, False

    def _statement(self, node: Node) -> Iterator[Command]:
        match node.type:
            case "comment" | ";" | "&" | "\n" | "function_definition":
                return
            case "variable_assignment":
                self._assignments([node])
            case "variable_assignments":
                self._assignments(node.children)
            case "declaration_command":
                self._declare(node)
            case "command":
                yield from self._command(node)
            case "redirected_statement":
                yield from self._redirected(node)
            case "pipeline":
                for child in node.children:
                    if child.is_named:
                        yield from self._apart(child)
            case "list":
                yield from self._list(node)
            case _:
                self._pass_over(node)

    def _redirected(self, node: Node) -> Iterator[Command]:
        for child in node.children:
            if child.type not in ("file_redirect", "herestring_redirect"):
                yield from self._statement(child)
                continue
            if len(child.children_by_field_name("destination")) > 1:  # the grammar takes arguments for those
                raise refused(f"words behind a redirection aren't read: `{text_of(child)}`", line_of(child))
            if re.search(rb"\{\w+\}$", raw(node)[: child.start_byte - node.start_byte]):
                raise refused(f"`{text_of(node)}` sets a variable to a descriptor's number", line_of(child))
            self._pass_over(child)

    def _list(self, node: Node) -> Iterator[Command]:
        """Of `a && b`, a is a statement as any other. So is b behind `cd x &&`: it runs where that leads."""
        left, operator, *right = node.children
        yield from self._statement(left)
        moves = operator.type == "&&" and left.type == "command" and raw(left).split()[:1] == [b"cd"]
        for one in right:
            if moves:
                yield from self._statement(one)
            else:
                self._pass_over(one, within=node)

    def _pass_over(self, node: Node, *, within: Node | None = None) -> None:
        self._forget(names_set(node, self._functions, self._find, within or node), within or node)

    def _forget(self, names: set[bytes], node: Node) -> None:
        for name in sorted(names):
            self._variables.forget(name, f"{called(node)} in line {line_of(node)} may set it", line_of(node))

    # --- assignments ------------------------------------------------------------------------------------------------

    def _assignments(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            name, value, more = self._assigned(node)
            self._variables.set(name, value, line_of(node), more=more)

    def _assigned(self, node: Node, *, argument: bool = False) -> tuple[bytes, Value, bool]:
        """Gives the name, the value, and whether that is added to the old one."""
        line = line_of(node)
        found = _ASSIGNED.match(raw(node))
        value = node.child_by_field_name("value")
        if not found:
            raise refused(f"an element of an array is set: `{text_of(node)}`", line)
        name, more = found[1], bool(found[2])
        if (more or (value is not None and value.type == "array")) and self._sh:
            raise refused(f"sh has no `{text_of(node)}`", line)
        if value is None or value.start_byte != node.start_byte + found.end():
            if node.end_byte != node.start_byte + found.end():
                raise refused(f"`{text_of(node)}` can't be read", line)
            return name, b"", more
        self._pass_over(value)
        return name, self._value(value, argument=argument), more

    def _value(self, node: Node, *, argument: bool) -> Value:
        expander = Expander(self._variables, sh=self._sh)
        try:
            if node.type != "array":
                return expander.value(node, argument=argument)
            elements = [child for child in node.children if child.is_named and child.type != "comment"]
            return [word for element in elements for word in expander.words(element)]
        except Untold as e:
            what = f"{e.what}: {e.why}" if e.why else e.what
            return f"line {e.line} sets it to {what}"

    def _declare(self, node: Node) -> None:
        kind, *rest = node.children
        line = line_of(node)
        flags = {raw(one) for one in rest if one.type == "word"}
        if kind.type == "local":
            raise refused("`local` is not in a function", line)
        if not flags <= {b"-a", b"-x", b"-g", b"-r"} or (
            self._sh and (flags or kind.type not in ("export", "readonly"))
        ):
            raise refused(f"`{text_of(node)}` gives a variable an attribute", line)
        for name, value, more in self._declared(node, rest, arrays=b"-a" in flags):
            self._variables.set(name, value, line, more=more)
        if kind.type == "readonly" or b"-r" in flags:
            for one in rest:
                if one.type != "word":
                    self._variables.protect(_NAME.findall(raw(one))[0])

    def _declared(self, node: Node, rest: Sequence[Node], *, arrays: bool) -> list[tuple[bytes, Value, bool]]:
        """Expands all words of a declaration before its variables are set. `name=(…)` is set at once, as bash does."""
        found: list[tuple[bytes, Value, bool]] = []
        for one in rest:
            if one.type == "variable_assignment":
                value = one.child_by_field_name("value")
                if value is not None and value.type not in ("string", "raw_string", "word", "number") and self._sh:
                    raise refused(f"shells differ in `{text_of(node)}`", line_of(node))
                name, told, more = self._assigned(one, argument=True)
                if isinstance(told, list):
                    self._variables.set(name, told, line_of(one), more=more)
                elif isinstance(told, bytes) and told.startswith(b"("):
                    found.append((name, f"line {line_of(one)} declares it as text that may be read as an array", more))
                else:
                    found.append((name, told, more))
            elif one.type == "variable_name" and arrays:
                found.append((raw(one), "it is declared, and has no value before", False))
            elif one.type not in ("variable_name", "word"):
                raise refused(f"`{text_of(node)}` sets a variable whose name can't be told", line_of(node))
        return found

    # --- commands ---------------------------------------------------------------------------------------------------

    def _command(self, node: Node) -> Iterator[Command]:
        words: list[bytes] = []
        untold: list[tuple[int, Untold]] = []
        expander = Expander(self._variables, sh=self._sh)
        for child in node.children:
            if child.type in ("variable_assignment", "file_redirect", "herestring_redirect", "comment"):
                continue
            try:
                words += expander.words(child.children[0] if child.type == "command_name" else child)
            except Untold as e:
                untold.append((len(words), e))
                words.append(b"$" + raw(child))  # which is no word of anybody's
        for child in node.children:
            self._pass_over(child)
        yield from self._started(node, words, untold)

    def _started(self, node: Node, words: list[bytes], untold: list[tuple[int, Untold]]) -> Iterator[Command]:
        texts = [word.decode("utf-8", "surrogateescape") for word in words]
        try:
            at, wanted = self._find(texts)
        except UsageError as e:
            raise untold[0][1].error() if untold else refused(e.problem, line_of(node)) from e
        if untold and (wanted or untold[0][0] <= at):
            raise untold[0][1].error()
        if wanted:
            if called_first := self._functions.intersection(texts[: at + 1]):
                raise refused(f"the function {min(called_first)} is called", line_of(node))
            yield Command(tuple(words[at:]), line_of(node), self._moved)
        elif not texts:  # what is in front of nothing is set as if it stood alone
            self._assignments([child for child in node.children if child.type == "variable_assignment"])
        else:
            self._forget(set_by(texts, self._functions, line_of(node)) | kept(node, texts[0]), node)
            self._moved = " ".join(texts) if texts[0] in MOVING else self._moved
        name, arguments = (texts[0], texts[1:]) if texts else ("", [])
        self._ended = name in _END or (name == "exec" and any(not word.startswith("-") for word in arguments))
