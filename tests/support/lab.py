"""A guest that devices are plugged into, and its host's side: one for all tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gavotte
from gavotte.guest.image import Image
from tests.support.leaks import exempt

__all__ = ["lab"]


@pytest.fixture(scope="session")
def lab(image: Image, run_directory: None) -> Iterator[gavotte.Sandbox]:
    """A running sandbox with room to grow. `call(lab.vm.plug(...))` acts on its machine (gavotte.faces.loop.call)."""
    box = gavotte.Sandbox(accel="tcg", slots=12, max_cpus=4, max_memory="2G", shared_memory=True)
    with exempt():
        box.start()
    yield box
    box.close()
