"""What a finished command leaves: its status and its output, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from gavotte.errors import CommandFailed, CommandTimeout, GuestError
from gavotte.guest.command import AsyncProcess, OutputStream
from gavotte.text import size_text
from gavotte.values import dataclass

__all__ = ["MAX_OUTPUT", "Result", "run_to_end"]

MAX_OUTPUT = 256 << 20  # bytes that `run` keeps of each stream unless told otherwise


@dataclass(frozen=True)
class Result:
    """A finished command. `returncode` as in `subprocess`: -n when signal n ended it."""

    argv: list[str]
    returncode: int
    stdout: bytes
    stderr: bytes
    oom_kills: int = 0
    forks_denied: int = 0

    def check(self) -> Result:
        """Itself when the command succeeded. Raises CommandFailed otherwise."""
        if self.returncode:
            ended = (
                f"ended with status {self.returncode}" if self.returncode > 0 else f"died of signal {-self.returncode}"
            )
            oom = f", {self.oom_kills} processes killed for want of memory" if self.oom_kills else ""
            tail = self.stderr.decode(errors="replace").strip()[-500:]
            raise CommandFailed(
                f"{self.argv[0]!r} {ended}{oom}{': ' + tail if tail else ''}",
                returncode=self.returncode,
                stdout=self.stdout,
                stderr=self.stderr,
            )
        return self


async def run_to_end(
    starting: Awaitable[AsyncProcess], program: str, input: bytes | None, timeout: float | None, max_output: int
) -> Result:
    """The result of a command that is about to start. See `AsyncSandbox.run` for what it raises."""
    out, err = bytearray(), bytearray()
    try:
        async with asyncio.timeout(timeout):
            process = await starting
            async with process:  # leaving it ends the command, also at the deadline
                async with asyncio.TaskGroup() as group:
                    group.create_task(_collect(process.stdout, out, max_output))
                    group.create_task(_collect(process.stderr, err, max_output))
                    if input is not None:
                        group.create_task(feed(process, input))
                await process.wait()
    except TimeoutError:
        raise CommandTimeout(
            f"{program!r} was ended after {timeout:g} s",
            stdout=bytes(out),
            stderr=bytes(err),
            hint="give it more time (timeout)",
        ) from None
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    exit = process.exit
    if exit is None:
        raise GuestError("the command's end was not seen")
    return Result(process.argv, exit.returncode, bytes(out), bytes(err), exit.oom_kills, exit.forks_denied)


async def _collect(stream: OutputStream, into: bytearray, limit: int) -> None:
    """All of a stream. Raises GuestError when it is more than `limit` bytes."""
    async for chunk in stream:
        into += chunk
        if len(into) > limit:
            raise GuestError(
                f"the command wrote more than {size_text(limit)}",
                hint="raise max_output, or use spawn and read as it comes",
            )


async def feed(process: AsyncProcess, data: bytes) -> None:
    """Give a command all of its input. That it doesn't want it all is no error, as in `subprocess`."""
    if process.stdin is None:
        return
    try:
        await process.stdin.write(data)
    except BrokenPipeError:
        pass
    await process.stdin.close()
