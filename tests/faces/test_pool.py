"""The synchronous pool, from threads, and at a program's end."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import gavotte
import gavotte.faces.loop
from tests.support.command_line import PATIENCE
from tests.support.orphans import no_orphans

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("box", "no_stray_tasks")]


def test_threads_get_a_sandbox_each_which_they_close() -> None:
    with gavotte.Pool(1, limit=2, accel="tcg", warm=[["true"]]) as pool:

        def work(number: int) -> bytes:
            with pool.acquire(timeout=PATIENCE) as box:
                return box.run(["echo", str(number)], timeout=60).stdout

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(work, range(4))) == [b"%d\n" % number for number in range(4)]
        pool.ready(PATIENCE)
        assert (pool.idle, pool.alive) == (1, 1)
        with pytest.raises(gavotte.PoolBusy), pool.acquire(), pool.acquire(), pool.acquire(timeout=0.2):
            pass
    pool.close()  # nothing happens
    with pytest.raises(gavotte.StateError, match="closed"):
        pool.acquire()


END = """
import gavotte
import gavotte.faces.loop
pool = gavotte.Pool(1, accel="tcg")
box = pool.acquire()
print(box.run(["echo", "out"]).stdout)
"""


def test_a_program_that_ends_without_closing_leaves_nothing() -> None:
    with no_orphans():
        ended = subprocess.run(
            [sys.executable, "-c", END], capture_output=True, text=True, timeout=PATIENCE, env=os.environ, check=False
        )
    assert (ended.returncode, ended.stdout) == (0, "b'out\\n'\n"), ended.stderr


def test_one_that_is_dropped_unclosed_warns() -> None:
    pool = gavotte.Pool(0)
    pool.start()
    inner = pool._async
    with pytest.warns(ResourceWarning, match="was dropped without close"):
        del pool
    gavotte.faces.loop.call(inner.close())
