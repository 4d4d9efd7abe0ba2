"""`gavotte qemu check`, `argv` and `run`: machine files."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from gavotte.errors import GavotteError, HostError, InvalidMachine, QemuNotFound, UsageError
from gavotte.faces.tables import print_json
from gavotte.qemu.binary import QemuBinary, find_qemu
from gavotte.qemu.descriptors import inherit_fds, redirections
from gavotte.qemu.document import Document, document_to_argv, document_to_options, read_document
from gavotte.qemu.machines import host_arch
from gavotte.qemu.shape import check_shape
from gavotte.text import harmless

__all__ = ["add_actions"]

# What the interpreter ignores for itself: QEMU starts with these as any program would.
_PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)


def add_actions(add: Callable[..., Any]) -> None:
    """Add the actions: `add(name, handler, help)` gives the action's argument parser."""
    check = add("check", _check, "say what the QEMU binary wouldn't take of a machine file, all of it at once")
    check.add_argument("--json", action="store_true", help="for programs")
    help = "start the binary with it as well, stopped and without effects, and say what it refuses"
    check.add_argument("--start", action="store_true", help=help)
    argv = add("argv", _argv, "print a machine file as a QEMU command line, one option a line")
    argv.add_argument("--shell", action="store_true", help="to be pasted into a shell (bash, zsh)")
    argv.add_argument("--json", action="store_true", help="for programs: a list of words")
    run = add("run", _run, "become the QEMU that a machine file describes")
    for parser in (argv, run):
        help = "leave values as written, and mistakes to QEMU"
        parser.add_argument("--unchecked", "--no-check", action="store_true", help=help)
    for parser in (check, argv, run):
        parser.add_argument("--qemu", metavar="PATH", help="the binary (else the file's, GAVOTTE_QEMU, the host's)")
        parser.add_argument("file", metavar="FILE", help="a machine file, JSON or TOML; - is stdin")
    run.add_argument("words", nargs="*", metavar="-- OPTION…", help="more options, as QEMU reads them, unchecked")


# --- check ------------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    """Problems are what this command is asked for, so they go to stdout."""
    try:
        document = read_document(options.file, shaped=False)
        checked, binary, version = _checked(document, options)
        untried = _started(checked, binary) if options.start else None
    except InvalidMachine as error:
        _print_problems(error.problems, as_json=options.json)
        return error.exit_code
    except UsageError as error:
        if not options.json:
            raise
        _print_problems([error], as_json=True)
        return error.exit_code
    _print_fine(document, binary, version, untried, as_json=options.json)
    return 0


def _started(document: Document, binary: QemuBinary) -> tuple[str, ...]:
    """Gives the paths of what was not tried. Raises InvalidMachine when QEMU refuses what was."""
    from gavotte.qemu.trial import try_start

    problem, untried = try_start(document, binary)
    if problem:
        raise InvalidMachine([problem])
    return untried


def _print_problems(problems: Sequence[UsageError], *, as_json: bool) -> None:
    if as_json:
        rows = [{"path": problem.path, "problem": problem.problem, "hint": problem.hint} for problem in problems]
        print_json({"ok": False, "problems": rows})
    else:
        print(*_lines(problems), sep="\n")


def _print_fine(
    document: Document, binary: QemuBinary, version: str, untried: tuple[str, ...] | None, *, as_json: bool
) -> None:
    counts = {name: len(value) for name, value in document.items() if isinstance(value, list)}
    if as_json:
        told = {} if untried is None else {"started": True, "untried": list(untried)}
        print_json({"ok": True, "qemu": str(binary.path), "version": version, "counts": counts, **told})
        return
    counted = ", ".join(f"{name} {count}" for name, count in counts.items()) or "no devices"
    started = "" if untried is None else "; it starts"
    print(f"fine for QEMU {version} ({harmless(str(binary.path))}): {counted}{started}")
    if untried:
        print("not tried, since it reaches beyond the machine:", harmless(", ".join(untried)))


# --- argv -------------------------------------------------------------------------------------------------------------


