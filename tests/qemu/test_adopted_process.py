"""A process that is to outlive the one that started it, and its adoption by another."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import HostError, QemuExited
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.pids import ProcessId, process_state
from gavotte.qemu.process import UNKNOWN_STATUS, adopt_process, start_process
from tests.support.programs import DEADLINE, python, wait_for_end

# Starts a program that is kept, and dies of SIGKILL as soon as that writes.
MANAGER = """
import asyncio, os, signal, sys
from pathlib import Path
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.process import start_process

async def main():
    process = await start_process([sys.executable, "-Ic", sys.argv[1]], FdLedger(), keep=Path(sys.argv[2]))
    async with asyncio.timeout(20):
        await process._tail.wait_for_some()
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
OBEYS_TERM = "import signal, sys\nprint('up', flush=True)\nsignal.pause()"
IGNORES_TERM = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{OBEYS_TERM}"


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, DEADLINE))


@contextmanager
def orphan(code: str, fifo: Path) -> Iterator[ProcessId]:
    """A program whose manager was killed."""
    line = [sys.executable, "-c", MANAGER, code, os.fspath(fifo)]
    ended = subprocess.run(line, stdout=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
    assert ended.returncode == -signal.SIGKILL
    process = ProcessId.of(int(ended.stdout))
    try:
        yield process
    finally:
        process.kill()


def test_a_kept_process_outlives_its_manager_and_ends_by_the_ladder_of_another(tmp_path: Path) -> None:
    with orphan(IGNORES_TERM, tmp_path / "fifo") as id:
        assert id.lives

        async def main() -> None:
            process = adopt_process(id, output=tmp_path / "fifo")
            told: list[int] = []
            process.on_exit(told.append)
            assert (process.pid, process.returncode) == (id.pid, None)
            assert process.argv[-1] == IGNORES_TERM
            assert await process.stop(term_deadline=0.2) == ["SIGTERM", "SIGKILL"]
            assert process.returncode == UNKNOWN_STATUS == await process.wait()
            await asyncio.sleep(0)
            assert told == [UNKNOWN_STATUS]
            process.close()

        run(main())
        assert not id.lives


def test_what_it_says_reaches_whoever_has_adopted_it(tmp_path: Path) -> None:
    blocked = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])"  # or it may come too early
    code = f"{blocked}\nprint('up', flush=True)\nsignal.sigwait([signal.SIGINT])\nprint('last words', flush=True)"
    with orphan(code, tmp_path / "fifo") as id:

        async def main() -> None:
            process = adopt_process(id, output=tmp_path / "fifo")
            os.kill(id.pid, signal.SIGINT)
            await process.wait()
            error = process.exited_error("it ended")
            assert isinstance(error, QemuExited)
            assert "only the process that started it was told how" in str(error)
            assert "last words: last words" in str(error)

        run(main())


def test_nobody_who_reads_is_no_reason_to_stop_or_to_die(tmp_path: Path) -> None:
    code = """if True:
        import os, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        os.write(1, b"up")
        signal.sigwait([signal.SIGUSR1])
        for _ in range(100):
            try: os.write(1, bytes(65536))
            except BlockingIOError: pass
    """
    with orphan(code, tmp_path / "fifo") as id:
        fd = id.open()  # the manager is dead
        try:
            signal.pidfd_send_signal(fd, signal.SIGUSR1)
            wait_for_end(id.pid, fd)  # it would never end if it were stuck
        finally:
            os.close(fd)


def test_a_process_that_is_our_child_after_all_has_its_status(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = FdLedger()
        ours, number = ledger.pair("what it waits for")
        with ours:
            waits = python(f"import os, sys; os.read({number}, 1); sys.exit(7)")
            first = await start_process(waits, ledger, keep=tmp_path / "f")
            id = ProcessId.of(first.pid)
            first.leave()
            second = adopt_process(id, output=tmp_path / "f")
        assert await second.wait() == 7

    run(main())


def test_leaving_a_process_frees_all_that_was_held_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        process = await start_process(python("import signal; signal.pause()"), FdLedger(), keep=tmp_path / "fifo")
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # counted, not used as paths
        process.leave()
        process.leave()
        process.close()
        assert len(os.listdir("/proc/self/fd")) == before - 2  # noqa: PTH208  # the pidfd, and the FIFO
        again = adopt_process(ProcessId.of(process.pid))
        assert again.returncode is None
        await again.stop()

    run(main())


def test_a_process_that_has_ended_or_whose_pid_passed_on_is_not_adopted() -> None:
    async def main() -> None:
        me = ProcessId.of(os.getpid())
        for other in (me._replace(started=me.started - 1), ProcessId(2**22 + 1, 7), ProcessId(me.pid, -1)):
            assert not other.lives
            with pytest.raises(ProcessLookupError):
                adopt_process(other)
            other.kill()  # which reaches nobody

    run(main())


def test_a_fifo_that_is_none_cannot_be_adopted(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(HostError, match="can't take over process"):
            adopt_process(ProcessId.of(os.getpid()), output=tmp_path / "missing")

    run(main())


def test_a_kept_process_that_cannot_be_started_leaves_nothing_open(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(HostError, match="can't start"):
            await start_process(["/nonexistent"], FdLedger(), keep=tmp_path / "fifo")
        with pytest.raises(HostError, match="can't start"):
            await start_process(python("pass"), FdLedger(), keep=tmp_path / "no" / "fifo")

    run(main())


def test_a_zombie_does_not_live() -> None:
    with subprocess.Popen(python("")) as child:
        id = ProcessId.of(child.pid)
        fd = os.pidfd_open(child.pid)
        wait_for_end(child.pid, fd)
        os.close(fd)
        assert not id.lives
        assert process_state(child.pid) == "Z"
    assert process_state(child.pid) == ""
