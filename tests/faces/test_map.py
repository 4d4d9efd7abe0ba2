"""`gavotte.map` and `gavotte.Executor`: inputs, results in their order, failures, interrupts, the bar."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import gavotte
from gavotte.faces.executor import Executor, Work
from gavotte.faces.loop import call
from tests.support.command_line import PATIENCE, read_until, wait_for_qemu
from tests.support.orphans import children_of, no_orphans
from tests.support.terminals import Terminal

pytestmark = [
    pytest.mark.vm,
    pytest.mark.usefixtures("box", "no_stray_tasks"),
]  # the loop, its fds and the template are there then

OFFSET = 100


def root(x: float) -> tuple[float, str]:
    import math
    import socket

    return math.sqrt(x) + OFFSET, socket.gethostname()


# what it gives


def test_a_function_runs_in_a_machine_for_each_input_and_one_that_fails_leaves_the_others() -> None:
    with gavotte.map(root, [4, -1, 9], workers=2, accel="tcg", progress=False) as results:
        value, host = next(results)
        with pytest.raises(gavotte.FunctionFailed, match="root raised ValueError: math domain error") as caught:
            next(results)
        other, other_host = next(results)
        assert (value, other) == (102.0, 103.0)
        assert len({host, other_host, os.uname().nodename}) == 3
        assert "in root" in caught.value.traceback
        with pytest.raises(StopIteration):
            next(results)


def test_a_command_gets_text_as_an_argument_and_bytes_as_stdin() -> None:
    inputs: list[Any] = ["one two", b"three", ("-", b"four"), 5, ("nosuch",)]
    results = gavotte.map(["cat"], inputs, workers=2, accel="tcg", timeout=60, return_exceptions=True)
    missing, data, both, wrong, last = results
    assert isinstance(missing, gavotte.Result) and isinstance(data, gavotte.Result)
    assert isinstance(both, gavotte.Result) and isinstance(last, gavotte.Result)
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert (data.stdout, both.stdout) == (b"three", b"four")
    assert isinstance(wrong, gavotte.UsageError)
    assert b"nosuch" in last.stderr
    with pytest.raises(gavotte.CommandFailed):
        last.check()


def test_inputs_are_taken_as_they_are_needed_and_an_abandoned_iteration_ends_what_runs() -> None:
    taken = []

    def inputs() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"%d" % number

    for result in gavotte.map(["cat"], inputs(), workers=1, accel="tcg"):
        assert result.stdout == b"0"
        break
    assert len(taken) <= 4
    gc.collect()
    with gavotte.map(["cat"], [b"x"], workers=1, accel="tcg") as others:  # behind it on the loop
        assert next(others).stdout == b"x"


def test_what_cannot_run_in_a_guest_is_refused_before_anything_starts() -> None:
    with pytest.raises(gavotte.UsageError, match="lambda"):
        gavotte.map(lambda x: x, [1])
    with pytest.raises(gavotte.UsageError, match="workers"):
        gavotte.map(["cat"], ["1"], workers=0)
    with pytest.raises(gavotte.UsageError, match="timeout"):
        gavotte.map(["cat"], ["1"], timeout=-1)
    with pytest.raises(gavotte.UsageError, match="memory"):
        gavotte.map(["cat"], ["1"], memory="lots")
    assert list(gavotte.map(["cat"], [])) == []


def test_arguments_of_a_command() -> None:
    work = Work.of(["cat", "-n"])
    assert work.with_arguments(["a", b"x", "b"], {}) == (["cat", "-n", "a", "b"], b"x")
    for args, kwargs in (([b"x", b"y"], {}), ([None], {}), ([], {"k": 1})):
        with pytest.raises(gavotte.UsageError):
            work.with_arguments(args, kwargs)


# the executor


def test_the_executor_is_one_of_concurrent_futures() -> None:
    with gavotte.Executor(1, accel="tcg", timeout=60) as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        first = executor.submit(root, 4)
        second = executor.submit(["sh", "-c", "exit 3"])
        third = executor.submit(["echo"], "never")
        assert third.cancel()
        with pytest.raises(gavotte.UsageError):
            executor.submit(lambda: 1)
        assert next(concurrent.futures.as_completed([first], PATIENCE)).result()[0] == 102.0
        assert second.result(PATIENCE).returncode == 3
    with pytest.raises(gavotte.StateError, match="shut down"):
        executor.submit(["true"])


def test_terminating_ends_what_runs_and_cancels_what_waits() -> None:
    before = children_of(os.getpid())
    executor = Executor(1, accel="tcg")
    running = executor.submit(["sleep", "1000"])
    waiting = executor.submit(["true"])
    executor.terminate_workers()
    with pytest.raises(gavotte.StateError, match="terminated"):
        running.result(0)
    assert waiting.cancelled()
    executor.shutdown()
    assert children_of(os.getpid()).keys() == before.keys()


def test_an_executor_that_nobody_refers_to_ends_its_pool() -> None:
    executor = Executor(1, accel="tcg")
    pool = executor._pool
    assert executor.submit(["true"]).result(PATIENCE).returncode == 0
    feeder = pool._feeder
    assert feeder is not None
    del executor  # which a call that still ends its machine refers to
    call(asyncio.wait([feeder], timeout=PATIENCE))
    assert feeder.done() and not pool.is_open()
    call(pool.close())


FAILED = """
import asyncio, gc, time
import gavotte
from gavotte.faces.loop import begin, call

