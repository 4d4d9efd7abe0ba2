"""One suite, two drivers: each story below is told of both."""

from __future__ import annotations

import asyncio
import os

import pytest

from gavotte.faces.loop import call
from gavotte.qemu.binary import find_qemu
from tests.hypervisor.contract.drivers import Driver, FakeDriver, QemuDriver
from tests.support.binaries import QEMU10

__all__ = ["driver"]

_MISSING = pytest.mark.skipif(QEMU10 is None, reason="QEMU 10 isn't unpacked beside: make setup-qemu10")


@pytest.fixture(scope="session", autouse=True)
def loop_thread() -> None:
    """Is there before the first test, which would else leave it behind."""
    call(asyncio.sleep(0))


@pytest.fixture(
    scope="session",
    params=["fake", pytest.param("qemu", id="qemu"), pytest.param("qemu10", marks=_MISSING)],
)
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """What makes machines."""
    folder = tmp_path_factory.mktemp("kernels")
    if request.param == "fake":
        return FakeDriver(folder)
    return QemuDriver(
        folder, find_qemu("x86_64", path=os.fspath(QEMU10) if request.param == "qemu10" and QEMU10 else None)
    )
