"""Run directories: whose they are, and what the next command sweeps."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gavotte.errors import HostError, InUse, NoSuchSandbox
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.record import Record, Running, write_record
from gavotte.qemu.buses import Addresses
from gavotte.qemu.pids import ProcessId, boot_id
from gavotte.sandbox.store import RunDirectory, run_root, sweep
from tests.support.programs import python, wait_for_end

NOBODY = 65534
HOLD = (
    "import sys; from gavotte.sandbox.store import RunDirectory\nRunDirectory(sys.argv[1]); print(flush=True); input()"
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run root of this test's own."""
    monkeypatch.setenv("GAVOTTE_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


@contextmanager
def holder(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has made the run directory `name`."""
    line = [sys.executable, "-c", HOLD, name]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process
        process.kill()


@contextmanager
def started_for(directory: Path | str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was started for a sandbox's directory, and does nothing."""
    line = python("print(flush=True); input()")
    mark = {**os.environ, "GAVOTTE_DIRECTORY": str(directory)}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process
        process.kill()


def leave(root: Path, name: str, record: str) -> Path:
    """A run directory as somebody left it."""
    path = root / name
    path.mkdir(parents=True)
    (path / "owner.json").write_text(record)
    return path


# the root


def test_a_root_that_is_relative_is_the_same_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAVOTTE_RUN_DIR", "here")
    assert run_root() == tmp_path / "here"


def test_the_root_is_for_its_user_alone(root: Path) -> None:
    assert run_root() == root
    assert root.stat().st_mode & 0o7777 == 0o700


def test_the_root_is_in_the_runtime_directory_else_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GAVOTTE_RUN_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert run_root() == tmp_path / "gavotte"


def test_a_root_of_somebody_else_is_refused(root: Path) -> None:
    if os.getuid():
        pytest.skip("only root can give a directory away")
    root.mkdir()
    os.chown(root, NOBODY, NOBODY)
    with pytest.raises(HostError, match="belongs to another user") as caught:
        run_root()
    assert "GAVOTTE_RUN_DIR" in caught.value.hint


def test_a_root_that_others_may_write_is_refused(root: Path) -> None:
    root.mkdir()
    root.chmod(0o1777)
    with pytest.raises(HostError, match="others can write to it"):
        run_root()


def test_a_symbolic_link_as_root_is_refused(root: Path, tmp_path: Path) -> None:
    root.symlink_to(tmp_path)
    with pytest.raises(HostError, match=str(root)):
        run_root()


def test_a_root_that_cannot_be_made_says_why(root: Path) -> None:
    root.write_text("a file")
    with pytest.raises(HostError, match=str(root)) as caught:
        run_root()
    assert caught.value.hint


# a directory


def test_a_run_directory_lives_as_long_as_its_block(root: Path) -> None:
    with RunDirectory("a") as directory:
        assert directory.path == root / "a"
        assert directory.path.stat().st_mode & 0o7777 == 0o700
        assert [path.name for path in directory.path.iterdir()] == ["owner.json"]
    assert list(root.iterdir()) == []


def test_a_forked_child_does_not_remove_it() -> None:
    with RunDirectory("a") as directory:
        pid = os.fork()
        if pid == 0:
            directory.close()
            os._exit(0)
        os.waitpid(pid, 0)
        assert directory.path.is_dir()


def test_a_name_that_is_taken_costs_its_owner_nothing() -> None:
    with RunDirectory("a") as directory:
        with pytest.raises(HostError, match="File exists"):
            RunDirectory("a")
        assert (directory.path / "owner.json").is_file()


def test_a_directory_that_was_made_for_it_is_taken_and_goes_with_its_block(root: Path) -> None:
    run_root()
    (root / "a").mkdir(mode=0o700)
    with RunDirectory("a", made=True) as directory:
        assert [path.name for path in directory.path.iterdir()] == ["owner.json"]
        with pytest.raises(HostError, match="File exists"):
            RunDirectory("a")
    assert list(root.iterdir()) == []


def test_one_that_was_made_and_has_gone_is_made_again(root: Path) -> None:
    with RunDirectory("a", made=True) as directory:
        assert directory.path.stat().st_mode & 0o7777 == 0o700
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("to", ["precious", "nothing"])
def test_a_link_is_no_directory_that_was_made_for_it(to: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (run_root() / "a").symlink_to(tmp_path / to)
    with pytest.raises(HostError, match=str(root / "a")):
        RunDirectory("a", made=True)
    assert (root / "a").is_symlink()
    assert list((tmp_path / "precious").iterdir()) == []


# the sweep


def test_a_living_owners_directory_stays() -> None:
    with RunDirectory("mine") as mine, holder("theirs"):
        assert sweep() == []
        assert mine.path.is_dir()
        assert (run_root() / "theirs").is_dir()


@pytest.mark.parametrize("record", [None, "", "{}"])
def test_a_living_owner_without_a_record_is_known_by_its_lock(record: str | None) -> None:
    """systemd-tmpfiles and its like clean /tmp of files that were not used for days."""
    with RunDirectory("mine") as mine, holder("theirs") as process:
        theirs = mine.path.with_name("theirs")
        for path in (mine.path, theirs):
            (path / "owner.json").unlink()
            if record is not None:
                (path / "owner.json").write_text(record)
            os.utime(path, (1000, 1000))
        assert sweep() == []
        process.kill()
        process.wait(10)
        assert sweep() == ["theirs"]
        assert mine.path.is_dir()


def test_a_child_that_outlives_a_dead_owner_does_not_keep_its_directory(root: Path) -> None:
    with RunDirectory("a") as directory:
        record = json.dumps({"pid": os.getpid(), "started": 1})  # as if we, who have the lock, were such a child
        (directory.path / "owner.json").write_text(record)
        assert sweep() == ["a"]
    assert list(root.iterdir()) == []


def test_a_dead_owners_directory_goes(root: Path) -> None:
    with holder("theirs") as process:
        process.kill()
        process.wait(10)
        assert sweep() == ["theirs"]
    assert list(root.iterdir()) == []


def test_an_owner_whose_pid_was_used_again_is_dead(root: Path) -> None:
    leave(root, "old", json.dumps({"pid": os.getpid(), "started": 1}))
    assert sweep() == ["old"]


@pytest.mark.parametrize("record", ["", "{}", "[]", "null", '{"pid": "x", "started": 1}', '{"pid": -1, "started": -1}'])
def test_a_record_that_is_none_belongs_to_nobody(root: Path, record: str) -> None:
    leave(root, "broken", record)
    assert sweep() == ["broken"]


def test_a_directory_without_a_record_is_young_or_nobodys(root: Path) -> None:
    for name in ("young", "old"):
        (root / name).mkdir(parents=True)
    os.utime(root / "old", (1000, 1000))
    assert sweep() == ["old"]
    assert (root / "young").is_dir()


def test_a_process_of_a_dead_owner_is_killed_and_no_other(root: Path) -> None:
    gone = json.dumps({"pid": 2**22 + 1, "started": 1})
    leave(root, "gavotte-1", gone)
    leave(root, "gavotte-2", gone)
    with (
        started_for(root / "gavotte-1") as first,
        started_for(root / "gavotte-2") as second,
        started_for(root / "gavotte-12") as longer,
        started_for(root.with_name("elsewhere") / "gavotte-1") as other,
    ):
        pidfds = [os.pidfd_open(process.pid) for process in (first, second)]
        try:
            assert sweep() == ["gavotte-1", "gavotte-2"]
            for process, pidfd in zip((first, second), pidfds, strict=True):
                wait_for_end(process.pid, pidfd)
        finally:
            for pidfd in pidfds:
                os.close(pidfd)
        assert [first.wait(10), second.wait(10)] == [-signal.SIGKILL] * 2
        assert [longer.poll(), other.poll()] == [None, None]


def test_a_directory_that_is_none_of_ours_is_left_alone(root: Path) -> None:
    """GAVOTTE_RUN_DIR=$HOME is a mistake that may not cost a home."""
    (root / "thesis").mkdir(parents=True)
    (root / "thesis" / "chapter-1").write_text("...")
    os.utime(root / "thesis", (1000, 1000))
    assert sweep() == []
    assert (root / "thesis" / "chapter-1").exists()


def test_files_and_links_in_the_root_are_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    os.utime(tmp_path / "precious", (1000, 1000))
    run_root()
    (root / "link").symlink_to(tmp_path / "precious")
    (root / "file").write_text("")
    sweep()
    assert (tmp_path / "precious").is_dir()
    assert (root / "file").exists()


def test_two_sweeps_at_once_do_each_thing_once(root: Path) -> None:
    names = [f"gavotte-{number:02}" for number in range(30)]
    for name in names:
        leave(root, name, "{}")
    swept: list[str] = []
    threads = [threading.Thread(target=lambda: swept.extend(sweep())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(swept) == names
    assert list(root.iterdir()) == []


# machines that outlive their manager


def keep(directory: Path, qemu: ProcessId | None, *helpers: ProcessId, boot: str | None = None) -> None:
    """The record of a kept machine, as far as a sweep reads it."""
    value = {
        "version": 999,
        "boot": boot_id() if boot is None else boot,
        "qemu": qemu and qemu._asdict(),
        "helpers": [helper._asdict() for helper in helpers],
    }
    (directory / "state.json").write_text(json.dumps(value))


@pytest.fixture
def nobodys() -> Path:
    """A directory whose owner let it go."""
    directory = RunDirectory("kept")
    directory.leave()
    return directory.path


def test_a_kept_machine_that_runs_is_not_swept_and_one_that_ended_is(nobodys: Path, root: Path) -> None:
    with started_for("/") as process, started_for("/") as helper:
        keep(nobodys, ProcessId.of(process.pid), ProcessId.of(helper.pid))
        assert sweep() == []
        process.kill()
        process.wait(10)
        assert sweep() == ["kept"]
        assert helper.wait(10) == -signal.SIGKILL
    assert list(root.iterdir()) == []


def test_a_pid_of_an_earlier_start_of_the_host_is_nobodys(nobodys: Path) -> None:
    with started_for("/") as process:
        keep(nobodys, ProcessId.of(process.pid), ProcessId.of(process.pid), boot="another")
        assert sweep() == ["kept"]
        assert process.poll() is None


def test_a_kept_machine_whose_manager_died_before_it_knew_the_pid_is_found_by_its_mark(nobodys: Path) -> None:
    keep(nobodys, None)
    with started_for(nobodys) as process:
        assert sweep() == ["kept"]
        assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("record", ["", "{", "[]", '{"boot": 7}', '{"boot": "x", "qemu": [], "helpers": 1}'])
def test_a_damaged_record_keeps_nothing(nobodys: Path, record: str) -> None:
    (nobodys / "state.json").write_text(record)
    assert sweep() == ["kept"]


def test_the_sweep_reads_what_the_record_is_written_as(nobodys: Path) -> None:
    config = MachineConfig("kept", "x86_64", "q35", "tcg", 1, 64 << 20, Path("/kernel"), None, "")
    me = ProcessId.of(os.getpid())
    running = Running("qemu", "python", me.pid, me.started)
    write_record(Record(Path("/qemu"), "identity", config, Table(Addresses()), running), nobodys)
    assert sweep() == []
    other = Running("qemu", "python", me.pid, me.started - 1)
    write_record(Record(Path("/qemu"), "identity", config, Table(Addresses()), other), nobodys)
    assert sweep() == ["kept"]


def test_an_entry_of_the_register_stays_with_its_logs_when_the_rest_is_swept(nobodys: Path, root: Path) -> None:
    for name in ("register.json", "console.log", "console.log.1", "command.log", "state.json", "vm.console.sock"):
        (nobodys / name).write_text("{}")
    os.mkfifo(nobodys / "output.fifo")
    assert sweep() == ["kept"]
    assert {path.name for path in nobodys.iterdir()} == {"register.json", "console.log", "console.log.1", "command.log"}
    assert sweep() == []


def test_a_sandbox_that_closes_leaves_its_entry_of_the_register() -> None:
    with RunDirectory("a") as directory:
        (directory.path / "register.json").write_text("{}")
        (directory.path / "state.json").write_text("{}")
    assert [path.name for path in directory.path.iterdir()] == ["register.json"]


# taking a directory over


def test_a_directory_that_was_let_go_is_taken_over_by_one(nobodys: Path, root: Path) -> None:
    with RunDirectory.attach(nobodys) as mine:
        assert mine.path == nobodys
        with pytest.raises(InUse, match=f"belongs to process {os.getpid()}$"):
            RunDirectory.attach(nobodys)
        assert sweep() == []
    assert list(root.iterdir()) == []


def test_the_directory_of_a_dead_owner_is_taken_over() -> None:
    with holder("theirs") as process:
        with pytest.raises(InUse, match=f"belongs to process {process.pid}$"):
            RunDirectory.attach(run_root() / "theirs")
        process.kill()
        process.wait(10)
        RunDirectory.attach(run_root() / "theirs").close()


def test_a_directory_that_is_not_there_cannot_be_taken_over() -> None:
    with pytest.raises(NoSuchSandbox):
        RunDirectory.attach(run_root() / "gone")


def test_a_directory_behind_a_link_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (run_root() / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(HostError):
        RunDirectory.attach(run_root() / "link")
    assert list((tmp_path / "precious").iterdir()) == []


def test_of_two_that_take_over_at_once_one_has_it(nobodys: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gavotte.sandbox.store import RunDirectory\n"
        "from gavotte.errors import InUse\n"
        "input()\n"
        "try:\n    RunDirectory.attach(Path(sys.argv[1])); print('mine', flush=True); input()\n"
        "except InUse: print('taken', flush=True)\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(nobodys)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    with contextlib.ExitStack() as stack:
        for racer in racers:
            stack.enter_context(racer)
            stack.callback(racer.kill)
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        told = sorted(racer.stdout.readline().strip() for racer in racers if racer.stdout is not None)
    assert told == ["mine", "taken", "taken", "taken"]