def _argv(options: argparse.Namespace) -> int:
    if options.shell and options.json:
        raise UsageError("it is one form or the other", path="--json", hint="leave out --shell, or --json")
    document = read_document(options.file, shaped=options.unchecked)
    if options.unchecked:
        qemu = _name_of_qemu(document, options)
    else:
        try:
            document, binary, _ = _checked(document, options)
        except QemuNotFound as error:
            hint = f"{error.hint}; --unchecked writes it without asking a binary"
            raise QemuNotFound(error.message, hint=hint) from error
        qemu = str(binary.path)
    written = document_to_options(document)
    if options.json:
        print_json([qemu, *(word for option in written for word in option)])
    elif options.shell:
        lines = [*map(_shell_line, written), *_shell_redirections(document)]
        print(_shell_word(qemu), *lines, sep=" \\\n  ")
    else:
        print(*map(_plain_line, [[qemu], *written]), sep="\n")
    return 0


def _name_of_qemu(document: Document, options: argparse.Namespace) -> str:
    """Gives the binary's name also where there is none: a command line can be made for another host."""
    try:
        return str(_find(document, options).path)
    except QemuNotFound:
        return str(options.qemu or document.get("qemu") or f"qemu-system-{host_arch()}")


def _plain_line(words: Sequence[str]) -> str:
    """To be read: words stand as QEMU gets them, unless that would be misread, or acted on by a terminal."""
    return " ".join(word if word.isprintable() and word.strip() == word != "" else _shell_word(word) for word in words)


def _shell_line(words: Sequence[str]) -> str:
    return " ".join(map(_shell_word, words))


def _shell_redirections(document: Document) -> Iterable[str]:
    return (f"{number}{sign}{_shell_word(path)}" for number, sign, path in redirections(document))


def _shell_word(word: str) -> str:
    """Quoted for a shell. What a terminal would act on, and bytes that aren't UTF-8, stand as numbers."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_escaped, word))}'"


def _escaped(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "\\'" else character
    return "".join(f"\\{byte:03o}" for byte in _encoded(character))


# --- run --------------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> NoReturn:
    document = read_document(options.file, shaped=options.unchecked)
    if options.unchecked:
        binary = _find(document, options)
    else:
        document, binary, _ = _checked(document, options)
    words = [_encoded(word) for word in [str(binary.path), *document_to_argv(document), *options.words]]
    inherit_fds(document)
    sys.stdout.flush()
    for number in _PYTHONS_OWN:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(words[0], words)
    except OSError as error:
        hint = "one word may have 128 KiB" if error.errno == errno.E2BIG else ""
        raise HostError(f"can't run {binary.path}: {error.strerror}", hint=hint) from error


# --- what they share --------------------------------------------------------------------------------------------------


def _lines(problems: Sequence[UsageError]) -> Iterator[str]:
    for problem in problems:
        yield harmless(f"{problem}; {problem.hint}" if problem.hint else str(problem))


def _checked(document: Document, options: argparse.Namespace) -> tuple[Document, QemuBinary, str]:
    """Gives the document with the values that the binary wants, the binary, and its version.

    Raises InvalidMachine with all that is wrong: the shape, what the binary wouldn't take, what no option can say.
    """
    from gavotte.qemu.check import check_document
    from gavotte.qemu.schema import schema_of

    try:
        binary = _find(document, options)
        schema = schema_of(binary, cold=_drivers(document))
    except GavotteError:
        check_shape(document)  # which needs no binary
        raise
    checked: Document = {}
    problems: list[UsageError] = []
    try:
        checked = check_document(document, schema)
    except InvalidMachine as error:
        problems += error.problems
    try:
        document_to_argv(document)
    except InvalidMachine as error:
        told = {problem.path for problem in problems}
        problems += [problem for problem in error.problems if problem.path not in told]
    if problems:
        raise InvalidMachine(problems)
    return checked, binary, ".".join(map(str, schema.version))


def _drivers(document: Document) -> set[str]:
    devices = document.get("devices")
    named = [props.get("driver") for props in devices if isinstance(props, dict)] if isinstance(devices, list) else []
    return {name for name in named if isinstance(name, str)}


def _find(document: Document, options: argparse.Namespace) -> QemuBinary:
    named = document.get("qemu")
    return find_qemu(path=options.qemu or (named if isinstance(named, str) else None))


def _encoded(word: str) -> bytes:
    """QEMU reads UTF-8 whatever the locale; what wasn't UTF-8 in a path goes back to its bytes."""
    return word.encode("utf-8", "surrogateescape")
