"""Every function that docs/flows.md names exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs/flows.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(gavotte\.[\w.]+)`", TEXT)))


def find(dotted: str) -> object:
    """What a dotted path leads to: the longest part that is a module, then attributes. Raises AttributeError."""
    module, *rest = dotted.split(".")
    found: object = importlib.import_module(module)
    for name in rest:
        module = f"{module}.{name}"
        try:
            found = getattr(found, name)
        except AttributeError:
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError:
                raise AttributeError(f"{dotted}: there is no {module}") from None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_exists(name: str) -> None:
    assert callable(find(name))


def test_the_text_names_functions_of_every_floor_that_a_byte_passes() -> None:
    floors = {name.split(".")[1] for name in NAMES}
    assert floors >= {"qmp", "qemu", "hypervisor", "guest", "sandbox", "faces"}


@pytest.mark.parametrize("name", ["gavotte.qemu.props.to_yaml", "gavotte.no.where", "gavotte.guest.agent.Agent.fly"])
def test_what_does_not_exist_is_found(name: str) -> None:
    with pytest.raises(AttributeError):
        find(name)
