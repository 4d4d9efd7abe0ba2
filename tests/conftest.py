"""What holds for every test: a run directory of the session's own, and nothing left behind."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support.boxes import box, image
from tests.support.lab import lab
from tests.support.leaks import held_to_its_start
from tests.support.order import longest_first
from tests.support.stray_tasks import no_stray_tasks

__all__ = ["box", "image", "lab", "no_stray_tasks"]

hypothesis.settings.register_profile("patient", deadline=None)  # the clock of a busy machine says nothing of our code
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def run_directory() -> Iterator[None]:
    """Points GAVOTTE_RUN_DIR at a short path of our own, so that a test never sees a user's sandboxes."""
    with (
        tempfile.TemporaryDirectory(prefix="gv", dir="/tmp") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("GAVOTTE_RUN_DIR", os.fspath(folder))
        patch.delenv("PYTHONUNBUFFERED", raising=False)  # CI machines like to set it; it hides what buffers do
        yield


@pytest.fixture(autouse=True)
def no_leftovers(run_directory: None) -> Iterator[None]:
    """Fails a test that leaves a child, an fd or an entry of the run directory behind."""
    with held_to_its_start(pytest.fail):
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files anew; review them in the diff"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Which tests run, and in which order."""
    if hasattr(config, "workerinput"):  # this is one of several processes (pytest-xdist)
        longest_first(items)
    if "arch" in config.getoption("-m"):
        return  # those take minutes: they run where they are named, and nowhere else
    skipped = [item for item in items if item.get_closest_marker("arch")]
    items[:] = [item for item in items if not item.get_closest_marker("arch")]
    config.hook.pytest_deselected(items=skipped)


def pytest_collection_finish() -> None:
    """What collection made is there to the end: the look for garbage after each test needn't go through all of it."""
    gc.collect()
    gc.freeze()
