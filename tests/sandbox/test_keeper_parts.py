"""What a keeper is made of, without a machine: frames, errors as JSON, the bounded log, the register."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import Context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gavotte
from gavotte import errors
from gavotte.errors import HostError
from gavotte.flock import FileLock
from gavotte.guest.agent import STDERR, STDOUT
from gavotte.qemu.pids import ProcessId
from gavotte.qemu.rotation import RotatedFile
from gavotte.sandbox import register
from gavotte.sandbox.keeper import client
from gavotte.sandbox.keeper.client import connect, directory_fd
from gavotte.sandbox.keeper.log import BoundedLog, CommandLog, read_log
from gavotte.sandbox.keeper.wire import (
    ERR,
    HEADER,
    MESSAGE,
    OUT,
    PROTOCOL,
    Decoder,
    Malformed,
    decode_message,
    encode,
    encode_message,
    error_from_json,
    error_to_json,
)
from gavotte.sandbox.register import Entry, claim, find_entry, list_entries, remove
from gavotte.sandbox.store import run_root, sweep

SUMMARY = {"memory": 512 << 20, "cpus": 1, "arch": "x86_64", "machine": "q35"}


@contextmanager
def registered(name: str, state: str = "running") -> Iterator[Entry]:
    """An entry whose keeper is this process."""
    directory = claim(run_root() / name)
    entry = Entry.new(directory.path, ["sleep", "1"], dict(SUMMARY))
    entry.state = state
    entry.write()
    try:
        yield entry
    finally:
        directory.leave()
        remove(entry)


def ended_process() -> ProcessId:
    child = subprocess.Popen(["true"])
    process = ProcessId.of(child.pid)
    child.wait()
    return process


# --- the wire ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(MESSAGE, ERR), st.binary(max_size=40))), st.integers(1, 7))
def test_frames_that_are_split_anywhere_are_the_same_frames(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(encode(kind, payload) for kind, payload in frames)
    decoder = Decoder()
    found = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
    assert found == frames


@pytest.mark.parametrize("header", [HEADER.pack(4, 0), HEADER.pack(OUT, 1 << 30), b"GET / HTTP/1.1"])
def test_what_is_no_frame_is_malformed_at_its_header(header: bytes) -> None:
    with pytest.raises(Malformed):
        Decoder().feed(header)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[1]", b"7", b"[" * 100_000, b'{"x":' + b"1" * 400_000 + b"}"])
def test_a_message_that_is_no_object_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed, match="^a message ") as caught:
        decode_message(payload)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("error", [None, [], {}, {"class": "UsageError"}, {"class": "__all__", "problems": 5}])
def test_an_error_that_lacks_something_is_malformed(error: object) -> None:
    with pytest.raises(Malformed, match="^an error lacks something$"):
        error_from_json(error)  # type: ignore[arg-type]  # as it comes over the wire


def test_a_path_that_is_not_utf8_survives_a_message() -> None:
    [(kind, payload)] = Decoder().feed(encode_message(argv=[os.fsdecode(b"\xff\xfe")]))
    assert kind == MESSAGE
    assert decode_message(payload) == {"argv": ["\udcff\udcfe"]}


EVERY_ERROR = [
    errors.UsageError("no", path="cpus", hint="do"),
    errors.NoSuchSandbox("x"),
    errors.CommandNotStarted("not there", exit_code=127),
    errors.InvalidMachine([errors.UsageError("no such key", path="device.drivr", hint="driver?")]),
    errors.Unsupported("vsock", "the host has none"),
    errors.StateTooNew("state.json", 9, 1),
    errors.OutcomeUnknown("quit", "it ended"),
    errors.QemuExited("ended", returncode=-9, stderr="", argv=("qemu",)),
    errors.GuestSilent("silent", console="lines"),
    errors.Bug("oh"),
]


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_at_the_other_end(error: errors.GavotteError) -> None:
    again = error_from_json(json.loads(json.dumps(error_to_json(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    for name in ("message", "hint", "exit_code", "argv"):
        assert getattr(again, name) == getattr(error, name)
    if isinstance(error, errors.InvalidMachine) and isinstance(again, errors.InvalidMachine):
        assert [vars(problem) for problem in again.problems] == [vars(problem) for problem in error.problems]


def test_an_error_of_a_later_release_is_an_error_all_the_same() -> None:
    again = error_from_json({**error_to_json(errors.Bug("new kind")), "class": "NotYetInvented"})
    assert (type(again), str(again)) == (errors.GavotteError, "new kind")


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_log_keeps_the_last_of_what_was_written_in_two_files_of_bounded_size(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 100)
    for number in range(100):
        log.write(b"%09d\n" % number)
    log.close()
    assert b"".join(read_log(tmp_path / "log")).split() == [b"%09d" % number for number in range(80, 100)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200


def test_a_log_on_a_full_disk_drops_and_counts_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    log = BoundedLog(tmp_path / "log", 100)
    log.write(b"lost")
    (tmp_path / "log").unlink()
    log.close()
    log.write(b"kept")
    log.close()
    assert log.dropped == 4
    assert (tmp_path / "log").read_bytes() == b"kept"


ROTATED = 200  # bytes: a file is full before the end of the story, and none is dropped


PIECES = st.tuples(st.sampled_from([STDOUT, STDERR]), st.integers(10, 30))  # of which stream, and how long


class Killed(BaseException):
    """Where a process would end by SIGKILL."""


def continued(path: Path) -> CommandLog:
    log = CommandLog(path, ROTATED)
    log.recover()
    return log


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, min_size=6, max_size=12), data=st.data())
def test_each_byte_of_a_command_is_in_its_log_once_wherever_its_writer_was_killed(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("logs") / "command.log"
    log = CommandLog(path, ROTATED)
    sent = {STDOUT: b"", STDERR: b""}
    for stream, size in pieces:
        sent[stream] += bytes(next(LETTERS[stream]) for _ in range(size))
        piece = sent[stream][log.stored[stream] :]
        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            kill_in(patch, data.draw(st.sampled_from(["", "room", "note", "write"])), data.draw(st.integers(0, 30)))
            log.write(stream, piece)
        log.close()
        log = continued(path)
        log.write(stream, sent[stream][log.stored[stream] :])
        log.close()
    kept = b"".join(read_log(path))
    assert bytes(byte for byte in kept if byte < 97) == sent[STDOUT]
    assert bytes(byte for byte in kept if byte >= 97) == sent[STDERR]


LETTERS = {STDOUT: itertools.cycle(range(65, 91)), STDERR: itertools.cycle(range(97, 123))}


def kill_in(patch: pytest.MonkeyPatch, where: str, count: int) -> None:
    """Behind making room, behind the mark, or when so many bytes are written."""

    def killed_behind(act: Callable[..., object]) -> Callable[..., object]:
        def acted(*args: object) -> object:
            act(*args)
            raise Killed

        return acted

    def killed_in_the_middle(self: RotatedFile, data: bytes) -> int:
        whole(self, data[:count])
        raise Killed

    whole = RotatedFile.write
    if where == "room":
        patch.setattr(RotatedFile, "make_room", killed_behind(RotatedFile.make_room))
    elif where == "note":
        patch.setattr(CommandLog, "_note", killed_behind(CommandLog._note))
    elif where == "write":
        patch.setattr(RotatedFile, "write", killed_in_the_middle)


def test_what_is_missing_of_a_commands_output_is_told_where_it_would_be(tmp_path: Path) -> None:
    log = CommandLog(tmp_path / "command.log", 1000)
    log.write(STDOUT, b"half a ")
    log.go_on({STDOUT: 107, STDERR: 0})
    log.write(STDERR, b"rest\n")
    log.close()
    (tmp_path / "command.log").rename(tmp_path / "old")
    (tmp_path / "command.log").symlink_to("/nowhere/to/be/found")
    log.write(STDOUT, b"lost on a full disk")
    assert log.stored == {STDOUT: 126, STDERR: 5}
    (tmp_path / "command.log").unlink()
    log.write(STDOUT, b"fine\n")
    log.close()
    assert (tmp_path / "old").read_bytes() == b"half a \n[gavotte: 100 bytes of output are missing here]\nrest\n"
    assert (tmp_path / "command.log").read_bytes() == b"[gavotte: 19 bytes of output are missing here]\nfine\n"


def test_a_log_whose_writer_was_killed_before_the_first_byte_has_none_and_that_is_known(tmp_path: Path) -> None:
    killed = CommandLog(tmp_path / "command.log", 100)
    killed.begin()
    killed.close()
    log = CommandLog(tmp_path / "command.log", 100)
    assert log.recover()
    log.go_on({STDOUT: 0, STDERR: 0})
    log.write(STDOUT, b"all\n")
    log.close()
    assert (tmp_path / "command.log").read_bytes() == b"all\n"


@pytest.mark.parametrize("mark", [None, b"", b"short"])
@pytest.mark.parametrize("offsets", [{STDOUT: 900, STDERR: 0}, {STDOUT: None, STDERR: None}])
def test_a_log_of_which_nobody_knows_what_is_there_says_so(
    tmp_path: Path, mark: bytes | None, offsets: dict[int, int | None]
) -> None:
    (tmp_path / "command.log").write_bytes(b"half a ")
    if mark is not None:
        (tmp_path / "command.log.mark").write_bytes(mark)
    log = CommandLog(tmp_path / "command.log", 1000)
    assert not log.recover()
    log.go_on(offsets)
    log.write(STDOUT, b"rest\n")
    log.close()
    doubt = b"[gavotte: some bytes of output may be missing here, or be here twice]\n"
    assert (tmp_path / "command.log").read_bytes() == b"half a \n" + doubt + b"rest\n"
    assert log.stored[STDOUT] == (offsets[STDOUT] or 0) + 5


def test_a_log_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert list(read_log(tmp_path / "log")) == []


# --- the register -----------------------------------------------------------------------------------------------------


def test_an_entry_is_read_as_it_was_written() -> None:
    with registered("one") as entry:
        entry.status, entry.qemu, entry.channel = 7, ProcessId.of(os.getpid()), 3
        entry.write()
        again = find_entry("one")
        assert {**vars(again)} == {**vars(entry)}
        assert [each.name for each in list_entries()] == ["one"]


def test_of_many_that_claim_a_name_one_gets_it() -> None:
    def attempt(_number: int) -> object:
        try:
            return claim(run_root() / "wanted")
        except gavotte.InUse as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(8)))
    [winner] = [each for each in outcomes if not isinstance(each, gavotte.InUse)]
    winner.close()  # type: ignore[attr-defined]  # a RunDirectory
    losers = [each for each in outcomes if isinstance(each, gavotte.InUse)]
    assert len(losers) == 7
    assert all("choose another" in each.hint for each in losers)


@pytest.mark.parametrize(("state", "way"), [("running", "gavotte exec taken"), ("exited", "gavotte rm taken")])
def test_a_name_that_is_taken_names_the_way_out(state: str, way: str) -> None:
    with registered("taken", state), pytest.raises(gavotte.InUse, match=state) as caught:
        claim(run_root() / "taken")
    assert way in caught.value.hint


NONSENSE = ["", "../x", "a/b", ".", "..", ".hidden", "-x", "x" * 64, "naïve", "a b", "a\n", "a\0b", "a,b"]


@pytest.mark.parametrize("name", NONSENSE)
def test_a_name_that_is_nonsense_is_refused(name: str) -> None:
    for use in (find_entry, lambda name: gavotte.Sandbox(name=name)):
        with pytest.raises(gavotte.UsageError, match="no name for a sandbox") as caught:
            use(name)
        assert caught.value.path == "name"


@pytest.mark.parametrize("name", ["x", "0", "a.b_c-D9", "x" * 63])
def test_a_name_that_is_one_is_taken(name: str) -> None:
    assert gavotte.Sandbox(name=name).name == name


def test_a_name_that_nobody_has_tells_those_that_are_close() -> None:
    with registered("builder"), pytest.raises(gavotte.NoSuchSandbox) as caught:
        find_entry("bulider")
    assert caught.value.hint.startswith("did you mean builder?")


def test_a_sandbox_whose_processes_have_gone_is_dead_whatever_was_written() -> None:
    with registered("lost") as entry:
        entry.keeper, entry.qemu = ended_process(), ended_process()
        assert entry.observed[0] == "dead"
        entry.qemu = ProcessId.of(os.getpid())
        assert entry.observed == ("running", "its keeper died")
        entry.boot = "another"
        assert entry.observed == ("dead", "the host was started anew")


def test_an_end_is_written_down_also_when_the_disk_is_full() -> None:
    with registered("full") as entry:
        (entry.path / "register.json.new").symlink_to("/dev/full")
        entry.end("exited", "because")
        assert find_entry("full").observed == ("exited", "because")


def test_a_damaged_entry_is_told_and_left_out_of_the_list() -> None:
    with registered("damaged") as entry:
        (entry.path / "register.json").write_text('{"version": 1}')
        assert list_entries() == []
        with pytest.raises(gavotte.HostError, match="damaged") as caught:
            find_entry("damaged")
        assert "rm" in caught.value.hint


def test_an_entry_of_a_later_version_is_refused_with_both_versions() -> None:
    with registered("later") as entry:
        value = json.loads((entry.path / "register.json").read_text())
        (entry.path / "register.json").write_text(json.dumps({**value, "version": 99}))
        with pytest.raises(gavotte.StateTooNew, match=r"99.* 1"):
            find_entry("later")


def test_a_sweep_leaves_what_the_register_keeps() -> None:
    with registered("kept", "exited") as entry:
        (entry.path / register.COMMAND_LOG).write_bytes(b"words")
        owner = ended_process()
        (entry.path / "owner.json").write_text(json.dumps(owner._asdict()))
        sweep()
        assert find_entry("kept").observed[0] == "exited"
        assert b"".join(read_log(entry.path / register.COMMAND_LOG)) == b"words"


# --- the line ---------------------------------------------------------------------------------------------------------


@contextmanager
def keeper_that_says(entry: Entry, words: bytes, *, stays: bool = False) -> Iterator[None]:
    with directory_fd(entry.path) as fd, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{fd}/{register.SOCKET}")
        listening.listen()
        listening.settimeout(20)

        def serve() -> None:
            with listening.accept()[0] as client:
                client.sendall(words)
                client.recv(1 << 16)
                if stays:  # until the client goes
                    client.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def test_a_keeper_of_another_release_is_told_apart_with_both_versions() -> None:
    words = encode_message(protocol=99, gavotte="9.9", pid=4242)
    with registered("older") as entry, keeper_that_says(entry, words):
        with pytest.raises(gavotte.HostError, match=rf"9\.9.*99.*{gavotte.__version__}.*1") as caught:
            connect(entry)
        assert "kill 4242" in caught.value.hint


@pytest.mark.parametrize(("state", "way"), [("starting", "shows it running"), ("running", "gavotte stop --force mute")])
def test_a_keeper_without_a_socket_is_told_with_what_to_do(state: str, way: str) -> None:
    with registered("mute", state) as entry, pytest.raises(gavotte.StateError) as caught:
        connect(entry)
    assert way in caught.value.hint


def test_a_keeper_that_says_nothing_any_more_is_not_waited_for_beyond_patience() -> None:
    words = encode_message(protocol=PROTOCOL, gavotte=gavotte.__version__, pid=1)
    with registered("silent") as entry, keeper_that_says(entry, words, stays=True), connect(entry) as line:
        with pytest.raises(gavotte.HostError, match="the keeper of silent is silent") as caught:
            line.ask("stop", patience=0.1)
        assert "gavotte stop --force silent" in caught.value.hint


def test_a_keeper_that_dies_leaves_the_outcome_unknown() -> None:
    words = encode_message(protocol=PROTOCOL, gavotte=gavotte.__version__, pid=1)
    with (
        registered("dying") as entry,
        keeper_that_says(entry, words),
        connect(entry) as line,
        pytest.raises(gavotte.OutcomeUnknown, match=r"'pause' on dying"),
    ):
        line.ask("pause")


@pytest.mark.parametrize("state", ["stopped", "exited", "dead"])
def test_a_sandbox_that_is_over_is_told_with_what_to_do(state: str) -> None:
    with registered("past", state) as entry, pytest.raises(gavotte.StateError, match=state) as caught:
        connect(entry)
    assert "gavotte rm past" in caught.value.hint


def test_who_waits_for_another_to_bring_a_keeper_does_so_no_longer_than_it_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_TURN", 0.01)
    other = FileLock(tmp_path / "revive.lock")
    assert Context().run(other.take)  # as another thread of this process takes it
    with pytest.raises(HostError, match="^this process is starting a keeper"), client._turn(tmp_path):
        raise AssertionError("two have the turn")
    other.release()
    with client._turn(tmp_path):
        pass
