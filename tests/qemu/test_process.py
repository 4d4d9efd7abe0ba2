from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import Bug, ForeignProcess, HostError, QemuError, QemuExited, UsageError
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import CONFINED, QemuProcess, start_process
from gavotte.qemu.props import option_to_argv
from gavotte.qmp.client import QmpClient
from tests.support.programs import DEADLINE, SOURCES, python, start_ready, wait_for_end

WAITS = "ready(); signal.pause()"
IGNORES_TERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready()\nwhile True: signal.pause()"


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, DEADLINE))


def start(code: str, *arguments: str) -> Awaitable[QemuProcess]:
    return start_process(python(code, *arguments), FdLedger())


def qemu(*options: str) -> list[str]:
    return [os.fspath(find_qemu().path), "-machine", "none", "-display", "none", *document_to_argv(CONFINED), *options]


# The start


def test_a_child_has_the_ledgers_fds_and_no_others() -> None:
    code = """if True:
        import json, os
        fds = {}
        for n in os.listdir("/proc/self/fd"):
            try: fds[n] = os.readlink("/proc/self/fd/" + n)
            except FileNotFoundError: pass
        print(json.dumps(fds))
    """

    async def main() -> None:
        stray = os.open("/dev/zero", os.O_RDONLY)
        os.set_inheritable(stray, True)
        ledger = FdLedger()
        number = ledger.give(os.open("/dev/full", os.O_RDONLY), "given")
        process = await start_process(python(code), ledger)
        await process.wait(DEADLINE)
        os.close(stray)
        fds = json.loads(process.stderr_tail)
        assert fds.pop("1") == fds.pop("2")
        assert fds == {"0": "/dev/null", str(number): "/dev/full"}
        assert not Path(f"/proc/self/fd/{number}").exists(), "the ledger was not closed"

    run(main())


def test_a_child_has_its_own_session_the_root_directory_and_a_small_environment() -> None:
    code = "import os, json; print(json.dumps([os.getcwd(), os.getsid(0) == os.getpid(), dict(os.environ)]))"

    async def main() -> None:
        process = await start_process(python(code), FdLedger(), env={"TMPDIR": "/x"})
        await process.wait(DEADLINE)
        folder, own_session, environment = json.loads(process.stderr_tail)
        assert (folder, own_session) == ("/", True)
        assert environment == {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": "/x"}

    run(main())


def test_the_pid_is_the_programs_own_not_a_wrappers() -> None:
    async def main() -> None:
        async with await start_ready(WAITS) as process:
            assert Path(f"/proc/{process.pid}/exe").resolve() == Path(sys.executable).resolve()

    run(main())


def test_no_setpriv_is_the_hosts_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))

    async def main() -> None:
        with pytest.raises(HostError, match="setpriv") as error:
            await start("pass")
        assert error.value.hint == "apt-get install util-linux"

    run(main())


def test_what_cannot_be_a_command_line_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(UsageError, match="null byte"):
            await start("pass", "a\0b")
        with pytest.raises(UsageError, match="surrogates"):
            await start("pass", "\ud800")
        with pytest.raises(HostError, match="Argument list too long"):
            await start("pass", "x" * 200_000)

    run(main())


def test_a_start_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", full)

    async def main() -> None:
        with pytest.raises(HostError, match="Too many open files"):
            await start("import time; time.sleep(60)")

    run(main())  # the check for leftovers sees the rest


def test_a_process_is_made_by_start_process_only() -> None:
    with pytest.raises(TypeError, match="start_process"):
        QemuProcess(None, *([None] * 5))  # type: ignore[arg-type]  # that is the point


# The exit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-no-such-option"], "-no-such-option: invalid option"),
        (["-device", '{"driver":"no-such-device"}'], "'no-such-device' is not a valid device model name"),
    ],
)
def test_a_bad_option_is_reported_at_once_with_its_stderr(options: list[str], words: str) -> None:
    async def main() -> None:
        argv = qemu(*options)
        process = await start_process(argv, FdLedger())
        exited = asyncio.get_running_loop().create_future()
        process.on_exit(exited.set_result)
        assert await exited == process.returncode == 1
        assert words in process.stderr_tail
        error = process.exited_error("QEMU did not start")
        assert str(error).startswith("QEMU did not start: exit status 1; last words: ")
        assert words in str(error)
        assert "-machine none" not in str(error)  # the command line is for those who ask
        assert (error.returncode, error.stderr, error.argv) == (1, process.stderr_tail, tuple(argv))
        assert isinstance(error, QemuExited)

    run(main())


