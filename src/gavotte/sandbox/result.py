"""What a finished command leaves: its status and its output, within bounds."""

from __future__ import annotations

import asyncio
import codecs
import io
from collections.abc import Awaitable
from typing import Generic, Self

from gavotte.arguments import BytesLike, check_bytes, check_flag
from gavotte.compat import TypeVar
from gavotte.errors import CommandFailed, CommandTimeout, GuestError, UsageError
from gavotte.guest.command import AsyncProcess, OutputStream
from gavotte.text import size_text
from gavotte.values import dataclass

__all__ = ["MAX_OUTPUT", "Result", "check_input", "in_text", "run_to_end"]

MAX_OUTPUT = 256 << 20  # bytes that `run` keeps of each stream unless told otherwise
_QUOTED = 500  # characters of stderr in an error
_WIDEST = 4  # bytes of a character
_STEP = 1 << 20  # bytes that are decoded while no other thread runs

Output = TypeVar("Output", bytes, str, default=bytes)


@dataclass(frozen=True)
class Result(Generic[Output]):
    """A finished command. `returncode` as in `subprocess`: -n when signal n ended it.

    `stdout` and `stderr` are bytes, or text if it was run with `text`: a `Result` alone is a `Result[bytes]`.
    """

    argv: list[str]
    returncode: int
    stdout: Output
    stderr: Output
    oom_kills: int = 0
    forks_denied: int = 0

    def check(self) -> Self:
        """Itself when the command succeeded. Raises CommandFailed otherwise, whose output is bytes in any case."""
        if self.returncode:
            ended = (
                f"ended with status {self.returncode}" if self.returncode > 0 else f"died of signal {-self.returncode}"
            )
            oom = f", {self.oom_kills} processes killed for want of memory" if self.oom_kills else ""
            stdout, stderr = (text.encode() if isinstance(text, str) else text for text in (self.stdout, self.stderr))
            tail = _last_words(stderr)
            raise CommandFailed(
                f"{self.argv[0]!r} {ended}{oom}{': ' + tail if tail else ''}",
                returncode=self.returncode,
                stdout=stdout,
                stderr=stderr,
            )
        return self


def _last_words(stderr: bytes) -> str:
    """The end of it as text, of which no more is decoded than is quoted."""
    return stderr[-2 * _WIDEST * _QUOTED :].decode(errors="replace").strip()[-_QUOTED:]


async def in_text(result: Result[bytes]) -> Result[str]:
    """The same with its output as text. Raises GuestError when that isn't UTF-8."""
    if len(result.stdout) + len(result.stderr) > _STEP:
        return await asyncio.to_thread(_decoded, result)
    return _decoded(result)


def _decoded(result: Result[bytes]) -> Result[str]:
    stdout, stderr = (_text(result.argv[0], data) for data in (result.stdout, result.stderr))
    return Result(result.argv, result.returncode, stdout, stderr, result.oom_kills, result.forks_denied)


def _text(program: str, data: bytes) -> str:
    text, at, view = "", 0, memoryview(data)
    while at < len(data):
        try:
            some, used = codecs.utf_8_decode(view[at : at + _STEP], "strict", at + _STEP >= len(data))
        except UnicodeDecodeError as error:
            raise GuestError(
                f"{program!r} wrote what is no UTF-8: byte {error.object[error.start]:#04x} at {at + error.start}",
                hint='run it without text, and decode its output yourself, such as with .decode(errors="replace")',
            ) from None
        text += (
            some  # in place, as long as no character needs more room than those before; a join would copy all at once
        )
        at += used
    return text


def check_input(input: BytesLike | str | None, text: bool) -> BytesLike | None:
    """What a command is to read from its stdin, as bytes. Raises UsageError for text without `text`, and for bytes
    with it."""
    check_flag(text, "text")
    if input is None:
        return None
    if not text:
        return check_bytes(input, "input", hint="text=True takes text; .encode() makes bytes of it")
    if not isinstance(input, str):
        raise UsageError("with text=True, the input is text", path="input", hint="leave text out for bytes")
    try:
        return input.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"character {error.start} has no UTF-8", path="input") from None


async def run_to_end(
    starting: Awaitable[AsyncProcess], program: str, input: BytesLike | None, timeout: float | None, max_output: int
) -> Result[bytes]:
    """The result of a command that is about to start. See `AsyncSandbox.run` for what it raises."""
    out, err = io.BytesIO(), io.BytesIO()  # whose bytes are given away without a copy, which takes a while
    process: AsyncProcess | None = None
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
        what, hint = _what_became(process)
        raise CommandTimeout(
            f"{program!r} {what} after {timeout:g} s", stdout=out.getvalue(), stderr=err.getvalue(), hint=hint
        ) from None
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    exit = process.exit
    if exit is None:
        raise GuestError("the command's end was not seen")
    return Result(process.argv, exit.returncode, out.getvalue(), err.getvalue(), exit.oom_kills, exit.forks_denied)


def _what_became(process: AsyncProcess | None) -> tuple[str, str]:
    """What became of a command at its deadline, and what to do next."""
    if process is None:
        return "hadn't started", "give it more time (timeout)"
    if process.exit is None:
        return "was given up, and its end wasn't seen,", "its guest doesn't answer: close the sandbox"
    return "was ended", "give it more time (timeout)"


async def _collect(stream: OutputStream, into: io.BytesIO, limit: int) -> None:
    """All of a stream. Raises GuestError when it is more than `limit` bytes."""
    async for chunk in stream:
        into.write(chunk)
        if into.tell() > limit:
            raise GuestError(
                f"the command wrote more than {size_text(limit)}",
                hint="raise max_output, or use spawn and read as it comes",
            )


async def feed(process: AsyncProcess, data: BytesLike) -> None:
    """Give a command all of its input. That it doesn't want it all is no error, as in `subprocess`."""
    if process.stdin is None:
        return
    try:
        await process.stdin.write(data)
    except BrokenPipeError:
        pass
    await process.stdin.close()
