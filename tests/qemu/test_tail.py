from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gavotte.qemu.tail import Tail


def test_what_is_in_the_pipe_at_the_end_is_still_read() -> None:
    """A process writes its reason and exits: both are seen in one turn of the loop, in either order."""

    async def main() -> None:
        ours, theirs = os.pipe()
        tail = Tail(asyncio.get_running_loop(), ours)
        os.write(theirs, b"the reason")
        tail.close()
        tail.close()
        os.close(theirs)
        assert tail.text == "the reason"

    asyncio.run(main())


def test_the_end_of_the_pipe_closes_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = os.pipe()
        tail = Tail(loop, ours)
        os.write(theirs, b"a")
        os.close(theirs)
        for _ in range(10):  # turns of the loop: one that reads, one that sees the end
            await asyncio.sleep(0)
        assert not Path(f"/proc/self/fd/{ours}").exists()
        assert tail.text == "a"
        tail.close()

    asyncio.run(main())


def test_the_quoted_end_is_short_and_whole_lines_of_text_stay_readable() -> None:
    async def main() -> None:
        ours, theirs = os.pipe()
        tail = Tail(asyncio.get_running_loop(), ours)
        os.write(theirs, b"one: \x1b[2J\r\n" * 1000 + "two: é\r\n\n".encode())
        os.close(theirs)
        tail.close()
        *before, last = tail.last_lines().split("\n")
        assert last == "two: é"
        assert set(before) == {"one: \N{REPLACEMENT CHARACTER}[2J"}
        assert 1900 < len(tail.last_lines()) <= 2048

    asyncio.run(main())
