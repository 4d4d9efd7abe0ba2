"""`gavotte run` of what was run before: a copy is begun at once, and is as any other."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gavotte.guest.image import Image
from gavotte.sandbox.headstart import traits
from tests.support.command_line import GAVOTTE, Ended, gavotte, read_until, started, wait_for_qemu
from tests.support.orphans import no_orphans
from tests.support.processes import processes_of
from tests.support.templates import CLOCK, own_cache

pytestmark = [pytest.mark.vm, pytest.mark.usefixtures("image")]

RUN = ("run", "--accel", "tcg", "--memory", "256M")
TOLERATED = 0.05  # seconds that a guest's clock may be off
BUILDING = b"gavotte: note: building a template"
PATIENCE = 20.0

# Who a guest is, and what nobody may be able to foretell
SELF = (
    "hostname; cat /etc/machine-id /proc/sys/kernel/random/uuid; head -c 32 /dev/urandom | od -An -tx1 | tr -d '\\n '"
)


class Cache:
    """A cache with one template, which was used once."""

    def __init__(self, path: Path) -> None:
        self.env = {"XDG_CACHE_HOME": os.fspath(path)}
        self.path = path / "gavotte" / "starts.json"

    def run(self, *words: str, options: tuple[str, ...] = ()) -> Ended:
        """`gavotte run` to its end. Nothing of it may be left."""
        with no_orphans():
            ended = gavotte(*RUN, *options, "--", *words, env=self.env)
        assert run_entries() == []
        return ended

    @property
    def written(self) -> tuple[int, int]:
        """When it was written down last what was started: not by a run whose copy was begun ahead."""
        status = self.path.stat()
        return status.st_ino, status.st_mtime_ns

    @property
    def starts(self) -> dict[str, dict[str, Any]]:
        return dict(json.loads(self.path.read_text())["starts"])

    def write(self, starts: dict[str, dict[str, Any]]) -> None:
        self.path.write_text(json.dumps({**json.loads(self.path.read_text()), "starts": starts}))

    def only(self) -> tuple[str, dict[str, Any]]:
        """The start of RUN."""
        (found,) = [(key, facts) for key, facts in self.starts.items() if "('boot_timeout', 120.0)" in key]
        return found


@pytest.fixture(scope="module")
def cache(image: Image, tmp_path_factory: pytest.TempPathFactory, run_directory: None) -> Iterator[Cache]:
    """With a run directory of its own: guests that other files share live in the usual one."""
    cache = Cache(own_cache(tmp_path_factory.mktemp("headstart")))
    with tempfile.TemporaryDirectory(prefix="gv", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAVOTTE_RUN_DIR", folder)
        ended = cache.run("echo", "first")
        assert (ended.returncode, ended.stdout) == (0, b"first\n"), ended
        assert BUILDING in ended.stderr
        yield cache


def run_entries() -> list[str]:
    return os.listdir(os.environ["GAVOTTE_RUN_DIR"])  # noqa: PTH208  # their names


def ok(ended: Ended) -> str:
    assert (ended.returncode, ended.stderr) == (0, b""), ended
    return ended.stdout.decode()


# a copy that was begun ahead


def test_the_second_run_of_the_same_takes_what_was_begun_ahead(cache: Cache) -> None:
    before = cache.written
    ended = cache.run("hostname", options=("--verbose",))
    assert cache.written == before, "it was planned and started anew"
    assert ended.returncode == 0
    assert re.fullmatch(rb"gavotte-[0-9a-f]{8}\n", ended.stdout)
    assert ended.stdout.strip().decode() != cache.only()[1]["name"]
    assert b"gavotte: a copy of the template " in ended.stderr
    for phase in (b"image: ", b"accelerator: ", b"template: ", b"clone: "):
        assert b"gavotte: " + phase in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_cache_that_can_only_be_read_gives_copies_and_is_left_as_it_is(cache: Cache) -> None:
    """Also to a QEMU that opens the memory's file for writing."""
    read_only = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", read_only, os.fspath(cache.path.parent))
    env = {**os.environ, **cache.env}
    for options in ((), ("--boot-timeout", "98")):  # one that was begun ahead before, and another
        with started(*RUN, *options, "--verbose", "--", "echo", "hello", env=env, before=before) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (0, b"hello\n"), err
        assert b"gavotte: a copy of the template " in err
        assert b"note: " not in err
    assert run_entries() == []


