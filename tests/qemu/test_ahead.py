"""A child that was begun before anybody asked for it: who gets it, and what becomes of it when nobody does."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import HostError, UsageError
from gavotte.qemu.ahead import Ahead, Unlike
from gavotte.qemu.fds import FdEntry
from gavotte.qemu.process import QemuProcess, start_process
from tests.support.orphans import children_of
from tests.support.programs import DEADLINE, python

TALK, MORE, FILE = 201, 202, 203  # far above what a test has open
NUMBERS = {"talk": TALK, "more": MORE, "file": FILE}
ENV = {"MARK": "mine"}

# Gives back what it is told, and ends with the other end.
ECHO = f"import os\nwhile data := os.read({TALK}, 100): os.write({TALK}, data)\nraise SystemExit(7)"

SHOW = f"""if True:
    import json, os
    links = {{}}
    for n in os.listdir("/proc/self/fd"):
        try: links[n] = os.readlink("/proc/self/fd/" + n)
        except FileNotFoundError: pass
    os.write({TALK}, json.dumps([links, os.environ["MARK"]]).encode())
    os.write({MORE}, os.read({FILE}, 100))
"""


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, DEADLINE))


def is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


def my_children() -> dict[int, str]:
    return children_of(os.getpid())


@contextmanager
def something_at(number: int) -> Iterator[None]:
    """A file of this process's own has that number."""
    spare = os.open("/dev/zero", os.O_RDONLY)
    os.dup2(spare, number, inheritable=False)
    os.close(spare)
    try:
        yield
        assert os.readlink(f"/proc/self/fd/{number}") == "/dev/zero", "it is another file by now"  # noqa: PTH115
    finally:
        os.close(number)


def begun(code: str, path: str = "/dev/full", *, numbers: Mapping[str, int] = NUMBERS) -> Ahead:
    file = os.open(path, os.O_RDONLY)
    try:
        return Ahead(python(code), numbers, {"file": file}, ENV)
    finally:
        os.close(file)


def ask_for_all(ahead: Ahead) -> tuple[socket.socket, socket.socket]:
    """What who starts such a child gives it; our ends of the pairs."""
    talk, number = ahead.pair("talk")
    assert number == TALK
    more, number = ahead.pair("more")
    assert number == MORE
    assert ahead.give(os.open("/dev/null", os.O_RDONLY), "file") == FILE
    return talk, more


async def echoed(sock: socket.socket, words: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, words)
    return await loop.sock_recv(sock, 100)


async def said(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, 4096)


# who asks for the same


