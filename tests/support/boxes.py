"""Real sandboxes for tests: the image they boot, and one that is shared by all tests that need no boot of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gavotte import Sandbox
from gavotte.guest.image import Image, build_image, find_image
from tests.support.command_line import gavotte
from tests.support.leaks import exempt

__all__ = ["box", "image"]


@pytest.fixture(scope="session")
def image() -> Image:
    """The current image; after a change of the agent's file it is built again, which takes seconds.

    The template of a sandbox that asks for nothing is there, too, so that no test's start has to say that it builds it.
    """
    image = find_image() or build_image(progress=lambda _phase, _fraction: None)
    with exempt():
        built = gavotte("template", "build", "--accel", "tcg", "--quiet", timeout=250)
    assert built.returncode == 0, built
    return image


@pytest.fixture(scope="session")
def box(image: Image, run_directory: None) -> Iterator[Sandbox]:
    """A running sandbox. A test that uses it leaves it running and of use."""
    box = Sandbox(accel="tcg")
    with exempt():
        box.start()
    yield box
    box.close()
