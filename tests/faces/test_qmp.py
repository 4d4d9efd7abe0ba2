"""`gavotte qmp` as its users start it: one command, a pipe, and a prompt on a terminal, with a real QEMU."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import UsageError
from gavotte.faces.qmp.grammar import Grammar, read_command, split_line
from gavotte.qemu.binary import find_qemu
from tests.support.command_line import Ended, gavotte, read_until, started
from tools import qmp_stubs

SECONDS = 20.0


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at `path`, which may be longer than an address."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"/proc/self/fd/{folder}/{path.name}")
            sock.listen(1)
            yield sock
    finally:
        os.close(folder)


@contextmanager
def qemu_at(*paths: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A QEMU with a monitor at each path; clients may come at once, since the sockets listen before it starts."""
    options = ["-machine", "pc", "-display", "none", "-nodefaults", "-S"]
    with ExitStack() as stack:
        sockets = [stack.enter_context(listening(path)).fileno() for path in paths]
        for fd in sockets:
            options += ["-chardev", f"socket,id=c{fd},fd={fd},server=on,wait=off", "-mon", f"c{fd},mode=control"]
        process = subprocess.Popen([str(find_qemu().path), *options], pass_fds=sockets)
    try:
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("qmp") / "monitor"
    with qemu_at(path):
        yield str(path)


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar(qmp_stubs.ask(find_qemu().path).schema)


def answer(ended: Ended) -> Any:
    assert (ended.returncode, ended.stderr) == (0, b"")
    return json.loads(ended.stdout)


def complaint(ended: Ended) -> str:
    assert ended.returncode
    assert ended.stdout == b""
    return ended.stderr.decode()


# --- one command ---


def test_an_answer_is_printed_as_json(monitor: str) -> None:
    assert answer(gavotte("qmp", monitor, "query-status"))["status"] == "prelaunch"


def test_words_and_json_say_the_same(monitor: str) -> None:
    assert answer(gavotte("qmp", monitor, "object-add", "qom-type=iothread", "id=up7", "poll-max-ns=5")) == {}
    get = {"path": "/objects/up7", "property": "poll-max-ns"}
    assert answer(gavotte("qmp", monitor, "qom-get", json.dumps(get))) == 5
    assert answer(gavotte("qmp", monitor, "qom-get", *(f"{key}={value}" for key, value in get.items()))) == 5
    assert answer(gavotte("qmp", monitor, "object-del", "id=up7")) == {}


def test_a_refusal_is_told_in_qemu_s_words(monitor: str) -> None:
    ended = gavotte("qmp", monitor, "device_del", "id=nobody")
    assert complaint(ended) == "gavotte: QEMU refused device_del: Device 'nobody' not found\n"
    assert ended.returncode == 125


def test_a_command_that_is_misspelt_gets_a_suggestion(monitor: str) -> None:
    assert "next: did you mean 'query-status'?" in complaint(gavotte("qmp", monitor, "query-statuss"))


@pytest.mark.parametrize("words", [["nonsense"], ["id"], ["=x"], ["a=1", "a=2"], ["{"], ["{}", "a=1"]])
def test_arguments_that_are_none_are_a_usage_error(monitor: str, words: list[str]) -> None:
    ended = gavotte("qmp", monitor, "device_del", *words)
    assert complaint(ended)
    assert ended.returncode == 2


# --- which socket ---