def test_the_qmp_client_quotes_the_last_words_of_a_qemu_that_dies_after_its_greeting() -> None:
    async def main() -> None:
        ours, theirs = socketpair()
        with ours, FdLedger() as ledger:
            chardev = option_to_argv("chardev", {"backend": "socket", "id": "q", "fd": ledger.give(theirs, "QMP")})
            argv = qemu(*chardev, "-mon", "q,mode=control", "-device", '{"driver":"no-such-device"}')
            process = await start_process(argv, ledger)
            with pytest.raises(QemuError, match=r"exit status 1; last words: .*no-such-device"):
                async with await QmpClient.connect(ours, last_words=process.last_words) as client:
                    await client.execute("query-status")

    run(main())


def test_on_exit_is_called_once_also_when_it_comes_late() -> None:
    async def main() -> None:
        process = await start("raise SystemExit(7)")
        early: list[int] = []
        late: list[int] = []
        process.on_exit(early.append)
        assert await process.wait(DEADLINE) == 7
        process.on_exit(late.append)
        assert late == [], "never from within the call"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (early, late) == ([7], [7])
        process.close()

    run(main())


def test_wait_gives_up_at_its_deadline_and_leaves_the_process() -> None:
    async def main() -> None:
        async with await start_ready(WAITS) as process:
            with pytest.raises(TimeoutError, match="still runs"):
                await process.wait(0.01)
            assert process.returncode is None
            with pytest.raises(Bug, match="still runs"):
                process.exited_error("nothing")

    run(main())


def test_last_words_wait_for_an_exit_that_is_under_way() -> None:
    async def main() -> None:
        process = await start_ready("ready(); import time; time.sleep(0.05); raise SystemExit('so long')")
        words = await process.last_words()
        assert words == "exit status 1; last words: so long"

    run(main())


def test_last_words_of_a_process_that_lives_say_so() -> None:
    async def main() -> None:
        async with await start_ready(WAITS) as process:
            assert await process.last_words() == "still running"

    run(main())


def test_a_signal_is_named() -> None:
    async def main() -> None:
        process = await start("import os; os.abort()")
        assert await process.wait(DEADLINE) == -signal.SIGABRT
        assert "killed by SIGABRT" in str(process.exited_error("it failed"))

    run(main())


def test_last_words_cannot_act_on_a_terminal() -> None:
    async def main() -> None:
        process = await start(r"import os; os.write(2, b'a\x1b[2Jb\xff\nc')")
        await process.wait(DEADLINE)
        assert process.stderr_tail == "a\x1b[2Jb�\nc"
        assert (await process.last_words()).endswith("last words: a�[2Jb�\nc")

    run(main())


def test_a_flood_on_stderr_is_read_and_only_its_end_is_kept() -> None:
    code = "import sys\nfor _ in range(500): sys.stderr.write('x' * 100_000)\nsys.stderr.write('the end')"

    async def main() -> None:
        tracemalloc.start()
        process = await start(code)
        await process.wait(DEADLINE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(process.stderr_tail) == 64 * 1024
        assert process.stderr_tail.endswith("the end")
        assert len(await process.last_words()) < 4096
        assert peak < 2_000_000

    run(main())


def test_a_grandchild_that_holds_stderr_does_not_delay_the_exit() -> None:
    code = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid)"

    async def main() -> None:
        process = await start(code)
        await process.wait(DEADLINE)
        os.kill(int(process.stderr_tail), signal.SIGKILL)

    run(main())  # the check for leftovers sees whether the pipe was closed


# The ladder


async def stop_quickly(process: QemuProcess, **more: Any) -> list[str]:
    return await process.stop(**{"term_deadline": 0.1, "kill_deadline": DEADLINE, **more})


def test_a_polite_rung_that_works_is_the_last() -> None:
    async def main() -> None:
        ours, theirs = socketpair()
        with ours, FdLedger() as ledger:
            chardev = option_to_argv("chardev", {"backend": "socket", "id": "q", "fd": ledger.give(theirs, "QMP")})
            process = await start_process(qemu(*chardev, "-mon", "q,mode=control"), ledger)
            async with await QmpClient.connect(ours, last_words=process.last_words) as client:

                async def leave() -> None:
                    await client.execute("quit", final=True)

                assert await process.stop(polite=[("quit", leave, DEADLINE)]) == ["quit"]
            assert process.returncode == 0

    run(main())


