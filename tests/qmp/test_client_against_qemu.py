"""The client against a real QEMU, and against the qemu.qmp library as an oracle."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from qemu.qmp import ExecuteError, QMPClient

from gavotte.errors import OutcomeUnknown, QmpNotSent, QmpRefused
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.wire import Json
from tests.support.qmp_server import run

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="there is no qemu-system-x86_64 in PATH")


class Qemu:
    """A QEMU without a machine, owned, by its process and its monitor's socket."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, stderr: IO[bytes]) -> None:
        self.process = process
        self.sock = sock
        self._stderr = stderr

    async def last_words(self) -> str:
        status = await asyncio.to_thread(self.process.wait, 10)
        self._stderr.seek(0)
        return f"exit status {status}\n{self._stderr.read().decode()}"

    def inodes(self) -> set[int]:
        """What files the process holds open."""
        found = set()
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                found.add(fd.stat().st_ino)
            except FileNotFoundError:
                continue  # closed while we looked
        return found


@contextmanager
def qemu(*options: str) -> Iterator[Qemu]:
    ours, theirs = socket.socketpair()
    with ExitStack() as stack:
        stack.callback(ours.close)
        stderr = stack.enter_context(tempfile.TemporaryFile())
        with theirs:
            fd = theirs.fileno()
            argv = [str(QEMU), "-M", "none", "-nodefaults", "-no-user-config", "-display", "none"]
            argv += ["-chardev", f"socket,id=q,fd={fd}", "-mon", "chardev=q,mode=control", *options]
            process = subprocess.Popen(argv, pass_fds=[fd], stdin=subprocess.DEVNULL, stderr=stderr)
        stack.callback(process.wait, 10)
        stack.callback(process.kill)
        yield Qemu(process, ours, stderr)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[QmpClient, Qemu]]:
    with qemu() as process:
        async with await QmpClient.connect(process.sock, last_words=process.last_words) as client:
            yield client, process


def run_with_qemu(test: Callable[[QmpClient, Qemu], Awaitable[None]]) -> None:
    async def connect() -> None:
        async with connected() as (client, process):
            await test(client, process)

    run(connect)


def test_the_greeting_names_the_version_and_oob_is_on() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        version = await client.execute("query-version", deadline=Deadline.QUICK)
        assert client.greeting.version == version
        assert client.greeting.capabilities == ("oob",)
        assert repr(client) == "<QmpClient open, 0 unanswered, oob>"

    run_with_qemu(test)


def test_the_schema_comes_in_one_long_line() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        schema = await client.execute("query-qmp-schema", deadline=Deadline.QUICK)
        assert isinstance(schema, list)
        assert len(str(schema)) > 150_000
        names = [entity["name"] for entity in schema if isinstance(entity, dict)]
        assert "qmp_capabilities" in names

    run_with_qemu(test)


def test_a_hundred_commands_at_once_get_their_own_answers() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        commands = [client.execute("qom-list", {"path": f"/nowhere{n}"}) for n in range(100)]
        answers = await asyncio.gather(*commands, return_exceptions=True)
        assert [getattr(answer, "desc", answer) for answer in answers] == [
            f"Device '/nowhere{n}' not found" for n in range(100)
        ]

    run_with_qemu(test)


@contextmanager
def files(number: int) -> Iterator[dict[str, int]]:
    """Different files, by a name and their fd."""
    with ExitStack() as stack:
        opened = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(number)]
        yield {f"fd{n}": file.fileno() for n, file in enumerate(opened)}


def test_six_getfds_at_once_bind_each_name_to_its_own_file() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        with files(6) as fds:
            await asyncio.gather(*(client.execute("getfd", {"fdname": name}, fds=[fd]) for name, fd in fds.items()))
            sent = {name: os.fstat(fd).st_ino for name, fd in fds.items()}
        assert set(sent.values()) <= process.inodes()
        for name, inode in sent.items():  # which file a name stood for shows when it goes
            before = process.inodes()
            await client.execute("closefd", {"fdname": name})
            assert before - process.inodes() == {inode}, name

    run_with_qemu(test)


def test_six_add_fds_at_once_put_each_file_into_its_own_set() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        with files(6) as fds:
            answers: list[Any] = await asyncio.gather(
                *(client.execute("add-fd", {"fdset-id": n}, fds=[fd]) for n, fd in enumerate(fds.values()))
            )
            sent = [os.fstat(fd).st_ino for fd in fds.values()]
        held = [Path(f"/proc/{process.process.pid}/fd/{answer['fd']}").stat().st_ino for answer in answers]
        assert held == sent
        sets: Any = await client.execute("query-fdsets")
        assert {entry["fdset-id"]: entry["fds"][0]["fd"] for entry in sets} == {
            answer["fdset-id"]: answer["fd"] for answer in answers
        }

    run_with_qemu(test)


def test_getfd_without_an_fd_is_refused() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        with pytest.raises(QmpRefused, match="refused getfd: No file descriptor supplied"):
            await client.execute("getfd", {"fdname": "a"})

    run_with_qemu(test)


