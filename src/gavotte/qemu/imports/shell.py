"""The commands in a shell script, as far as they can be read without running it.

Quotes, comments, continued lines, `NAME=value`, `NAME=(a b)`, `NAME+=(c)`, `$NAME`, `${NAME}` and `"${NAME[@]}"` are
read as a shell does (POSIX.1-2017, Shell Command Language, section 2). Nothing is run and no branch is followed: a word
that needs more than that is marked, and `check_known` refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gavotte.errors import UsageError

__all__ = ["check_known", "split_commands"]

_UNKNOWN = "\0"  # around what only a shell can tell; no script can hold it

_PLAIN = re.compile(r"""[^\s'"\\$`;&|<>()#]+""")
_EXPANSION = re.compile(r"\$(?:\{(\w+)(\[[@*]\])?\}|(\w+))")
_BEYOND = re.compile(r"\$\{[^}\n]*\}|\$\([^)\n]*\)*|`[^`]*`?|\$.?", re.DOTALL)
_REDIRECTION = re.compile(r"\d*(?:&>>?|<<?<?|>>|>\||[<>]&?|<>)[ \t]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_DECLARING = ("export", "local", "readonly", "declare", "typeset")


def split_commands(text: str) -> Iterator[list[str]]:
    """Gives the words of each command, in order, variables set before it put in; words that set one are left out."""
    script = _Script(text.replace("\r\n", "\n").replace("\\\n", ""))
    while script.at < len(script.text):
        words = script.command()
        if words:
            yield words


def check_known(words: Sequence[str]) -> None:
    """Raises UsageError for a word that only a shell that runs the script can tell."""
    for word in words:
        if _UNKNOWN in word:
            unknown = word.split(_UNKNOWN)[1]
            raise UsageError(
                f"{unknown} has no value that can be told without running the script",
                hint="start the machine and import it with --pid, or write the value in its place",
            )


class _Script:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.variables: dict[str, list[str]] = {}

    def command(self) -> list[str]:
        """The words up to the next end of a command; assignments are carried out."""
        words: list[str] = []
        while self._skip_blanks():
            start = self.at
            if found := _REDIRECTION.match(self.text, start):
                self.at = found.end()
                self._word()
                continue
            for word in self._word():
                if not words and self._assign(word, self.text[start : self.at]):
                    continue
                words.append(word)
            if words and words[0] in _DECLARING:
                words.clear()
        return words

    def _skip_blanks(self) -> bool:
        """Goes to the next word; False at the end of the command, which is passed."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in " \t\r":
                self.at += 1
            elif char in "\n;|()" or (char == "&" and self.text[self.at + 1 : self.at + 2] != ">"):
                self.at += 1
                return False
            else:
                return True
        return False

    def _assign(self, word: str, written: str) -> bool:
        found = _ASSIGNMENT.fullmatch(word)
        if not found or not _ASSIGNMENT.match(written):
            return False
        name, more, value = found.groups()
        values = self._array() if not value and self.text[self.at : self.at + 1] == "(" else [value]
        self.variables[name] = [*self.variables.get(name, ()), *values] if more else values
        return True

    def _array(self) -> list[str]:
        self.at += 1
        values: list[str] = []
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at] in " \t\r\n" or self.text[self.at] in ";&|<>(":
                self.at += 1
            else:
                values += self._word()
        self.at += 1
        return values

    def _word(self) -> list[str]:
        """One word, which expansions may make none or several."""
        words = [""]
        quoted = False
        start = self.at
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in "'\"" or char == "\\":
                quoted = True
                self._add(words, self._quoted(char))
            elif char in "$`":
                parts = [part for value in self._expansion() for part in value.split()]
                self._add(words, parts or [""])
            elif char == "#":
                self.at += 1
                self._add(words, ["#"])
            elif plain := _PLAIN.match(self.text, self.at):
                self.at = plain.end()
                self._add(words, [plain[0]])
            else:
                break
        if self.at == start:
            self.at += 1
        return words if quoted or words != [""] else []

    @staticmethod
    def _add(words: list[str], parts: Sequence[str]) -> None:
        words[-1] += parts[0] if parts else ""
        words += parts[1:]

    def _quoted(self, quote: str) -> list[str]:
        self.at += 1
        if quote == "\\":
            self.at += 1
            return [self.text[self.at - 1 : self.at]]
        if quote == "'":
            end = self.text.find("'", self.at)
            if end < 0:
                raise UsageError("a quote isn't closed")
            start, self.at = self.at, end + 1
            return [self.text[start:end]]
        return self._double_quoted()

    def _double_quoted(self) -> list[str]:
        words = [""]
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return words
            if char in "$`":
                self._add(words, self._expansion())
            elif char == "\\" and self.text[self.at + 1 : self.at + 2] in tuple('$`"\\'):
                self._add(words, [self.text[self.at + 1]])
                self.at += 2
            else:
                self._add(words, [char])
                self.at += 1
        raise UsageError("a quote isn't closed")

    def _expansion(self) -> list[str]:
        found = _EXPANSION.match(self.text, self.at)
        values = self.variables.get(found[1] or found[3]) if found else None
        if found and values is not None:
            self.at = found.end()
            return values if found[2] else values[:1]
        beyond = _BEYOND.match(self.text, self.at)
        text = found[0] if found else beyond[0] if beyond else "$"
        self.at += len(text)
        return [text] if text == "$" else [f"{_UNKNOWN}{text}{_UNKNOWN}"]
