"""Programs of the host, run so that none outlives us, hangs for ever or fails without saying why."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Self

from gavotte.errors import ImageError

DEADLINE = 900.0  # seconds; the slowest step, a root file system over a slow mirror, takes a few minutes
GRACE = 10.0  # seconds that a program has to clean up after SIGTERM
TAIL_LINES = 15
MAX_OUTPUT = 512 << 20  # bytes; the largest is a decompressed kernel

PACKAGE_OF = {
    "apt-get": "apt",
    "apt-cache": "apt",
    "apt-config": "apt",
    "dpkg-deb": "dpkg",
    "lz4": "lz4",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
    "zstd": "zstd",
}


def require(*programs: str) -> None:
    """Check that `programs` are installed. Raises ImageError that names the packages to install."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = sorted({PACKAGE_OF.get(program, program) for program in missing})
        raise ImageError(
            f"building the guest image needs {', '.join(missing)}",
            hint=f"apt-get install {' '.join(packages)}, or import an image with `gavotte image import FILE`",
        )


class Child:
    """A running program, which has its own session, ends with us, and is killed as a group at its deadline.

    Use it in a `with`: leaving the block ends whatever still runs. `lines` of its stderr are kept for the error.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        deadline: float = DEADLINE,
    ) -> None:
        require(str(argv[0]))
        self.argv = [str(word) for word in argv]
        self.deadline = deadline
        self.timed_out = False
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process = subprocess.Popen(
            [*_dying_with_us(), *self.argv],
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.DEVNULL if stdout is None else stdout,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=env or environment(),
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        self._timer = threading.Timer(deadline, self._expire)
        self._timer.daemon = True
        self._timer.start()

    @property
    def stdin(self) -> IO[bytes]:
        """The writing end, when asked for with `stdin=subprocess.PIPE`."""
        return _present(self._process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """The reading end, when asked for with `stdout=subprocess.PIPE`."""
        return _present(self._process.stdout)

    def wait(self) -> None:
        """Wait for the end, at most until the deadline. Raises ImageError with the last stderr lines if it failed."""
        status = self._process.wait()
        self._reader.join(GRACE)
        name = Path(self.argv[0]).name
        if self.timed_out:
            raise ImageError(
                f"{name} took longer than {self.deadline:.0f} s and was ended{self.tail()}", argv=self.argv
            )
        if status:
            how = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
            raise ImageError(f"{name} {how}{self.tail()}", argv=self.argv)

    def tail(self) -> str:
        """The last lines of stderr, each on a line of its own."""
        return "".join(f"\n  {line}" for line in self._tail)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._timer.cancel()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            if self._process.poll() is None:
                self._signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(GRACE)
        finally:  # a second Ctrl-C ends the waiting, and the program with it
            self._signal(signal.SIGKILL)  # also what the leader left behind in its group
        self._process.wait()
        self._reader.join(GRACE)
        _present(self._process.stderr).close()

    def _expire(self) -> None:
        self.timed_out = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # ProcessLookupError: all of the group has ended; PermissionError: what is left belongs to somebody else.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read_stderr(self) -> None:
        with contextlib.suppress(ValueError):  # closed under us: a grandchild kept it open past the end
            for line in iter(lambda: _present(self._process.stderr).readline(4096), b""):
                self._tail.append(line.decode(errors="replace").rstrip())


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    deadline: float = DEADLINE,
) -> bytes:
    """Run a program to its end and give its stdout.

    Raises ImageError when it is missing, fails, takes longer than `deadline` seconds or writes without end.
    """
    with Child(
        argv,
        stdin=subprocess.PIPE if stdin else None,
        stdout=subprocess.PIPE,
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
        deadline=deadline,
    ) as child:
        if stdin:
            feeder = threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True)
            feeder.start()
        output = child.stdout.read(MAX_OUTPUT)
        if child.stdout.read(1):
            raise ImageError(f"{Path(argv[0]).name} writes without end")
        child.wait()
        return output


def lines(argv: Sequence[str | Path], *, cwd: Path | None = None) -> Iterator[str]:
    """The lines of a program's stdout while it runs; fails as `run` does."""
    with Child(argv, stdout=subprocess.PIPE, cwd=cwd) as child:
        for line in iter(lambda: child.stdout.readline(65536), b""):
            yield line.decode(errors="replace").rstrip("\n")
        child.wait()


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(data)


def _dying_with_us() -> list[str]:
    """The prefix that makes the kernel end the program when we are killed (prctl(2), PR_SET_PDEATHSIG)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def environment() -> dict[str, str]:
    """Our environment for the programs that we run: a fixed language, and nothing that changes what they make."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "APT_", "LC_"))}
    kept.pop("SOURCE_DATE_EPOCH", None)  # it would turn the root file system's pyc files into hash-checked ones
    return kept | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def _present(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("this pipe was not asked for")
    return pipe