def test_each_rung_is_taken_when_the_one_before_had_no_effect() -> None:
    async def ask() -> None:
        pass

    async def never() -> None:
        await asyncio.Event().wait()

    async def broken() -> None:
        raise QemuError("the agent is gone")

    async def main() -> None:
        process = await start_ready(IGNORES_TERM)
        polite = [("agent", ask, 0.05), ("powerdown", never, 0.05), ("quit", broken, DEADLINE)]
        used = await stop_quickly(process, polite=polite)
        assert used == ["agent", "powerdown", "quit", "SIGTERM", "SIGKILL"]
        assert process.returncode == -signal.SIGKILL

    run(main())


def test_sigterm_is_enough_for_one_that_heeds_it() -> None:
    async def main() -> None:
        process = await start_ready(WAITS)
        assert await process.stop(term_deadline=DEADLINE) == ["SIGTERM"]
        assert process.returncode == -signal.SIGTERM

    run(main())


def test_a_qemu_ends_on_sigterm_without_a_word_of_failure() -> None:
    async def main() -> None:
        ours, theirs = socketpair()
        with ours, FdLedger() as ledger:
            chardev = option_to_argv("chardev", {"backend": "socket", "id": "q", "fd": ledger.give(theirs, "QMP")})
            process = await start_process(qemu(*chardev, "-mon", "q,mode=control"), ledger)
            async with await QmpClient.connect(ours):  # its signal handlers are in place by now
                assert await process.stop(term_deadline=DEADLINE) == ["SIGTERM"]
            assert process.returncode == 0

    run(main())


def test_a_stopped_process_is_killed() -> None:
    async def main() -> None:
        process = await start_ready(WAITS)
        os.kill(process.pid, signal.SIGSTOP)
        # Before it has stopped, SIGTERM would be taken first.
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert await stop_quickly(process) == ["SIGTERM", "SIGKILL"]

    run(main())


def test_an_exit_during_a_slow_polite_rung_ends_the_wait() -> None:
    async def main() -> None:
        process = await start_ready(WAITS)
        cancelled = asyncio.Event()

        async def ask() -> None:
            os.kill(process.pid, signal.SIGKILL)
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        assert await process.stop(polite=[("ask", ask, 60 * DEADLINE)]) == ["ask"]
        await cancelled.wait()

    run(main())


def test_stopping_twice_and_what_has_ended_by_itself_is_no_work() -> None:
    async def main() -> None:
        process = await start_ready(WAITS)
        assert await process.stop(term_deadline=DEADLINE) == ["SIGTERM"]
        assert await process.stop() == ["SIGTERM"]
        ended = await start("pass")
        await ended.wait(DEADLINE)
        assert await ended.stop() == []
        ended.close()
        ended.close()

    run(main())


def test_two_stops_at_once_go_down_one_ladder() -> None:
    async def main() -> None:
        asked: list[str] = []

        async def ask() -> None:
            asked.append("once")

        process = await start_ready(IGNORES_TERM)
        stops = (stop_quickly(process, polite=[("ask", ask, 0.05)]) for _ in range(2))
        assert await asyncio.gather(*stops) == [["ask", "SIGTERM", "SIGKILL"]] * 2
        assert asked == ["once"]

    run(main())


@pytest.mark.parametrize("times", [1, 3])
def test_a_cancelled_stop_kills_and_reaps_before_it_ends(times: int) -> None:
    async def main() -> None:
        process = await start_ready(IGNORES_TERM)
        stop = asyncio.ensure_future(process.stop(term_deadline=60 * DEADLINE))
        await asyncio.sleep(0.01)
        for _ in range(times):
            stop.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await stop
        assert process.returncode == -signal.SIGKILL
        assert not Path(f"/proc/{process.pid}").exists(), "it was not reaped"

    run(main())


