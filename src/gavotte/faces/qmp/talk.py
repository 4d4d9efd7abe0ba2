"""The three ways to say commands: as arguments, through a pipe, at a prompt."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gavotte.errors import GavotteError, OutcomeUnknown, QemuError
from gavotte.faces.qmp.grammar import Grammar, split_line
from gavotte.faces.qmp.session import Session, print_answer
from gavotte.text import harmless

__all__ = ["from_pipe", "from_terminal", "say_one"]


def say_one(session: Session, words: Sequence[str]) -> int:
    """One command; raises what it does."""
    needs_types = any("=" in word and not word.startswith("{") for word in words)
    print_answer(session.run(words, session.ask_grammar() if needs_types else None))
    return 0


def from_pipe(session: Session) -> int:
    """Commands from stdin until its end; the first that fails is the last. Events go to stderr."""
    grammar = session.ask_grammar()
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="surrogateescape")  # what isn't UTF-8 is refused where it matters, with its path
    for number, line in enumerate(sys.stdin, 1):
        try:
            _run_line(session, line, grammar)
        except GavotteError as e:
            print(f"gavotte: line {number}: {_one_line(e)}", file=sys.stderr)
            return e.exit_code
        finally:
            print("".join(f"{news}\n" for news in session.take_news()), end="", file=sys.stderr)
        if session.finished:
            break
    return 0


def from_terminal(session: Session) -> int:
    """Commands from a prompt until Ctrl-D or `quit`. Raises QemuError when the connection ends before."""
    from gavotte.faces.qmp.prompt import ConnectionEnded, Prompt

    grammar = session.ask_grammar()
    with Prompt(grammar, session.take_news, lambda: session.closed).opened() as prompt:
        session.on_news = prompt.tell
        while not session.finished:
            try:
                line = prompt.read_line()
            except KeyboardInterrupt:
                print()
                continue
            except EOFError:
                print()
                return 0
            except ConnectionEnded:
                print()
                raise QemuError("QEMU ended the connection", hint="see whether it still runs") from None
            try:
                _run_line(session, line, grammar)
            except KeyboardInterrupt:
                print(f"\n{OutcomeUnknown(line.split()[0], 'its answer was not waited for')}")
            except GavotteError as e:
                print(_one_line(e))
    return 0


def _run_line(session: Session, line: str, grammar: Grammar) -> None:
    words = split_line(line)
    if words and not words[0].startswith("#"):
        print_answer(session.run(words, grammar))


def _one_line(error: GavotteError) -> str:
    hint = f"; next: {error.hint}" if error.hint else ""
    return harmless("; ".join(f"{error.message}{hint}".splitlines()))
