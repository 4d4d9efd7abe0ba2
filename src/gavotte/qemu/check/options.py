"""Options that QEMU reads as `key=value`, checked by the parameters that the binary tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from gavotte.qemu.check.inspection import Inspection, inside, shown
from gavotte.qemu.check.qom import convert
from gavotte.qemu.check.scalars import Misfit, to_bool, to_int, to_size
from gavotte.qemu.props import REPEATED, Json, PropertyMap
from gavotte.qemu.schema.model import Property

__all__ = ["check_parameters"]

# The names by which query-command-line-options goes where they aren't the option's own.
_LISTED_AS: Final = {"boot": "boot-opts", "m": "memory", "smp": "smp-opts"}


def check_parameters(
    option: str, props: PropertyMap, path: str, inspection: Inspection, *, more: Iterable[str] = ()
) -> dict[str, Json]:
    """Gives the option's values in their own types, for all parameters that are known; `more` are other keys it takes.

    A size stays as it is written: what it means without a unit differs from option to option.
    """
    known = inspection.schema.option(_LISTED_AS.get(option, option))
    if not known:
        return dict(props)
    return {
        key: _checked(option, known, more, key, value, inside(path, key), inspection) for key, value in props.items()
    }


def _checked(
    option: str,
    known: Mapping[str, Property],
    more: Iterable[str],
    key: str,
    value: Json,
    path: str,
    inspection: Inspection,
) -> Json:
    if key in known:
        try:
            if isinstance(value, list) and key in REPEATED.get(option, ()):
                return [_convert(known[key], item) for item in value]
            return _convert(known[key], value)
        except Misfit as misfit:
            inspection.report(path, f"-{option} wants {misfit} for '{key}', not {shown(value)}")
    elif key not in more and not _is_dotted(key, value, known):
        inspection.report_unknown(path, f"-{option} has no parameter '{key}'", key, (*known, *more))
    return value


def _convert(parameter: Property, value: Json) -> Json:
    match parameter.type:
        case "boolean":
            return to_bool(value)
        case "number":
            return to_int(value)
        case "size":
            to_size(value)
            return value
    return convert(parameter, value)


def _is_dotted(key: str, value: Json, known: Iterable[str]) -> bool:
    """Whether it is the first part of parameters with dots in their names, such as `throttling.bps-total`."""
    return not isinstance(value, str | int | float) and any(name.startswith(f"{key}.") for name in known)