def test_what_the_command_is_makes_no_other_machine_and_what_the_machine_is_does(cache: Cache) -> None:
    before = cache.written
    assert ok(cache.run("sh", "-c", "echo $A; pwd; id -un", options=("--env", "A=b", "--cwd", "/usr"))) == (
        "b\n/usr\nroot\n"
    )
    assert cache.written == before
    other = ("--boot-timeout", "99")
    ok(cache.run("true", options=other))
    assert cache.written != before, "it is another machine, for all that it knows"
    again = cache.written
    ok(cache.run("true", options=other))
    assert cache.written == again


def test_each_is_a_guest_of_its_own(cache: Cache) -> None:
    before = cache.written
    found = [ok(cache.run("sh", "-c", SELF)).split("\n") for _ in range(3)]
    assert cache.written == before
    for values in list(zip(*found, strict=True))[:-1]:  # the last is empty
        assert len(set(values)) == 3, f"two have the same: {values}"


def test_its_clock_is_the_hosts(cache: Cache) -> None:
    before = cache.written
    with started(*RUN, "--", *CLOCK, env={**os.environ, **cache.env}) as process:
        assert time_off(process) < TOLERATED
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert cache.written == before


def time_off(process: subprocess.Popen[bytes]) -> float:
    """How far the clock of the guest in which CLOCK runs is off, at least: of many answers, the quickest tells."""
    assert process.stdin is not None
    found = []
    for _ in range(20):
        before = time.time()
        process.stdin.write(b"\n")
        process.stdin.flush()
        said = float(read_until(process.stdout, b"\n"))
        half = (time.time() - before) / 2
        found.append((half, max(0.0, abs(said - before - half) - half)))
    return min(found)[1]


def test_runs_at_once_are_guests_of_their_own(cache: Cache) -> None:
    env = {**os.environ, **cache.env}
    with ExitStack() as stack:
        runs = [
            stack.enter_context(started(*RUN, "--", "sh", "-c", f"{SELF}; echo; read line", env=env)) for _ in "1234"
        ]
        found = [read_lines(process, 4) for process in runs]
        for values in zip(*found, strict=True):
            assert len(set(values)) == len(runs), f"two have the same: {values}"
        assert {name.encode() for name in run_entries()} == {values[0] for values in found}
        for process in runs:
            process.communicate(b"on\n", timeout=PATIENCE)
            assert process.returncode == 0


def read_lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    said = b""
    while said.count(b"\n") < count:
        said += read_until(process.stdout, b"\n")
    return said.splitlines()


def test_a_number_that_somebody_elses_file_has_here_costs_time_only(cache: Cache) -> None:
    """Shells, make and the like leave files open in what they start."""
    ok(cache.run("true"))
    numbers = cache.only()[1]["numbers"]
    env = {**os.environ, **cache.env}
    line = ["bash", "-c", f'exec "$@" {numbers["agent"]}< /dev/zero', "bash", *GAVOTTE, *RUN, "--", "echo", "fine"]
    for _ in range(2):
        with no_orphans():
            ended = subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, timeout=90, env=env, check=False
            )
        assert ok(ended) == "fine\n"
    before = cache.written
    assert cache.only()[1]["numbers"] != numbers
    assert ok(cache.run("echo", "ahead")) == "ahead\n"
    assert cache.written == before


# what was begun and is of no use


@pytest.mark.parametrize(
    "change",
    [{"token": "00" * 16}, {"told": {"cpus": 2}}, {"words": {"monitor": "{}"}}],
    ids=lambda change: next(iter(change)),
)
def test_one_that_differs_ends_before_the_command_runs(cache: Cache, change: dict[str, Any]) -> None:
    key, facts = cache.only()
    try:
        cache.write({key: {**facts, **change}})
        with started(*RUN, "--", "sh", "-c", "hostname; read line", env={**os.environ, **cache.env}) as process:
            name = read_until(process.stdout, b"\n").decode().strip()
            assert len(processes_of(name)) == 1
            process.communicate(b"on\n", timeout=PATIENCE)
            assert process.returncode == 0
        assert cache.only()[1]["token"] == facts["token"]  # written anew
    finally:
        cache.write({key: facts})


@contextmanager
def begun_wrong(cache: Cache, folder: Path, old: str = "", new: str = "") -> Iterator[Path]:
    """What is written down of RUN, or of what has `new` in it for `old`, is a program that does nothing; who begins it
    waits until somebody writes to the FIFO."""
    text = cache.path.read_text()
    key, facts = cache.only()
    assert old in key
    fifo = folder / "memory"
    os.mkfifo(fifo)
    idle = {
        "argv": ["/bin/sleep", "1000"],
        "binary": traits("/bin/sleep"),
        "numbers": {"agent": 401, "memory": 402},
        "files": {"memory": os.fspath(fifo)},
        "words": {},
    }
    cache.write({key.replace(old, new): {**facts, **idle}})
    try:
        yield fifo
    finally:
        cache.path.write_text(text)


