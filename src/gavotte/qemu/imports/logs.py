"""What programs write to their logs when they start a QEMU, and what ps(1) prints: a row for each.

The words of a command are there in one of three forms: as a shell would read them, as quoted strings, or joined by
blanks with nothing to tell where a word ends. Of the last, QEMU's own options tell it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gavotte.errors import UsageError
from gavotte.qemu.imports.launchers import QEMU, is_launcher, program_at
from gavotte.qemu.imports.options import FLAGS, VALUED

__all__ = ["Start", "starts_in_json", "starts_in_log"]

_EXACT: Final = "gavotte qemu import --pid N reads the words of a process that runs"
_VERBATIM: Final = "give the one command line behind: gavotte qemu import --"
_OPTION = re.compile(r"--?[A-Za-z]")
_UNQUOTED = re.compile(r'\{[^"}]')
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Start:
    """A command in a log: as shell text that is still to be read, or as its words."""

    shell: str = ""
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def starts_in_log(text: str) -> list[Start]:
    """Gives the QEMUs that a log says were started, in order; none if it is no log that is known here.

    Raises UsageError for a log that doesn't say enough.
    """
    for pattern, read in _LOGS:
        found = [read(match) for match in pattern.finditer(text)]
        starts = [start for start in found if start is not None]
        if starts:
            return starts
    return []


def starts_in_json(text: str) -> list[Start]:
    """Gives the lists of words in a JSON text that start a QEMU; none, if it isn't JSON.

    Raises UsageError for JSON without such a list.
    """
    if text.lstrip()[:1] not in ("{", "["):
        return []
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    starts = [Start(words=tuple(words)) for words in _lists(value) if program_at(words)[1]]
    if not starts:
        raise UsageError("it is JSON, and no list of words in it starts a QEMU", hint=_VERBATIM)
    return starts


def _lists(value: object) -> Iterator[list[str]]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list) and one and all(isinstance(item, str) for item in one):
            yield one
        elif isinstance(one, list | dict):
            waiting += reversed(list(one.values() if isinstance(one, dict) else one))


# --- the forms --------------------------------------------------------------------------------------------------------


def _as_shell(match: re.Match[str]) -> Start:
    return Start(shell=match[1])


def _libvirt(match: re.Match[str]) -> Start:
    """The first word behind the environment is the binary, whatever its name (qemuDomainLogContextWrite)."""
    return Start(shell=match[1].replace("\r\n", "\n").rstrip("\r"))


def _go(match: re.Match[str]) -> Start | None:
    """`launching PATH with: [WORD WORD]`, of Go's `%v`, plain or in a quoted string or a JSON text (logrus)."""
    for line in (*_strings(match[0]), match[0]):
        found = re.search(r"launching (\S+) with: \[(.*)\]", line)
        if found:
            return _joined([found[1], *found[2].split(" ")])
    return None


def _strings(line: str) -> Iterator[str]:
    for quoted in _STRING.findall(line):
        try:
            yield json.loads(quoted)
        except ValueError:  # Go has escapes that JSON hasn't
            continue


def _rust(match: re.Match[str]) -> Start | None:
    """`Command { std: "PATH" "WORD" }`, as Rust prints a command for its developers."""
    words = tuple(_strings(match[1].replace('\\"', '"') if match[1].startswith('\\"') else match[1]))
    return Start(words=words) if words else None


def _nameless(_match: re.Match[str]) -> Start:
    raise UsageError(
        "UTM's log doesn't say which QEMU it runs",
        hint="put its name in front of what comes behind 'Running:', such as qemu-system-aarch64, and import that",
    )


def _ps(match: re.Match[str]) -> Start | None:
    """A line of ps(1) or `pgrep -a`. What a shell would start as well, such as `timeout 60 qemu …`, is none."""
    if is_launcher(match[0].split()[0]):
        return None
    return _joined(match[1].split(" "))


def _joined(pieces: Sequence[str]) -> Start:
    """Words that were joined by blanks. A value goes as far as the next option."""
    words = [pieces[0]]
    at = 1
    while at < len(pieces):
        word = pieces[at]
        at += 1
        if not _OPTION.match(word):
            raise UsageError(f"where the word {word!r} begins and ends can't be told from this line", hint=_EXACT)
        if at < len(pieces) and _UNQUOTED.match(pieces[at]):
            raise UsageError(f"the JSON behind {word} has lost its quotes", hint=_EXACT)
        words.append(word)
        name = word.lstrip("-")
        end = at + (name in VALUED)
        while name not in FLAGS and end < len(pieces) and not _OPTION.match(pieces[end]):
            end += 1
        if end > at:
            words.append(" ".join(pieces[at:end]))
        at = end
    blank = next((word for word in words if " " in word), "")
    note = f"the line doesn't mark where words end; {blank[:40]!r} is taken for one. {_EXACT}"
    return Start(words=tuple(words), notes=(note,) if blank else ())


# The number of a process; or its user and number, and its time.
_TIME: Final = r"(?:\d+[-:])+\d\d(?:\.\d+)?"
_COLUMNS: Final = rf"[ \t]*(?:\d+|\S+[ \t]+\d+[ \t](?:.{{0,99}}[ \t])?{_TIME})[ \t]+"

# Each begins at a word of its own or at a line's begin, so that a long line is gone through once.
_LOGS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Start | None]], ...]] = (
    (re.compile(r": starting up libvirt version.*\n((?:.*\\\r?\n)*.*)"), _libvirt),
    (re.compile(r"^.*launching \S+ with: \[.*", re.MULTILINE), _go),
    (re.compile(rf'\bCommand \{{ std: (\\?"(?:\S*/)?{QEMU}\\?" .*?)(?:, kill_on_drop| \}}|$)', re.MULTILINE), _rust),
    (re.compile(r"\bcommand '(/\S+ .*)' failed: "), _as_shell),  # Proxmox, in a task's log
    (re.compile(r"^Running: +-[A-Za-z].*", re.MULTILINE), _nameless),
    (
        re.compile(rf"^{_COLUMNS}(?:\S+[ \t]+){{0,3}}?((?:/\S*/)?{QEMU} -.*?)\s*$", re.MULTILINE),
        _ps,
    ),
)