def test_the_childs_fds_have_the_given_numbers_and_lead_where_they_should(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("its content")

    async def main() -> None:
        with begun(SHOW, str(tmp_path / "file")) as ahead:
            links, mark = json.loads(await said(ahead.ours["talk"]))
            assert await said(ahead.ours["more"]) == b"its content"
        assert links.pop("1") == links.pop("2")
        assert links.pop(str(TALK)).startswith("socket:")
        assert links.pop(str(MORE)).startswith("socket:")
        assert links == {"0": "/dev/null", str(FILE): str(tmp_path / "file")}
        assert mark == "mine"

    run(main())


def test_none_of_the_numbers_is_open_here_once_it_has_begun() -> None:
    with begun(ECHO):
        assert not any(map(is_open, NUMBERS.values()))


def test_who_asks_for_the_same_gets_the_child_that_runs_already() -> None:
    async def main() -> None:
        before = set(my_children())
        ahead = begun(ECHO)
        (pid,) = set(my_children()) - before
        talk, more = ask_for_all(ahead)
        with talk, more:
            assert not ahead.taken
            process = await start_process(python(ECHO), ahead, env=ENV)
            assert ahead.taken
            assert (process.pid, process.argv) == (pid, tuple(python(ECHO)))
            assert process.given == (FdEntry(TALK, "talk"), FdEntry(MORE, "more"), FdEntry(FILE, "file"))
            assert await echoed(talk, b"still here") == b"still here"
        assert await process.wait() == 7

    run(main())


def test_what_was_said_to_it_before_anybody_asked_is_heard() -> None:
    async def main() -> None:
        ahead = begun(ECHO)
        ahead.ours["talk"].send(b"early words")
        talk, more = ask_for_all(ahead)
        with talk, more:
            async with await start_process(python(ECHO), ahead, env=ENV):
                assert await said(talk) == b"early words"

    run(main())


def test_the_order_in_which_fds_are_asked_for_does_not_matter() -> None:
    async def main() -> None:
        ahead = begun(ECHO)
        ahead.give(os.open("/dev/null", os.O_RDONLY), "file")
        more, _ = ahead.pair("more")
        talk, _ = ahead.pair("talk")
        with talk, more:
            async with await start_process(python(ECHO), ahead, env=ENV) as process:
                assert [entry.why for entry in process.given] == ["file", "more", "talk"]

    run(main())


def test_what_it_wrote_before_it_was_taken_is_among_its_last_words() -> None:
    async def main() -> None:
        ahead = begun("raise SystemExit('no such device')")
        talk, more = ask_for_all(ahead)
        with talk, more:
            process = await start_process(python("raise SystemExit('no such device')"), ahead, env=ENV)
            assert await process.wait() == 1
            assert "last words: no such device" in await process.last_words()

    run(main())


def test_a_program_that_is_not_there_is_seen_as_the_childs_end() -> None:
    argv = ["/no/such/program"]

    async def main() -> None:
        process = await start_process(argv, Ahead(argv, {}, {}, {}))
        assert await process.wait() == 127
        assert "/no/such/program" in process.stderr_tail

    run(main())


def test_what_is_given_is_closed_as_any_ledger_does() -> None:
    with begun(ECHO) as ahead:
        raw = os.open("/dev/null", os.O_RDONLY)
        file = Path("/dev/null").open("rb")  # noqa: SIM115  # the ledger closes it
        ahead.give(raw, "file")
        with pytest.raises(Unlike):
            ahead.give(file, "nothing that it has")
        assert not is_open(raw)
        assert file.closed


# who asks for anything else


async def expect_unlike(argv: list[str], env: Mapping[str, str] | None, ask: Callable[[Ahead], Any]) -> None:
    before = set(my_children())
    ahead = begun(ECHO)
    assert set(my_children()) - before
    for sock in ask(ahead):
        sock.close()
    with pytest.raises(Unlike):
        await start_process(argv, ahead, env=env)
    assert not ahead.taken
    assert set(my_children()) == before, "it lives on, or is a zombie"


def leave_one_out(ahead: Ahead) -> tuple[socket.socket]:
    talk, _ = ahead.pair("talk")
    ahead.give(os.open("/dev/null", os.O_RDONLY), "file")
    return (talk,)


@pytest.mark.parametrize(
    ("argv", "env", "ask"),
    [
        (python(ECHO, "--more"), ENV, ask_for_all),
        (python(ECHO)[:-1], ENV, ask_for_all),
        (python(ECHO), {}, ask_for_all),
        (python(ECHO), None, ask_for_all),
        (python(ECHO), {**ENV, "MORE": "1"}, ask_for_all),
        (python(ECHO), {"MARK": "yours"}, ask_for_all),
        (python(ECHO), ENV, leave_one_out),
        (python(ECHO), ENV, lambda _: ()),
    ],
    ids=["a word more", "a word less", "no env", "none", "more env", "other env", "an fd less", "no fds"],
)
def test_who_asks_for_anything_else_is_told_so_and_the_child_is_ended(
    argv: list[str], env: Mapping[str, str] | None, ask: Callable[[Ahead], Any]
) -> None:
    run(expect_unlike(argv, env, ask))


@pytest.mark.parametrize("why", ["nothing that it has", "file"])
def test_a_pair_that_it_has_not_is_unlike(why: str) -> None:
    with begun(ECHO) as ahead, pytest.raises(Unlike, match=why):
        ahead.pair(why)


def test_a_pair_is_given_once() -> None:
    with begun(ECHO) as ahead:
        ours, _ = ahead.pair("talk")
        with ours, pytest.raises(Unlike):
            ahead.pair("talk")


# its end


def test_a_child_that_nobody_takes_ends_with_its_ledger() -> None:
    before = set(my_children())
    with begun("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()") as ahead:
        ends = list(ahead.ours.values())
        assert len(set(my_children()) - before) == 1
    assert set(my_children()) == before
    assert [end.fileno() for end in ends] == [-1, -1]
    ahead.close()


def test_one_that_was_closed_is_taken_by_nobody() -> None:
    async def main() -> None:
        ahead = begun(ECHO)
        ahead.close()
        with pytest.raises(Unlike):
            await start_process(python(ECHO), ahead, env=ENV)

    run(main())


def test_a_child_that_was_taken_is_left_alone_by_its_ledger() -> None:
    async def taken(ahead: Ahead) -> tuple[QemuProcess, socket.socket]:
        talk, more = ask_for_all(ahead)
        more.close()
        return await start_process(python(ECHO), ahead, env=ENV), talk

    async def main() -> None:
        with begun(ECHO) as ahead:
            process, talk = await taken(ahead)
        ahead.close()
        async with process:
            with talk:
                assert await echoed(talk, b"alive") == b"alive"

    run(main())


def test_files_that_got_the_childs_numbers_meanwhile_are_not_closed() -> None:
    """They are the child's numbers, and by then anybody's here."""

    async def main() -> None:
        with begun(ECHO) as ahead, something_at(TALK), something_at(FILE):
            talk, more = ask_for_all(ahead)
            with talk, more:
                async with await start_process(python(ECHO), ahead, env=ENV):
                    ahead.close()
        ahead = begun(ECHO)
        with something_at(TALK):
            ahead.close()

    run(main())


# what can't begin


def test_a_number_that_is_in_use_is_refused_and_nothing_is_left() -> None:
    before = set(my_children())
    with something_at(MORE), pytest.raises(FileExistsError, match=f"fd {MORE} is in use"):
        begun(ECHO)
    assert not any(map(is_open, NUMBERS.values()))
    assert set(my_children()) == before


def test_one_number_for_two_fds_is_refused_and_nothing_is_left() -> None:
    with pytest.raises(FileExistsError):
        begun(ECHO, numbers={"talk": TALK, "more": TALK})
    assert not is_open(TALK)


def test_a_host_without_what_ties_the_child_to_us_is_told_so_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(HostError, match="setpriv"):
        begun(ECHO)
    assert not any(map(is_open, NUMBERS.values()))


def test_what_cannot_be_a_command_line_is_refused_and_nothing_is_left() -> None:
    with pytest.raises(UsageError, match="null byte"):
        begun("a\0b")
    assert not any(map(is_open, NUMBERS.values()))
