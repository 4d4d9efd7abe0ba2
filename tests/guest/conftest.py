"""An agent that the tests of a module share; each gets a line to it, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agents import Line, SharedGuest, shared_guest


@pytest.fixture(scope="module")
def shared() -> Iterator[SharedGuest]:
    with shared_guest() as shared:
        yield shared


@pytest.fixture
def line(shared: SharedGuest) -> Iterator[Line]:
    with shared.lend() as line:
        yield line