def inputs():
    yield "a"
    {failure}

def main():
    results = gavotte.map(["true"], inputs(), workers=1, accel="tcg", progress=False)
    try:
        list(results)
    except Exception as error:
        error.itself = error  # and its traceback leads to the results
        pool = results._executor._pool
        while pool.alive:  # else the end of a machine refers to the executor
            call(asyncio.sleep(0.05))
        raise

try:
    main()
except (KeyError, gavotte.UsageError):
    print("failed")

async def block():
    time.sleep(1)

begin(block())  # what the collection has the loop do comes after it
gc.collect()
"""


@pytest.mark.parametrize("failure", ["raise KeyError('inputs')", "yield ['no', 'word']"])
def test_a_map_that_fails_and_is_part_of_garbage_leaves_no_task(failure: str) -> None:
    argv = [sys.executable, "-X", "dev", "-c", FAILED.format(failure=failure)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stdout) == (0, "failed\n"), ended.stderr
    assert "was destroyed" not in ended.stderr, ended.stderr


INTERRUPTED = """
import gavotte
try:
    for result in gavotte.map(["sleep"], ["1000"] * 50, workers=2, accel="tcg"):
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_an_interrupt_ends_everything() -> None:
    with no_orphans(), subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE) as program:
        try:
            wait_for_qemu(program, PATIENCE)
            program.send_signal(signal.SIGINT)
            read_until(program.stdout, b"interrupted", 30)
            assert program.wait(30) == 0
        finally:
            program.kill()


# the bar

COUNTED = """
import sys
from gavotte.faces.progress import CountBar
bar = CountBar(3)
bar.advance()
bar.advance()
bar.stop()
bar.stop()
print("rich" in sys.modules)
"""


def test_the_bar_is_drawn_on_a_terminal_and_not_even_loaded_elsewhere() -> None:
    terminal = Terminal(24, 80)
    argv = [sys.executable, "-c", COUNTED]
    try:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=terminal.slave) as program:
            assert b"2/3" in terminal.read_until(b"2/3")
            assert program.communicate(timeout=30)[0] == b"True\n"
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)
    ended = subprocess.run(argv, capture_output=True, timeout=30, check=True)
    assert (ended.stdout, ended.stderr) == (b"False\n", b"")


MAPPED = """
import gavotte
print([result.returncode for result in gavotte.map(["true"], ["a", "b"], workers=2, accel="tcg")])
"""


def test_a_map_shows_how_far_it_has_come() -> None:
    terminal = Terminal(24, 80)
    try:
        argv = [sys.executable, "-c", MAPPED]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=terminal.slave) as program:
            assert b"2/2" in terminal.read_until(b"2/2")
            assert program.communicate(timeout=PATIENCE)[0] == b"[0, 0]\n"
    finally:
        os.close(terminal.master)
        os.close(terminal.slave)


def test_a_machine_that_ends_under_its_work_fails_that_and_no_other() -> None:
    off = "echo o > /proc/sysrq-trigger; sleep 60"
    results = gavotte.map(
        ["sh", "-c"], ["echo one", off, "echo three"], workers=2, accel="tcg", progress=False, return_exceptions=True
    )
    one, ended, three = results
    assert isinstance(one, gavotte.Result) and isinstance(three, gavotte.Result)
    assert (one.stdout, three.stdout) == (b"one\n", b"three\n")
    assert isinstance(ended, gavotte.GavotteError)
    assert "ended" in str(ended)