def test_cancelling_one_of_two_stops_frees_the_other() -> None:
    async def main() -> None:
        process = await start_ready(IGNORES_TERM)
        first, second = (asyncio.ensure_future(process.stop(term_deadline=60 * DEADLINE)) for _ in range(2))
        await asyncio.sleep(0.01)
        second.cancel()
        assert (await first)[:1] == ["SIGTERM"]
        with pytest.raises(asyncio.CancelledError):
            await second
        assert process.returncode == -signal.SIGKILL

    run(main())


def test_a_process_that_sigkill_does_not_end_is_said_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with await start_ready(WAITS) as process:
            with monkeypatch.context() as patch:
                patch.setattr(signal, "pidfd_send_signal", lambda *_: None)  # as if stuck in the kernel
                with pytest.raises(HostError, match=r"still runs 0\.05 s after SIGKILL"):
                    await process.stop(term_deadline=0.05, kill_deadline=0.05)

    run(main())


def test_the_end_of_the_block_stops_it_also_after_an_error() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with await start_ready(WAITS) as process:
                raise ZeroDivisionError
        assert process.returncode == -signal.SIGTERM

    run(main())


# Without the loop, in other threads, in other processes


def test_close_reaps_what_outlived_its_loop() -> None:
    process = asyncio.run(start_ready(IGNORES_TERM))
    process.close()
    assert process.returncode == -signal.SIGKILL
    process.close()


def test_close_tells_those_who_wait() -> None:
    async def main() -> None:
        process = await start_ready(IGNORES_TERM)
        wait = asyncio.ensure_future(process.wait())
        await asyncio.sleep(0)
        process.close()
        assert await wait == -signal.SIGKILL

    run(main())


def in_thread(work: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as e:
            failures.append(e)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_it_works_on_a_loop_in_another_thread() -> None:
    async def main() -> None:
        process = await start_ready(IGNORES_TERM)
        assert await stop_quickly(process) == ["SIGTERM", "SIGKILL"]
        process = await start("raise SystemExit('x')")
        assert await process.wait(DEADLINE) == 1
        assert (await process.last_words()).endswith("last words: x")

    in_thread(lambda: run(main()))


def test_the_process_dies_with_the_thread_that_started_it() -> None:
    """PR_SET_PDEATHSIG follows the thread, which is why the loop's thread must live as long as the process."""
    started: list[QemuProcess] = []
    in_thread(lambda: started.append(asyncio.run(start_ready(WAITS))))
    pidfd = os.pidfd_open(started[0].pid)
    wait_for_end(started[0].pid, pidfd)
    os.close(pidfd)
    started[0].close()
    assert started[0].returncode == -signal.SIGKILL


MANAGER = """
import asyncio, sys
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import start_process

async def main():
    ours, theirs = socketpair()
    with FdLedger() as ledger:
        number = ledger.give(theirs, "QMP")
        qmp = ["-chardev", f"socket,id=q,fd={number}", "-mon", "q,mode=control"]
        process = await start_process([*sys.argv[1:], *qmp], ledger)
    await asyncio.get_running_loop().sock_recv(ours, 1)
    print(process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_manager_killed_by_sigkill_leaves_no_qemu() -> None:
    command = [sys.executable, "-c", MANAGER, *qemu()]
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as manager:
        try:
            assert manager.stdout
            pid = int(manager.stdout.readline())
            pidfd = os.pidfd_open(pid)
            assert Path(f"/proc/{pid}/exe").resolve() == find_qemu().path
        finally:
            manager.kill()
    wait_for_end(pid, pidfd)
    os.close(pidfd)


def test_a_forked_child_neither_kills_nor_reaps_nor_disturbs_the_loop() -> None:
    async def main() -> None:
        process = await start_ready(IGNORES_TERM)
        child = os.fork()
        if child == 0:
            try:
                process.close()
                with pytest.raises(ForeignProcess, match="forked"):
                    process.on_exit(print)
                with pytest.raises(ForeignProcess):
                    process.stop().send(None)
                del process
                gc.collect()
                os._exit(0)
            finally:
                os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert process.returncode is None
        assert Path(f"/proc/{process.pid}").exists()
        assert await stop_quickly(process) == ["SIGTERM", "SIGKILL"]

    run(main())


def test_repr_tells_pid_and_state() -> None:
    async def main() -> None:
        async with await start_ready(WAITS) as process:
            assert repr(process) == f"<QemuProcess pid={process.pid} still running>"
        assert repr(process) == f"<QemuProcess pid={process.pid} killed by SIGTERM>"

    run(main())
