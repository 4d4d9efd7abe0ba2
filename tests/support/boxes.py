"""Real sandboxes for tests: the image they boot, and one that is shared by all tests that need no boot of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gavotte
from gavotte.guest.image import Image, build_image, find_image
from tests.support.leaks import exempt

__all__ = ["box", "image"]


@pytest.fixture(scope="session")
def image() -> Image:
    """The current image; after a change of the agent's file it is built again, which takes seconds."""
    return find_image() or build_image(progress=lambda _phase, _fraction: None)


@pytest.fixture(scope="session")
def box(image: Image, run_directory: None) -> Iterator[gavotte.Sandbox]:
    """A running sandbox. A test that uses it leaves it running and of use."""
    box = gavotte.Sandbox(accel="tcg")
    with exempt():
        box.start()
    yield box
    box.close()