def test_a_path_longer_than_an_address_works(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    with qemu_at(folder / ("s" * 60)):
        assert "status" in answer(gavotte("qmp", str(folder / ("s" * 60)), "query-status"))


def test_a_busy_monitor_is_told_after_a_deadline(monitor: str) -> None:
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(monitor)
        first.recv(1)  # greeted
        assert "one client at a time" in complaint(gavotte("qmp", monitor, "query-status"))


def test_a_full_queue_of_waiting_clients_is_told_too(tmp_path: Path) -> None:
    with listening(tmp_path / "s"), socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.connect(str(tmp_path / "s"))
        two.connect(str(tmp_path / "s"))
        assert "is busy" in complaint(gavotte("qmp", str(tmp_path / "s"), "query-status"))


def test_what_is_no_socket_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with listening(tmp_path / "gone"):
        pass
    assert "is not a socket" in complaint(gavotte("qmp", str(tmp_path / "file"), "stop"))
    assert "No such file" in complaint(gavotte("qmp", str(tmp_path / "none"), "stop"))
    assert "Connection refused" in complaint(gavotte("qmp", str(tmp_path / "gone"), "stop"))


def test_a_socket_that_speaks_something_else_is_told(tmp_path: Path) -> None:
    with listening(tmp_path / "s") as sock, started("qmp", str(tmp_path / "s"), "stop") as process:
        client, _ = sock.accept()
        with client:
            client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            said = process.communicate(timeout=SECONDS)[1].decode()
    assert "not JSON" in said
    assert "mode=control" in said


# --- a pipe ---


def test_commands_come_through_a_pipe_one_a_line(monitor: str) -> None:
    lines = '# two ways\n\nquery-name\n{"execute": "query-status"}\nset-action reboot=shutdown\n'
    ended = gavotte("qmp", monitor, input=lines.encode())
    assert ended.returncode == 0
    assert [sorted(json.loads(line)) for line in ended.stdout.splitlines()] == [
        [],
        ["running", "singlestep", "status"],
        [],
    ]


def test_the_first_command_of_a_pipe_that_fails_is_the_last(monitor: str) -> None:
    ended = gavotte("qmp", monitor, input=b"query-name\ndevice_del id=nobody\nquery-name\n")
    assert ended.stdout.count(b"\n") == 1
    assert ended.stderr == b"gavotte: line 2: QEMU refused device_del: Device 'nobody' not found\n"
    assert ended.returncode == 125


def test_bytes_that_are_no_text_are_refused(monitor: str) -> None:
    ended = gavotte("qmp", monitor, input=b"device_del id=\xff\n")
    assert b"line 1: id: QEMU can't be given the character" in ended.stderr


def test_events_of_a_pipe_do_not_mix_with_answers(monitor: str) -> None:
    ended = gavotte("qmp", monitor, input=b"cont\nstop\n")
    assert ended.stdout == b"{}\n{}\n"
    assert [line.split()[1] for line in ended.stderr.splitlines()] == [b"RESUME", b"STOP"]


def test_quit_is_a_success_and_what_follows_it_is_not_sent(tmp_path: Path) -> None:
    with qemu_at(tmp_path / "s") as process:
        ended = gavotte("qmp", str(tmp_path / "s"), input=b"quit\nquery-status\n")
        assert (ended.returncode, ended.stdout) == (0, b"{}\n")
        assert process.wait(SECONDS) == 0


def test_a_qemu_that_goes_mid_way_is_told(tmp_path: Path) -> None:
    with qemu_at(tmp_path / "s") as process, started("qmp", str(tmp_path / "s")) as client:
        assert client.stdin
        client.stdin.write(b"query-name\n")
        client.stdin.flush()
        read_until(client.stdout, b"{}\n", SECONDS)
        process.kill()
        process.wait(SECONDS)
        said = client.communicate(b"query-name\n", timeout=SECONDS)[1]
    assert b"line 2: query-name was not sent" in said
    assert client.returncode == 125


# --- a prompt ---

WAITS = ("23 ", "270 ", "7 ", "271 ")  # select, pselect6, poll and ppoll on x86_64: see syscall in proc(5)


class Typist:
    """A person at a prompt."""

    def __init__(self, monitor: str, state: Path) -> None:
        self._terminal, slave = pty.openpty()
        env = {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "xterm", "INPUTRC": "/dev/null"}
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
        self._slave = slave
        self._unseen = b""
        self._program = started("qmp", monitor, before=["setsid", "--ctty"], env=env, **streams)

    def __enter__(self) -> Typist:
        self.process = self._program.__enter__()
        self.sees("qmp> ")
        return self

    def answers(self, keys: str, wanted: str) -> str:
        """Types, gives what is written until `wanted` is, and waits for the next prompt."""
        self.types(keys)
        seen = self.sees(wanted)
        self.sees("qmp> ")
        return seen

    def __exit__(self, *error: Any) -> None:
        self._program.__exit__(*error)
        os.close(self._terminal)
        os.close(self._slave)

    def types(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def interrupts(self) -> None:
        """Ctrl-C at a prompt, typed again while nothing comes of it.

        Python sees no signal that comes between a key and its waiting for the next one (call_readline in its
        Modules/readline.c), so one that is typed as fast as here may be lost.
        """
        for _ in range(int(SECONDS)):
            self.types("\x03")
            if select.select([self._terminal], [], [], 1.0)[0]:
                break
        self.sees("\r\n")
        self.sees("qmp> ")

    def rests(self) -> None:
        """Returns when the program waits for a key: before that it may miss what else wakes it (see `interrupts`)."""
        until = time.monotonic() + SECONDS
        while not Path(f"/proc/{self.process.pid}/syscall").read_text().startswith(WAITS):
            assert time.monotonic() < until, "it doesn't wait for a key"
            os.sched_yield()

    def sees(self, wanted: str) -> str:
        """What is written until `wanted` is."""
        if wanted.encode() not in self._unseen:
            self._unseen += read_until(self._terminal, wanted.encode(), SECONDS)
        seen, found, self._unseen = self._unseen.partition(wanted.encode())
        return (seen + found).decode()

    def leaves(self) -> int:
        """The exit status after Ctrl-D, which is to be typed at a prompt."""
        self.types("\x04")
        return self.process.wait(SECONDS)


def test_tab_completes_commands_arguments_and_values(monitor: str, tmp_path: Path) -> None:
    with Typist(monitor, tmp_path) as typist:
        assert '"status": "' in typist.answers("query-statu\t\r", "}\r\n")
        assert "set-action reboot=shutdown " in typist.answers("set-act\treb\tshut\t\r", "{}\r\n")
        typist.answers("object-add qom-type=iothr\tpoll-max\t5 id=t\r", "{}\r\n")
        typist.answers("object-del id=t\r", "{}\r\n")
        assert typist.leaves() == 0


def test_history_is_kept_for_the_next_time_and_for_nobody_else(monitor: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Typist(monitor, state) as typist:
        typist.answers("query-name\r", "{}\r\n")
        assert typist.leaves() == 0
    file = state / "gavotte/qmp-history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with Typist(monitor, state) as typist:
        assert "query-name" in typist.answers("\x1b[A\r", "{}\r\n")
        assert typist.leaves() == 0
    assert file.read_text() == "query-name\n"  # readline keeps no line twice in a row


def test_history_is_bounded(monitor: str, tmp_path: Path) -> None:
    file = tmp_path / "gavotte/qmp-history"
    file.parent.mkdir()
    file.write_text("old\n" * 5000)
    with Typist(monitor, tmp_path) as typist:
        typist.answers("query-name\r", "{}\r\n")
        assert typist.leaves() == 0
    lines = file.read_text().splitlines()
    assert (len(lines), lines[-1]) == (1000, "query-name")


def test_ctrl_c_abandons_the_line_and_an_error_the_command_alone(monitor: str, tmp_path: Path) -> None:
    with Typist(monitor, tmp_path) as typist:
        typist.types("device_del id=nob")
        typist.sees("nob")
        typist.interrupts()
        typist.answers("device_del id=nobody\r", "QEMU refused device_del: Device 'nobody' not found\r\n")
        typist.answers("query-statuss\r", "next: did you mean 'query-status'?\r\n")
        typist.answers("query-name\r", "{}\r\n")
        assert typist.leaves() == 0


def test_an_event_is_shown_above_the_line_which_stays_as_it_was(tmp_path: Path) -> None:
    monitor, other = tmp_path / "s", tmp_path / "other"
    with qemu_at(monitor, other), Typist(str(monitor), tmp_path) as typist:
        typist.types("query-nme\x1b[D\x1b[D")
        typist.sees("query-nme\x08\x08")
        assert answer(gavotte("qmp", str(other), "cont")) == {}
        typist.sees("\r\x1b[K# RESUME {}\r\nqmp> query-nme\x08\x08")
        typist.answers("a\r", "{}\r\n")
        typist.answers("stop\r", "# STOP {}\r\n")
        assert typist.leaves() == 0


def test_ctrl_c_gives_a_command_up_that_is_not_answered(tmp_path: Path) -> None:
    schema = [
        {"name": "x", "meta-type": "command", "arg-type": "0", "ret-type": "0"},
        {"name": "0", "meta-type": "object", "members": []},
    ]
    version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}

    def serve(sock: socket.socket) -> socket.socket:
        client, _ = sock.accept()
        with client.makefile("rb") as lines:
            client.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\n")
            answers: tuple[Any, ...] = ({}, schema)
            for answer in answers:
                request = json.loads(lines.readline())
                client.sendall(json.dumps({"return": answer, "id": request["id"]}).encode() + b"\n")
        return client

    with listening(tmp_path / "s") as sock, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, sock)
        with Typist(str(tmp_path / "s"), tmp_path) as typist, served.result(SECONDS) as client:
            typist.types("x\r")
            assert b'"x"' in client.recv(1000)
            typist.answers("\x03", "the outcome of x is unknown: its answer was not waited for\r\n")
            assert typist.leaves() == 0


def test_the_end_of_qemu_ends_the_prompt_at_once(tmp_path: Path) -> None:
    with qemu_at(tmp_path / "s") as process, Typist(str(tmp_path / "s"), tmp_path) as typist:
        typist.types("query-nam")
        typist.sees("query-nam")
        typist.rests()
        process.send_signal(signal.SIGTERM)
        assert "# SHUTDOWN" in typist.sees('"reason": "host-signal"}\r\n')
        typist.sees("QEMU ended the connection")
        assert typist.process.wait(SECONDS) == 125


# --- how a command is typed ---


def test_a_line_is_cut_at_spaces_but_not_within_json() -> None:
    line = ' device_add  driver=x a="b c" d={"e": [1, 2]}\tf={"g": "}"}\n'
    assert split_line(line) == ["device_add", "driver=x", 'a="b c"', 'd={"e": [1, 2]}', 'f={"g": "}"}']


@pytest.mark.parametrize("line", ['x a="b', "x a={1}", 'x a="b"c', "x {", 'x {"a": 1}2'])
def test_json_that_does_not_end_well_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        split_line(line)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("device_del id=5", {"id": "5"}),
        ('device_del id="5"', {"id": "5"}),
        ("balloon value=5", {"value": 5}),
        ("balloon value=5M", {"value": "5M"}),
        ("set_link name=n up=false", {"name": "n", "up": False}),
        ("set_link name=true up=true", {"name": "true", "up": True}),
        ("qom-set path=/x property=p value=5", {"path": "/x", "property": "p", "value": 5}),
        ("qom-set path=/x property=p value=five", {"path": "/x", "property": "p", "value": "five"}),
        ("blockdev-add driver=null-co node-name=7 size=7", {"driver": "null-co", "node-name": "7", "size": 7}),
        ("blockdev-add driver=raw file=7", {"driver": "raw", "file": "7"}),
        ('blockdev-add driver=raw file={"driver":"null-co"}', {"driver": "raw", "file": {"driver": "null-co"}}),
        ("device_add driver=x id=7 y=7 z=q", {"driver": "x", "id": "7", "y": 7, "z": "q"}),
    ],
)
def test_a_value_is_json_where_the_argument_takes_that_kind_of_it(
    grammar: Grammar, words: str, arguments: dict[str, object]
) -> None:
    assert read_command(split_line(words), grammar)[1] == arguments


@pytest.mark.parametrize(
    ("before", "word", "offers"),
    [
        ("", "query-statu", ["query-status "]),
        ("blockdev-add ", "node", ["node-name="]),
        ("blockdev-add driver=null-co ", "lat", ["latency-ns="]),
        ("blockdev-add driver=null-co latency-ns=1 ", "lat", []),
        ("blockdev-add ", "driver=null-", ["driver=null-aio ", "driver=null-co "]),
        ("set_link name=x ", "up=", ["up=true ", "up=false "]),
        ("set_link ", "", ["name=", "up="]),
        ("no-such-command ", "", []),
        ('blockdev-add file={"driver":', "", []),
    ],
)
def test_what_may_come_next_is_offered(grammar: Grammar, before: str, word: str, offers: list[str]) -> None:
    assert grammar.complete(before, word) == offers
