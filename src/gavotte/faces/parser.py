"""argparse, whose complaints are UsageErrors in Gavotte's words: the option, what was given, and what is wanted."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from gavotte.compat import override
from gavotte.errors import UsageError
from gavotte.text import harmless

__all__ = ["Lacking", "Parser", "one_of"]


class Parser(argparse.ArgumentParser):
    """Raises UsageError. `type=int` and `type=float` say what isn't one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "exit_on_error": False, **options})
        self.register("type", int, _whole_number)
        self.register("type", float, _number)
        self._commands: dict[str, Any] = {}
        self._namespace = argparse.Namespace()

    @override
    def add_subparsers(self, **options: Any) -> Any:
        commands = super().add_subparsers(required=True, parser_class=Parser, **options)
        self._commands = commands.choices
        return commands

    @override
    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        words = list(args or ())
        if self._commands and words and words[0] not in {**self._commands, **self._option_string_actions}:
            self._refuse(words[0])
        for action in self._actions:  # one that is missing in the end leaves no value
            if action.required and action.nargs not in (argparse.REMAINDER, argparse.ZERO_OR_MORE):
                action.default = argparse.SUPPRESS
        self._namespace = namespace or argparse.Namespace()
        try:
            found, unknown = super().parse_known_args(words, self._namespace)
        except argparse.ArgumentError as error:
            blamed = next((a for a in self._actions if _whole_name(a) == error.argument_name), None)
            if blamed is None:
                self.error(error.message)
            raise self._explained(blamed, error, words) from None
        if unknown:
            self._refuse(unknown[0])
        return found, []

    @override
    def error(self, message: str) -> NoReturn:
        """What argparse has no action to blame for: an argument that is required wasn't given."""
        missing = [a for a in self._actions if a.required and not hasattr(self._namespace, a.dest)]
        for action in missing:
            message = f"{_name(action)} is missing"
            if self._commands:
                message += f": one of {', '.join(self._commands)}"
            break
        raise UsageError(message, hint=self._help)

    @property
    def _help(self) -> str:
        return f"{self.prog} --help"

    def _explained(self, action: argparse.Action, error: argparse.ArgumentError, words: Sequence[str]) -> UsageError:
        if isinstance(error.__context__, argparse.ArgumentTypeError):
            return UsageError(error.message, path=_name(action), hint=self._help)
        if action.nargs != 0:
            return UsageError(f"its {action.metavar or 'value'} is missing", path=_name(action), hint=self._help)
        for word in words:  # of several short options in one word, the last that is known is blamed
            for letter in word[1:] if word[:1] == "-" != word[1:2] else "":
                if f"-{letter}" not in self._option_string_actions:
                    self._refuse(f"-{letter}")
        return UsageError("it takes no value", path=_name(action), hint=self._help)

    def _refuse(self, word: str) -> NoReturn:
        """For a word that is no option, no command, or one too many."""
        name = word.partition("=")[0] if word.startswith("-") else word
        if word.startswith("-"):
            known = [name for name, action in self._option_string_actions.items() if not isinstance(action, Lacking)]
            problem = f"{self.prog} has no option {harmless(name)}"
        elif self._commands:
            known = list(self._commands)
            problem = f"{self.prog} has no command {word!r}; it has {', '.join(known)}"
        else:
            known, problem = [], f"{word!r} is one word too many for {self.prog}"
        import difflib  # for mistakes only

        close = difflib.get_close_matches(name, known, 1)
        raise UsageError(problem, hint=f"did you mean {close[0]}? {self._help} says more" if close else self._help)


class Lacking(argparse.Action):
    """An option that podman has and Gavotte doesn't: refused with what there is instead."""

    def __init__(self, *, hint: str, **options: Any) -> None:
        super().__init__(nargs="?", help=argparse.SUPPRESS, **options)
        self._hint = hint

    @override
    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> NoReturn:
        raise UsageError(f"{parser.prog} has no option {option}", hint=self._hint)


def one_of(*words: str) -> Callable[[str], str]:
    """A type of arguments: one of these words."""

    def check(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}")
        return text

    return check


def _name(action: argparse.Action) -> str:
    """The long form of an option, or the placeholder of an argument."""
    return next((name for name in action.option_strings if name.startswith("--")), _whole_name(action))


def _whole_name(action: argparse.Action) -> str:
    """As argparse's own errors have it."""
    return "/".join(action.option_strings) or str(action.metavar or action.dest)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
