"""Both drivers are whole: to mypy, and when they run."""

from __future__ import annotations

import pytest

from gavotte.hypervisor.fake import FakeVm
from gavotte.hypervisor.interface import (
    Hypervisor,
    Introspection,
    Lifecycle,
    Pausing,
    Plugging,
    Resizing,
    Saving,
)
from gavotte.hypervisor.qemu.vm import QemuVm
from tests.hypervisor.contract.drivers import Driver, story

DRIVERS: tuple[type[Hypervisor], ...] = (FakeVm, QemuVm)  # mypy compares each signature with the protocol's


@pytest.mark.parametrize("protocol", [Lifecycle, Pausing, Saving, Plugging, Resizing, Introspection, Hypervisor])
@story
async def test_a_machine_has_each_ability_of_the_interface(driver: Driver, protocol: type) -> None:
    assert isinstance(driver.create(), protocol)