def let_go_on(fifo: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when `process` reads the FIFO: it was waiting there, and waits no longer."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            return
        except OSError as error:
            assert error.errno == errno.ENXIO, error  # nobody reads there yet
            os.sched_yield()
    raise AssertionError(f"nothing was begun; status {process.poll()}")


def test_what_was_begun_and_is_not_what_is_planned_is_ended_and_nobody_hears_of_it(
    cache: Cache, tmp_path: Path
) -> None:
    with begun_wrong(cache, tmp_path) as fifo:
        with started(*RUN, "--", "echo", "planned", env={**os.environ, **cache.env}) as process:
            let_go_on(fifo, process)
            assert process.communicate(timeout=PATIENCE) == (b"planned\n", b"")
            assert process.returncode == 0
        assert cache.only()[1]["argv"][0] != "/bin/sleep", "it was not written anew"
        assert ok(cache.run("echo", "next")) == "next\n"  # whose own files may have the numbers that QEMU got there
        before = cache.written
        assert ok(cache.run("echo", "ahead")) == "ahead\n"
        assert cache.written == before


def test_a_usage_error_that_is_found_behind_it_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    with begun_wrong(cache, tmp_path, "('memory', '256M')", "('memory', '1K')") as fifo:
        words = [word.replace("256M", "1K") for word in RUN]
        with started(*words, "--", "true", env={**os.environ, **cache.env}) as process:
            let_go_on(fifo, process)
            out, err = process.communicate(timeout=PATIENCE)
            assert (process.returncode, out) == (125, b"")
            assert err.startswith(b"gavotte: ") and b"1K" in err and b"\n  next: " in err, err
    assert run_entries() == []


@pytest.mark.parametrize("words", [["--timeout", "0"], ["--slots", "1"], ["--env", "=x"]], ids=lambda words: words[0])
def test_nothing_is_begun_for_a_usage_error_that_is_seen_at_once(
    words: list[str], cache: Cache, tmp_path: Path
) -> None:
    """Who begins it would wait for the FIFO."""
    with begun_wrong(cache, tmp_path):
        assert cache.run("true", options=tuple(words)).returncode == 125


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_while_it_is_begun_leaves_nothing(number: signal.Signals, cache: Cache, tmp_path: Path) -> None:
    words = (*RUN, "--", "sleep", "1000")
    with begun_wrong(cache, tmp_path) as fifo, started(*words, env={**os.environ, **cache.env}) as process:
        let_go_on(fifo, process)
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 128 + number
    assert run_entries() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_right_behind_qemus_start_ends_it_and_leaves_nothing(number: signal.Signals, cache: Cache) -> None:
    with started(*RUN, "--", "sleep", "1000", env={**os.environ, **cache.env}) as process:
        wait_for_qemu(process)
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 128 + number
    assert run_entries() == []


def test_a_qemu_that_was_begun_does_not_outlive_its_manager_however_that_ends(cache: Cache) -> None:
    with started(*RUN, "--", "sleep", "1000", env={**os.environ, **cache.env}) as process:
        wait_for_qemu(process)
        process.kill()
        process.communicate(timeout=PATIENCE)
    # `started` has seen that QEMU is gone; the directory is for the next run's sweep
    for name in run_entries():
        os.utime(Path(os.environ["GAVOTTE_RUN_DIR"], name), (1000, 1000))  # not so young that somebody may be making it
    ok(cache.run("true"))


# another template


def test_a_template_that_was_removed_or_made_anew_meanwhile_is_taken_for_no_other(cache: Cache) -> None:
    old, before = cache.path.read_text(), cache.written
    assert gavotte("template", "rm", "--all", env=cache.env).returncode == 0
    ended = cache.run("echo", "built")
    assert (ended.returncode, ended.stdout) == (0, b"built\n")
    assert BUILDING in ended.stderr
    assert cache.written != before
    new = cache.only()[1]
    assert new["token"] != json.loads(old)["starts"][cache.only()[0]]["token"]

    cache.path.write_text(old)  # of the template before, whose files have the same paths
    before = cache.written
    assert ok(cache.run("echo", "fits")) == "fits\n"
    assert cache.written != before
    assert cache.only()[1]["token"] == new["token"]

    before = cache.written
    assert ok(cache.run("echo", "ahead")) == "ahead\n"
    assert cache.written == before
