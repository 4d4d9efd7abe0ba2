"""A running command for synchronous callers, with its streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Self, cast

from gavotte.arguments import BytesLike, check_number, check_timeout
from gavotte.compat import TypeVar, override
from gavotte.errors import CommandTimeout
from gavotte.faces.loop import call
from gavotte.guest.command import LONGEST_LINE, AsyncProcess, Exit, InputStream, OutputStream, check_line
from gavotte.sandbox.lifecycle import AsyncSandbox

__all__ = ["Process", "Reader", "Writer"]

_PIECE = 64 << 10


class Writer:
    """A command's stdin."""

    def __init__(self, sandbox: AsyncSandbox, stream: InputStream) -> None:
        self._sandbox = sandbox
        self._stream = stream

    def write(self, data: BytesLike) -> None:
        """Send all of `data`, waiting while the command is behind. BrokenPipeError once it reads no more."""
        self._sandbox.check_owner()
        call(self._stream.write(data))

    def close(self) -> None:
        """Tell the command that nothing more comes."""
        self._sandbox.check_owner()
        call(self._stream.close())


class Reader:
    """A command's stdout or stderr; iterates over lines."""

    def __init__(self, sandbox: AsyncSandbox, stream: OutputStream) -> None:
        self._sandbox = sandbox
        self._stream = stream
        self._rest = bytearray()  # read for a line and beyond it: one trip to the loop for many lines

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes as soon as there are any, b"" at the end; without `size` all until the end."""
        self._sandbox.check_owner()
        if check_number(size, -1, None, "size") < 0:
            return self._take(len(self._rest)) + call(self._stream.read())
        return self._take(size) if self._rest else call(self._stream.read(size))

    def readline(self, limit: int = LONGEST_LINE) -> bytes:
        """Up to and with the next newline, or what is left before the end; b"" at the end.

        Raises GuestError for a line of more than `limit` bytes.
        """
        self._sandbox.check_owner()
        check_number(limit, 1, None, "limit")
        searched = 0
        while not (end := self._rest.find(b"\n", searched) + 1):
            check_line(self._rest, limit)
            searched = len(self._rest)
            more = call(self._stream.read(_PIECE))
            if not more:
                return self._take(searched)
            self._rest += more
        return self._take(end)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken

    def close(self) -> None:
        """Read no more: the command's next write gets SIGPIPE."""
        self._sandbox.check_owner()
        call(self._stream.close())

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line


Stdin = TypeVar("Stdin", bound="Writer | None", default="Writer | None", covariant=True)


class Process(Generic[Stdin]):
    """A running command. Made by `Sandbox.spawn`; as a context manager it ends the command on the way out.

    `stdin` is None unless it was started with `stdin=True` or a terminal: type checkers know which.
    """

    def __init__(self, sandbox: AsyncSandbox, process: AsyncProcess) -> None:
        self._sandbox = sandbox
        self._process = process
        self.argv = process.argv
        self.pid = process.pid
        self.stdin: Stdin = cast("Stdin", Writer(sandbox, process.stdin) if process.stdin else None)
        self.stdout = Reader(sandbox, process.stdout)
        self.stderr = Reader(sandbox, process.stderr)

    @override
    def __repr__(self) -> str:
        return repr(self._process).replace("AsyncProcess", "Process", 1)

    @property
    def returncode(self) -> int | None:
        """None while it runs; -n when signal n ended it."""
        return self._process.returncode

    @property
    def exit(self) -> Exit | None:
        """How it ended, once that is known."""
        return self._process.exit

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; gives `returncode`. Raises CommandTimeout after `timeout` seconds; it then still runs."""
        self._sandbox.check_owner()
        return call(_wait(self._process, check_timeout(timeout, zero=True)))

    def send_signal(self, number: int) -> None:
        """To its process group. SIGKILL ends all that it started as well."""
        self._sandbox.check_owner()
        call(self._process.send_signal(number))

    def terminate(self) -> None:
        """SIGTERM to its process group."""
        self._sandbox.check_owner()
        call(self._process.terminate())

    def kill(self) -> None:
        """SIGKILL to it and to all that it started."""
        self._sandbox.check_owner()
        call(self._process.kill())

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size."""
        self._sandbox.check_owner()
        call(self._process.resize(rows, columns))

    def close(self) -> None:
        """End it, with all that it started, if it still runs."""
        self._sandbox.check_owner()
        call(self._process.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _wait(process: AsyncProcess, timeout: float | None) -> int:
    import asyncio

    try:
        async with asyncio.timeout(timeout):
            return await process.wait()
    except TimeoutError:
        raise CommandTimeout(f"{process.argv[0]!r} still runs after {timeout:g} s", hint="kill() ends it") from None
