"""What QEMU wants of one map beyond the types of its values: a row of data, and how a map is held against it."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import field

from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.scalars import Misfit, is_int, to_int, to_word
from gavotte.qemu.props import PropertyMap
from gavotte.values import dataclass

__all__ = ["Rule", "check_rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one kind of map needs.

    `needs` are keys that have to be there; `a|b` is one of several at least. `one_of` are keys of which exactly one has
    to be there. `brings` has what a key needs beside it. `ranges` has the lowest and the highest number, `words` the
    words, and `forms` a pattern with what it means, for the values of a key. `never` are keys that may only be empty.
    `keys` are all that there are, where no binary lists them.
    """

    needs: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    brings: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forms: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    never: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()


def check_rule(
    rule: Rule, owner: str, props: PropertyMap, path: str, inspection: Inspection, known: Container[str] | None = None
) -> None:
    """Reports where a map breaks the row. Of keys that aren't `known`, it asks nothing; None stands for all."""
    for alternatives in rule.needs:
        keys = [key for key in alternatives.split("|") if known is None or key in known]
        if keys and not _given(keys, props):
            inspection.report(path, f"{owner} needs {_listed(keys, 'or')}")
    if rule.one_of and len(_given(rule.one_of, props)) != 1:
        inspection.report(path, f"{owner} needs exactly one of {_listed(rule.one_of, 'and')}")
    for key in _given(rule.brings, props):
        if not _given([rule.brings[key]], props):
            inspection.report(path, f"{owner} needs '{rule.brings[key]}' beside '{key}'")
    for key in _given(rule.never, props):
        inspection.report(inside(path, key), f"{owner} can't have a '{key}': QEMU aborts")
    for key in props:
        if rule.keys and key not in rule.keys:
            inspection.report_unknown(inside(path, key), f"{owner} has no parameter '{key}'", key, rule.keys)
    _check_values(rule, owner, props, path, inspection)


def _check_values(rule: Rule, owner: str, props: PropertyMap, path: str, inspection: Inspection) -> None:
    for key, value in props.items():
        try:
            if key in rule.ranges and is_int(value):  # what is none is said where its type is looked at
                to_int(value, rule.ranges[key])
            if key in rule.words:
                to_word(value, rule.words[key])
            if (form := rule.forms.get(key)) and not (isinstance(value, str) and re.fullmatch(form[0], value)):
                raise Misfit(form[1])
        except Misfit as misfit:
            where = path if key == path else inside(path, key)
            inspection.report(where, f"{owner} wants {misfit} for '{key}', not {shown(value)}")


def _given(keys: Iterable[str], props: PropertyMap) -> list[str]:
    return [key for key in keys if props.get(key) not in (None, "")]


def _listed(keys: Sequence[str], word: str) -> str:
    quoted = [f"'{key}'" for key in keys]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"