def test_with_the_main_loop_stuck_an_oob_command_is_answered_however_many_others_wait(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    backend: dict[str, Json] = {"type": "file", "data": {"out": str(fifo)}}

    async def test(client: QmpClient, process: Qemu) -> None:
        # Opening a FIFO for writing blocks until somebody reads from it, and QEMU does it in its main loop.
        stuck = asyncio.create_task(client.execute("chardev-add", {"id": "fifo", "backend": backend}))
        behind = [asyncio.create_task(client.execute("query-status")) for _ in range(30)]
        await asyncio.sleep(0)
        assert await client.execute("query-yank", deadline=Deadline.QUICK, oob=True) == [{"type": "chardev", "id": "q"}]
        with pytest.raises(QmpNotSent):
            await client.execute("query-status", deadline=0.05)
        assert not stuck.done()
        assert not any(task.done() for task in behind)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            await stuck
            assert len(await asyncio.gather(*behind)) == 30
        finally:
            os.close(reader)

    run_with_qemu(test)


def test_a_command_that_is_not_for_oob_is_refused_out_of_band() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        with pytest.raises(QmpRefused, match="does not support OOB"):
            await client.execute("query-status", oob=True)

    run_with_qemu(test)


def test_a_line_that_qemu_cannot_parse_is_refused_and_the_connection_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("gavotte.qmp.client.encode", lambda *_, **__: b'{"execute": "x", "id": "1", "id": "2"}\n')
            with pytest.raises(QmpRefused, match="JSON parse error"):
                await client.execute("x")
        assert await client.execute("query-name") == {}

    run_with_qemu(test)


def test_text_of_all_planes_comes_back_in_qemus_answer() -> None:
    text = '/no, such: \\ "path" \t € 𝄞 \x7f'

    async def test(client: QmpClient, process: Qemu) -> None:
        with pytest.raises(QmpRefused) as caught:
            await client.execute("qom-list", {"path": text})
        assert text in caught.value.desc

    run_with_qemu(test)


def test_quit_is_a_success_and_its_event_is_the_last() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        with client.events() as events:
            assert await client.execute("quit", final=True) == {}
            assert [event.name async for event in events] == ["SHUTDOWN"]
        assert process.process.wait(10) == 0
        with pytest.raises(QmpNotSent, match=r"(?s)query-status was not sent: QEMU .*exit status 0"):
            await client.execute("query-status")

    run_with_qemu(test)


def test_a_killed_qemu_leaves_its_commands_unknown_with_its_exit_status(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    backend: dict[str, Json] = {"type": "file", "data": {"out": str(fifo)}}

    async def test(client: QmpClient, process: Qemu) -> None:
        stuck = asyncio.create_task(client.execute("chardev-add", {"id": "fifo", "backend": backend}))
        await asyncio.sleep(0)
        await client.execute("query-yank", oob=True)  # by now QEMU has read both
        process.process.kill()
        with pytest.raises(OutcomeUnknown, match=r"(?s)chardev-add is unknown: QEMU .*exit status -9"):
            await stuck

    run_with_qemu(test)


def test_a_bad_device_is_told_in_qemus_own_words() -> None:
    async def test() -> None:
        # Where it ends depends on who is faster: before the greeting, after it, or in the negotiation.
        with (
            qemu("-device", '{"driver": "nonsense"}') as process,
            pytest.raises((OutcomeUnknown, QmpNotSent), match=r"(?s)exit status 1.*nonsense"),
        ):
            await QmpClient.connect(process.sock, last_words=process.last_words)

    run(test)


def test_qemu_goes_on_without_its_client() -> None:
    async def test(client: QmpClient, process: Qemu) -> None:
        await client.close()
        assert process.process.poll() is None

    run_with_qemu(test)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("query-version", {}),
        ("query-status", {}),
        ("query-qmp-schema", {}),
        ("query-commands", {}),
        ("query-machines", {}),
        ("qom-list-types", {"abstract": True}),
        ("device-list-properties", {"typename": "virtio-blk-pci"}),
        ("query-nonsense", {}),
        ("qom-list", {"path": 5}),
        ("qom-list", {"path": "/nowhere", "more": True}),
        ("device_del", {"id": "nothing"}),
        ("object-add", {"qom-type": "iothread", "id": "not an id"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_answer_is_what_the_reference_library_gives(command: str, arguments: dict[str, Json]) -> None:
    async def ours(sock: socket.socket) -> object:
        async with await QmpClient.connect(sock) as client:
            try:
                return await client.execute(command, arguments)
            except QmpRefused as e:
                return e.error_class, e.desc

    async def theirs(sock: socket.socket) -> object:
        client = QMPClient("oracle")
        await client.connect(sock)
        try:
            return await client.execute(command, arguments)
        except ExecuteError as e:
            return e.error.error.class_, e.error.error.desc
        finally:
            await client.disconnect()

    async def test() -> None:
        with qemu() as one, qemu() as other:
            assert await ours(one.sock) == await theirs(other.sock)

    run(test)
