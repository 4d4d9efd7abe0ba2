"""A script's syntax tree, and what its constructs are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gavotte.errors import HostError, UsageError
from gavotte.text import harmless

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["TRACE", "Untold", "called", "descendants", "line_of", "parse", "raw", "refused", "text_of"]

TRACE: Final = "gavotte qemu import --trace -- SCRIPT ARGS… runs a script, and imports what it starts"

_CALLED: Final = {
    "ansi_c_string": "$'…'",
    "arithmetic_expansion": "arithmetic",
    "brace_expression": "a brace expansion",
    "c_style_for_statement": "a `for` loop",
    "case_statement": "a `case`",
    "command_substitution": "a command substitution",
    "compound_statement": "a group `{ … }`",
    "for_statement": "a `for` loop",
    "function_definition": "a function",
    "heredoc_redirect": "a here-document",
    "if_statement": "an `if`",
    "list": "`&&` or `||`",
    "negated_command": "`!`",
    "pipeline": "a pipeline",
    "process_substitution": "a process substitution",
    "subshell": "a subshell",
    "test_command": "a test",
    "translated_string": '$"…"',
    "while_statement": "a `while` or `until` loop",
}

_MAX_SHOWN: Final = 60


class Untold(Exception):
    """A piece of the script has no value that can be told without running it. `why` is half a sentence, or empty."""

    def __init__(self, what: str, why: str, line: int, *, hint: str = TRACE) -> None:
        super().__init__(what, why, line)
        self.what = what
        self.why = why
        self.line = line
        self.hint = hint

    def error(self) -> UsageError:
        """Gives what a user is told."""
        why = f": {self.why}" if self.why else ""
        return refused(
            f"{self.what} has no value that can be told without running the script{why}", self.line, hint=self.hint
        )


def refused(problem: str, line: int, *, hint: str = TRACE) -> UsageError:
    """Gives the error for what isn't read, whose path is the number of its line."""
    return UsageError(problem, path=str(line), hint=hint)


def parse(script: bytes) -> Node:
    """Gives the root of the script's syntax tree. Raises UsageError, with the line, for what isn't bash."""
    try:
        import tree_sitter_bash
        from tree_sitter import Language, Parser
    except ImportError as e:
        raise HostError(
            f"reading a script needs a grammar of bash, and {e.name} is not installed",
            hint="pip install tree-sitter tree-sitter-bash",
        ) from e
    root = Parser(Language(tree_sitter_bash.language())).parse(script).root_node
    if root.has_error:
        broken = next(node for node in descendants(root) if node.is_error or node.is_missing)
        raise refused(
            f"this can't be read as bash: {text_of(broken) or 'a quote or a bracket is open, or the form is unusual'}",
            line_of(broken),
            hint=f"give the one command line behind: gavotte qemu import --; {TRACE}",
        )
    for node in descendants(root):
        if node.type == "heredoc_redirect":  # what is one, and where it ends, is told too late for any grammar
            raise refused(f"{called(node)} isn't read", line_of(node))
    _check_gaps(root, script)
    return root


def descendants(node: Node, *, into_functions: bool = True) -> Iterator[Node]:
    """Gives the node and all below it, in the order of the script."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if into_functions or one.type != "function_definition":
            waiting += reversed(one.children)


def raw(node: Node) -> bytes:
    """The bytes of the script that a node stands for."""
    return node.text or b""


def text_of(node: Node) -> str:
    """Gives the node as it may be shown: one line, not too long."""
    text = harmless(" ".join(raw(node).decode("utf-8", "replace").split()))
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def line_of(node: Node) -> int:
    """Gives the number of the line where the node begins, from 1."""
    return node.start_point.row + 1


def called(node: Node) -> str:
    """Gives what a user calls this construct."""
    return _CALLED.get(node.type, f"`{text_of(node)}`")


# --- what lies between the nodes --------------------------------------------------------------------------------------

_NOTHING = re.compile(b"")
_BLANKS = re.compile(rb"(?:[ \t]|\\\n)*")
_BLANKS_AND_LINES = re.compile(rb"(?:[ \t\n]|\\\n)*")
_ONE_LINE: Final = {
    "command",
    "declaration_command",
    "file_redirect",
    "redirected_statement",
    "unset_command",
    "variable_assignments",
}
_ONE_WORD: Final = {"concatenation", "simple_expansion", "variable_assignment"}
_OF_WORDS: Final = {"array", "command", "declaration_command", "variable_assignments"}
_NO_WORDS: Final = {"comment", "file_redirect", "herestring_redirect", "file_descriptor"}


def _check_gaps(root: Node, script: bytes) -> None:
    """Raises UsageError where the tree leaves out more than blanks, or cuts one word in two.

    The grammar isn't quite bash's: it drops `\\` and a blank behind a word, goes on behind the end of a line, and takes
    `a\\` with a new line and `b` for two words, as well as `$"a"`.
    """
    for node in descendants(root):
        if node.type in ("string", "comment") or not node.children:
            continue
        blanks = _NOTHING if node.type in _ONE_WORD else _BLANKS if node.type in _ONE_LINE else _BLANKS_AND_LINES
        for left, right in pairwise(node.children):
            gap = script[left.end_byte : right.start_byte]
            if not blanks.fullmatch(gap) or (node.type in _OF_WORDS and _are_one(left, right, gap)):
                raise refused(f"`{text_of(left)}{text_of(right)}` is a form of a word that isn't read", line_of(left))
    ends = script[: root.children[0].start_byte] + script[root.children[-1].end_byte :] if root.children else script
    if not _BLANKS_AND_LINES.fullmatch(ends):
        raise refused(
            "the last word is of a form that isn't read", line_of(root.children[-1] if root.children else root)
        )


def _are_one(left: Node, right: Node, gap: bytes) -> bool:
    """Whether these are parts of one word in bash."""
    if gap.replace(b"\\\n", b""):
        return False
    both = left.is_named and right.is_named and not {left.type, right.type} & _NO_WORDS
    return both or (not left.is_named and left.type == "$")
