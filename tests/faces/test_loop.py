"""The private loop: what was begun on it, and what it says at a program's end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Each is a whole program, which ends with nothing on stderr. Nothing starts in a pool of size 0.
PROGRAMS = {
    "a pool at the program's end": "pool = gavotte.Pool(0); pool.start()",
    "an asynchronous pool that is dropped": """
async def main():
    await gavotte.AsyncPool(0).start()
    await asyncio.sleep(0)
    gc.collect()
asyncio.run(main())""",
    "a pool that is part of garbage": """
warnings.simplefilter("ignore", ResourceWarning)
pool = gavotte.Pool(0); pool.start(); pool.itself = pool
del pool
gc.collect()""",
    "a fork of a process that has a pool": """
pool = gavotte.Pool(0); pool.start()
if child := os.fork(): sys.exit(os.waitpid(child, 0)[1])""",
    "what was begun and waits for itself alone": """
class Node: pass
async def wait():
    node = Node(); node.itself = node; node.event = asyncio.Event()
    await node.event.wait()
loop.begin(wait())
loop.call(asyncio.sleep(0))
gc.collect()
loop._CLEAN_UP = 0.1""",
    "a task that nobody ended": """
async def leave():
    global task
    task = asyncio.create_task(asyncio.Event().wait())
loop.call(leave())""",
}
START = """
import asyncio, gc, logging, os, sys, warnings
import gavotte
from gavotte.faces import loop
logging.getLogger("asyncio").setLevel(logging.ERROR)  # a slow machine is no fault
"""


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_no_task_is_destroyed_while_it_is_pending(program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", START + program],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_was_begun_is_done_before_the_program_ends() -> None:
    program = "async def say():\n    await asyncio.sleep(0.1)\n    print('done')\nloop.begin(say())"
    ended = subprocess.run([sys.executable, "-c", START + program], capture_output=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == (b"done\n", b"")
