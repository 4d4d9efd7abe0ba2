"""Reading a standard stream in whatever state its maker left it."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from gavotte.errors import HostError
from gavotte.faces.pumps import StdinReader

DEADLINE = 10.0


async def read(reader: StdinReader) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await reader.read()


async def read_once(fd: int) -> bytes:
    return await read(StdinReader(fd))


def test_a_pipe_that_was_made_non_blocking_is_read_to_its_end() -> None:
    async def scenario() -> list[bytes]:
        reader = StdinReader(ours)
        first = asyncio.ensure_future(read(reader))
        done, _ = await asyncio.wait([first], timeout=0.2)  # time enough for the read to find nothing
        assert not done
        os.write(theirs, b"late")
        got = [await first]
        os.close(theirs)
        return [*got, await read(reader)]

    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    try:
        assert asyncio.run(scenario()) == [b"late", b""]
    finally:
        os.close(ours)


def test_a_closed_fd_is_an_empty_one() -> None:
    closed = fcntl.fcntl(0, fcntl.F_DUPFD, 500)  # a number that the loop's own files don't get
    os.close(closed)
    assert asyncio.run(read_once(closed)) == b""


def test_what_cannot_be_read_is_an_error_and_no_end(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(HostError, match="can't read stdin: Is a directory"):
            asyncio.run(read_once(fd))
    finally:
        os.close(fd)
