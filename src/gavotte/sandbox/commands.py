"""Commands in a sandbox: started, or run to their end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, Unpack, overload

from gavotte.arguments import BytesLike, StrPath, check_flag, check_number, check_timeout, wrong
from gavotte.guest.channel import Channel
from gavotte.guest.command import AsyncProcess, InputStream, check_size
from gavotte.sandbox.options import CommandOptions, check_command
from gavotte.sandbox.result import MAX_OUTPUT, Result, check_input, in_text, run_to_end
from gavotte.sandbox.words import check_argv

__all__ = ["Commands"]


class Commands(ABC):
    """What has a line to an agent, and so can run commands."""

    @abstractmethod
    def _running(self) -> Channel:
        """The line. Raises StateError where no command can be started."""

    @overload
    async def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Literal[True],
        tty: tuple[int, int] | None = None,
        retain: bool = False,
        **options: Unpack[CommandOptions],
    ) -> AsyncProcess[InputStream]: ...

    @overload
    async def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: bool = False,
        tty: tuple[int, int],
        retain: bool = False,
        **options: Unpack[CommandOptions],
    ) -> AsyncProcess[InputStream]: ...

    @overload
    async def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: Literal[False] = False,
        tty: None = None,
        retain: bool = False,
        **options: Unpack[CommandOptions],
    ) -> AsyncProcess[None]: ...

    @overload
    async def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: bool = False,
        tty: tuple[int, int] | None = None,
        retain: bool = False,
        **options: Unpack[CommandOptions],
    ) -> AsyncProcess: ...

    async def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: bool = False,
        tty: tuple[int, int] | None = None,
        retain: bool = False,
        **options: Unpack[CommandOptions],
    ) -> AsyncProcess:
        """Start a command; gives it as soon as it runs. Its output must be read, or it waits when a window is full.

        `argv` is a sequence of words, text or paths. With `stdin` it can be written to.
        `env` is added to what a login would set; `cwd` defaults to the user's home; `user` is NAME, UID, NAME:GROUP
        or UID:GID and defaults to root; `tty` gives it a terminal of (rows, columns) instead of three pipes. `retain`
        is for a kept sandbox: no output is lost when another process takes it over, see `attach`.
        Raises CommandNotStarted, UsageError, StateError, GuestError.
        """
        words, command = check_argv(argv), check_command(options, ("stdin", "tty"))
        open_stdin, size = check_flag(stdin, "stdin") or tty is not None, _check_tty(tty)
        check_flag(retain, "retain")
        return await self._running().spawn(words, **command, stdin=open_stdin, tty=size, retain=retain)

    @overload
    async def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: BytesLike | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: Literal[False] = False,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[bytes]: ...

    @overload
    async def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: str | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: Literal[True],
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[str]: ...

    @overload
    async def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: bool,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[bytes] | Result[str]: ...

    async def run(
        self,
        argv: Sequence[StrPath],
        *,
        input: BytesLike | str | None = None,
        timeout: float | None = None,
        max_output: int = MAX_OUTPUT,
        text: bool = False,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result[bytes] | Result[str]:
        """Run a command to its end and give its output. `argv`, `env`, `cwd` and `user` are those of `spawn`.

        With `text`, `input` and output are text in UTF-8; newlines stay as they are. Raises CommandTimeout after
        `timeout` seconds, when the command and all it started have been ended; GuestError when it writes more than
        `max_output` bytes to one stream, or what is no UTF-8; with `check`, CommandFailed for a status other than 0.
        """
        words, command = check_argv(argv), check_command(options, ("input", "timeout", "max_output", "text", "check"))
        data = check_input(input, text)
        seconds = check_timeout(timeout)
        check_number(max_output, 0, None, "max_output")
        check_flag(check, "check")
        starting = self._running().spawn(words, **command, stdin=data is not None)
        result = await run_to_end(starting, words[0], data, seconds, max_output)
        if check:
            result.check()
        return await in_text(result) if text else result


def _check_tty(tty: object) -> tuple[int, int] | None:
    if tty is None:
        return None
    if not isinstance(tty, tuple | list) or len(tty) != 2:
        raise wrong(tty, "a terminal's size", "tty", hint="give (rows, columns)")
    return check_size(tty[0], tty[1], ("tty[0]", "tty[1]"))
