"""What holds for all tests of machines."""

from __future__ import annotations

import pytest

from tests.support.programs import DEADLINE


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine is no less healthy where the host is so busy that its answer takes more than a second."""
    monkeypatch.setattr("gavotte.hypervisor.qemu.operations.health._ANSWER", DEADLINE)
