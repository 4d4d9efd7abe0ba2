"""A copy begun as the last one was, without a guest: a program that stands in for QEMU says what it was given."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gavotte.guest import agent
from gavotte.qemu.process import start_process
from gavotte.qemu.spawn import mark_of
from gavotte.sandbox import headstart
from gavotte.sandbox.headstart import Headstart, Start, traits
from gavotte.sandbox.store import RunDirectory, run_root
from tests.support.orphans import children_of
from tests.support.programs import DEADLINE

CONSOLE, MONITOR, AGENT, MEMORY, STATE = range(301, 306)  # far above what a test has open
NUMBERS = {"console": CONSOLE, "monitor": MONITOR, "agent": AGENT, "memory": MEMORY, "state": STATE}
OPTIONS: dict[str, Any] = {"memory": "512M", "accel": "auto", "cpus": 1, "qemu": None}
OLD = "gavotte-00c0ffee"
TOKEN = "f00dfeed" * 4
TOLD: dict[str, Any] = {"token": None, "cpus": 1, "memory": 0, "latent": {}}
WORDS = '{"execute":"qmp_capabilities","id":"1"}\n{"execute":"cont","id":"2"}\n'

# Says what it was started with, and gives back what it is told.
QEMU = f"""#!{sys.executable} -I
import json, os, select, sys
content = os.pread({MEMORY}, 100, 0) + os.pread({STATE}, 100, 0)
os.write({CONSOLE}, json.dumps([sys.argv, dict(os.environ), content.decode()]).encode())
poll = select.poll()
for fd in ({MONITOR}, {AGENT}):
    poll.register(fd, select.POLLIN)
while True:
    for fd, _ in poll.poll():
        data = os.read(fd, 65536)
        if not data:
            raise SystemExit
        os.write(fd, data)
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a run directory of the test's own; gives the former."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GAVOTTE_RUN_DIR", str(tmp_path / "run"))
    for name in ("GAVOTTE_QEMU", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cache" / "gavotte").mkdir(parents=True)
    run_root()
    return tmp_path / "cache" / "gavotte"


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """What was started, and could be again."""
    qemu = tmp_path / "qemu"
    qemu.write_text(QEMU)
    qemu.chmod(0o755)
    for name in ("memory", "state"):
        (tmp_path / name).write_text(f"<{name}>")
    return Start(
        name=OLD,
        argv=[str(qemu), "-name", f"{OLD},debug-threads=on", "-log", f"{run_root()}/{OLD}/{OLD}.log", "-S"],
        numbers=NUMBERS,
        files={name: str(tmp_path / name) for name in ("memory", "state")},
        written=[str(tmp_path / "memory")],
        words={"monitor": WORDS},
        agent="agent",
        token=TOKEN,
        told=TOLD,
        binary=traits(str(qemu)),
        root=str(run_root()),
    )


def remember(start: Start, options: dict[str, Any] = OPTIONS) -> None:
    with Headstart(options) as nothing:
        nothing.remember(lambda: start)


@pytest.fixture
def known(start: Start) -> Start:
    """The same, written down."""
    remember(start)
    return start


def starts(cache: Path) -> dict[str, dict[str, Any]]:
    """What is written down, by what it was started with."""
    return dict(json.loads((cache / "starts.json").read_text())["starts"])


def facts(start: Start) -> dict[str, Any]:
    """All that isn't one start's own."""
    return {name: value for name, value in vars(start).items() if name not in ("name", "argv", "numbers")}


def heard(sock: socket.socket) -> bytes:
    sock.settimeout(DEADLINE)
    return sock.recv(65536)


def expect_nothing(options: dict[str, Any] = OPTIONS) -> None:
    """No copy is begun, of which nobody hears."""
    before = children_of(os.getpid()).keys()
    entries = set(run_root().iterdir())
    with Headstart(options) as begun:
        assert (begun.name, begun.child) == ("", None)
        assert begun.child_for(lambda _: {"token": TOKEN, "told": TOLD}) is None
        assert children_of(os.getpid()).keys() == before
        assert set(run_root().iterdir()) == entries


# what is begun


def test_the_first_time_nothing_is_begun(places: Path) -> None:
    expect_nothing()
    assert not list(places.iterdir())


def test_the_same_command_line_is_begun_under_a_name_of_its_own(known: Start) -> None:
    with Headstart(OPTIONS) as begun:
        assert begun.child is not None
        name = begun.name
        assert name != OLD
        assert (name[:8], len(name), int(name[8:], 16) >= 0) == ("gavotte-", len(OLD), True)
        argv, env, content = json.loads(heard(begun.child.ours["console"]))
    log = f"{run_root()}/{name}/{name}.log"
    assert argv == [known.argv[0], "-name", f"{name},debug-threads=on", "-log", log, "-S"]
    assert env["GAVOTTE_DIRECTORY"] == f"{run_root()}/{name}"
    assert env.keys() == {"GAVOTTE_DIRECTORY", "PATH", "LC_ALL"}
    assert content == "<memory><state>"


def test_the_words_for_qemu_and_for_the_agent_lie_ready(known: Start) -> None:
    seeds = set()
    numbers = set()
    for _ in range(3):
        with Headstart(OPTIONS) as begun:
            assert begun.child is not None
            assert heard(begun.child.ours["monitor"]) == WORDS.encode()
            said = heard(begun.child.ours["agent"])
        assert said[: agent.TOKEN_LENGTH] == bytes.fromhex(TOKEN)
        (frame,) = agent.Decoder().feed(said[agent.TOKEN_LENGTH :])
        assert (frame.kind, frame.channel) == (agent.REQUEST, begun.asked)
        assert begun.asked >= agent.FIRST_RESUMER
        request = json.loads(frame.payload)
        seed = bytes.fromhex(request.pop("seed"))
        assert len(seed) == agent.SEED_LENGTH
        hostname = request.pop("hostname")
        assert request == {"op": "restore", **TOLD, "shift": 0}
        seeds.add(seed)
        numbers.add((hostname, begun.asked))
    assert len(seeds) == len(numbers) == 3, "two are told the same"


def test_the_agent_is_told_the_name_that_the_sandbox_has(known: Start) -> None:
    with Headstart(OPTIONS) as begun:
        assert begun.child is not None
        said = heard(begun.child.ours["agent"])
        assert f'"hostname":"{begun.name}"'.encode() in said


def test_several_are_begun_at_once_each_with_its_own_name(known: Start) -> None:
    with Headstart(OPTIONS) as one, Headstart(OPTIONS) as other:
        assert one.child is not None and other.child is not None
        assert one.name != other.name
        assert {path.name for path in run_root().iterdir()} == {one.name, other.name}


# whose it is


def test_it_is_for_who_would_start_it_with_the_very_same(known: Start) -> None:
    with Headstart(OPTIONS) as begun:
        told: list[object] = []

        def wanted(numbers: Mapping[str, int]) -> dict[str, Any]:
            told.append(numbers)
            return facts(known)

        assert begun.child_for(wanted) is begun.child is not None
        assert told == [NUMBERS]


@pytest.mark.parametrize(
    "other",
    [
        {"token": "00" * 16},
        {"words": {"monitor": WORDS + "{}"}},
        {"files": {}},
        {"binary": [1, 2, 3]},
        {"root": "/elsewhere"},
        {"agent": "console"},
        *({"told": {**TOLD, **each}} for each in ({"cpus": 2}, {"memory": 1}, {"latent": {"disk": 1}}, {"more": 1})),
        {"told": {}},
    ],
    ids=str,
)
def test_one_that_nobody_will_take_ends_at_once(known: Start, other: dict[str, Any]) -> None:
    before = children_of(os.getpid()).keys()
    with Headstart(OPTIONS) as begun:
        assert begun.child_for(lambda _: {**facts(known), **other}) is None
        assert begun.child is None
        assert children_of(os.getpid()).keys() == before
        assert begun.claim(str(run_root())) in {
            path.name for path in run_root().iterdir()
        }  # which the sandbox has all the same


def test_one_that_nobody_takes_ends_with_the_block_and_its_directory_with_it(known: Start) -> None:
    before = children_of(os.getpid()).keys()
    with Headstart(OPTIONS) as begun:
        (directory,) = run_root().iterdir()
        assert directory.name == begun.name
        assert [path.name for path in directory.iterdir()] == ["owner.json"]  # so a sweep knows when it is nobody's
        assert directory.stat().st_mode & 0o7777 == 0o700
        assert len(children_of(os.getpid()).keys() - before) == 1
    assert children_of(os.getpid()).keys() == before
    assert not list(run_root().iterdir())
    assert (begun.name, begun.child) == ("", None)
    begun.close()


@pytest.mark.parametrize("there", [[], ["owner.json.new"], ["owner.json"]], ids=str)
def test_one_that_was_interrupted_in_the_middle_leaves_nothing(
    there: list[str], known: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(directory: str, owner: object) -> None:
        for name in there:
            Path(directory, name).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(headstart, "write_owner", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Headstart(OPTIONS)
    assert not list(run_root().iterdir())


def test_a_directory_that_the_sandbox_has_claimed_goes_with_the_sandbox(known: Start) -> None:
    with Headstart(OPTIONS) as begun:
        directory = RunDirectory(begun.claim(str(run_root())), made=True)
    assert [path.name for path in directory.path.iterdir()] == ["owner.json"]
    directory.close()
    assert not list(run_root().iterdir())


def test_facts_that_cannot_be_had_are_other_facts(known: Start) -> None:
    def none(numbers: Mapping[str, int]) -> dict[str, Any]:
        return {"words": numbers["nobody"]}

    with Headstart(OPTIONS) as begun:
        assert begun.child_for(none) is None
        assert begun.child is None


def test_one_that_was_begun_in_another_root_is_nobodys(known: Start, tmp_path: Path) -> None:
    with Headstart(OPTIONS) as begun:
        assert begun.claim(str(tmp_path)) == ""
        assert begun.child is None
        assert not list(run_root().iterdir())


def test_none_is_begun_where_others_can_write(known: Start) -> None:
    run_root().chmod(0o777)
    with Headstart(OPTIONS) as begun:
        assert begun.child is None
    assert not list(Path(known.root).iterdir())


def test_what_it_was_begun_with_is_known(known: Start, tmp_path: Path) -> None:
    with Headstart(OPTIONS) as begun:
        assert begun.uses(str(tmp_path))
        assert not begun.uses(str(tmp_path / "elsewhere"))


def test_one_that_was_taken_goes_on(known: Start) -> None:
    async def main() -> None:
        with Headstart(OPTIONS) as begun:
            ahead = begun.child_for(lambda _: {"token": TOKEN, "told": TOLD})
            assert ahead is not None
            heard(ahead.ours["agent"])
            socks = [ahead.pair(why)[0] for why in ("console", "monitor", "agent")]
            for why in ("memory", "state"):
                ahead.give(os.open("/dev/null", os.O_RDONLY), why)
            argv = [word.replace(OLD, begun.name) for word in known.argv]
            env = mark_of(run_root() / begun.name)
            process = await start_process(argv, ahead, env=env)
        async with process:
            loop = asyncio.get_running_loop()
            socks[2].setblocking(False)
            await loop.sock_sendall(socks[2], b"are you there?")
            assert await loop.sock_recv(socks[2], 100) == b"are you there?"
        for sock in socks:
            sock.close()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_a_block_that_fails_ends_it_as_well(known: Start) -> None:
    with pytest.raises(ZeroDivisionError), Headstart(OPTIONS):
        _ = 1 // 0
    assert not list(run_root().iterdir())


def test_an_interrupt_while_it_is_begun_leaves_nothing(known: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(headstart, "pick_resumer", interrupted)
    before = children_of(os.getpid()).keys()
    with pytest.raises(KeyboardInterrupt):
        Headstart(OPTIONS)
    assert children_of(os.getpid()).keys() == before
    assert not list(run_root().iterdir())


# when it isn't begun


@pytest.mark.parametrize(
    "changes", [{"memory": "1G"}, {"cpus": "1"}, {"qemu": "/usr/bin/qemu"}, {"more": None}], ids=str
)
def test_nothing_is_begun_for_other_options(known: Start, changes: dict[str, Any]) -> None:
    expect_nothing({**OPTIONS, **changes})


def test_the_order_of_options_does_not_matter(known: Start) -> None:
    with Headstart(dict(reversed(OPTIONS.items()))) as begun:
        assert begun.child is not None


@pytest.mark.parametrize("name", ["GAVOTTE_QEMU", "PATH", "GAVOTTE_RUN_DIR", "XDG_RUNTIME_DIR"])
def test_nothing_is_begun_where_the_environment_could_choose_another_qemu_or_place(
    known: Start, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"{os.environ['PATH']}:/more" if name == "PATH" else str(tmp_path / "other"))
    expect_nothing()


def replace_by_a_younger_one(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace_by_a_copy_of_the_same_time(path: Path) -> None:
    shutil.copy2(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


@pytest.mark.parametrize(
    "change", [replace_by_a_younger_one, replace_by_a_copy_of_the_same_time, Path.unlink], ids=lambda f: f.__name__
)
def test_nothing_is_begun_with_a_binary_that_is_not_the_one_that_it_was(
    known: Start, change: Callable[[Path], None]
) -> None:
    change(Path(known.argv[0]))
    expect_nothing()


@pytest.mark.parametrize("what", ["memory", "state"])
def test_nothing_is_begun_without_the_templates_files(known: Start, what: str) -> None:
    Path(known.files[what]).unlink()
    expect_nothing()


def test_nothing_is_begun_where_there_is_no_run_directory_any_more(known: Start) -> None:
    run_root().rmdir()
    with Headstart(OPTIONS) as begun:
        assert begun.child is None
    assert not Path(known.root).exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": None},
        {"argv": ["/bin/true\0"]},
        {"numbers": {**NUMBERS, "agent": 0}},
        {"numbers": {**NUMBERS, "agent": MONITOR}},
        {"numbers": {**NUMBERS, "agent": -1}},
        {"numbers": {**NUMBERS, "agent": 1 << 30}},
        {"numbers": {**NUMBERS, "agent": "7"}},
        {"numbers": {"memory": MEMORY, "state": STATE}},
        {"numbers": []},
        {"files": {"memory": 5, "state": None}},
        {"written": ["/no/such/memory"]},
        {"written": None},
        {"words": {"nobody": "hello"}},
        {"words": {"monitor": 5}},
        {"words": {"monitor": "\ud800"}},
        {"words": None},
        {"agent": "nobody"},
        {"token": "no hex"},
        {"told": None},
        {"told": []},
        {"name": 5},
        {"argv": []},
        {"numbers": {**NUMBERS, "agent": 1 << 40}},
        {"root": "/no/such/place"},
        {"binary": None},
    ],
    ids=str,
)
def test_what_is_written_down_and_makes_no_sense_is_as_nothing(
    start: Start, changes: dict[str, Any], places: Path
) -> None:
    facts = {**vars(start), **changes}
    remember(Start(**facts))
    assert len(starts(places)) == 1, "it isn't what is read"
    expect_nothing()


def test_what_lacks_a_fact_is_as_nothing(known: Start, places: Path) -> None:
    ((key, facts),) = starts(places).items()
    for missing in facts:
        rest = {name: value for name, value in facts.items() if name != missing}
        (places / "starts.json").write_text(json.dumps({"format": 1, "starts": {key: rest}}))
        expect_nothing()


DAMAGED = {
    "empty": b"",
    "cut off": b'{"format": 1, "starts": {',
    "no text": b"\xff\x00",
    "a list": b"[]",
    "nothing": b"null",
    "of no format": b'{"starts": {}}',
    "of another format": b'{"format": 2, "starts": {}}',
    "starts of no shape": b'{"format": 1, "starts": 5}',
    "starts without keys": b'{"format": 1, "starts": ["a"]}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_as_none_and_is_written_anew(start: Start, content: bytes, places: Path) -> None:
    (places / "starts.json").write_bytes(content)
    expect_nothing()
    assert (places / "starts.json").read_bytes() == content, "to look is not to write"
    remember(start)
    with Headstart(OPTIONS) as begun:
        assert begun.child is not None


def test_a_file_of_another_format_is_as_none_whatever_is_in_it(known: Start, places: Path) -> None:
    value = json.loads((places / "starts.json").read_text())
    (places / "starts.json").write_text(json.dumps({**value, "format": value["format"] + 1}))
    expect_nothing()


# what is remembered


def test_only_the_last_eight_are_remembered(start: Start, places: Path) -> None:
    for number in range(8):
        remember(start, {**OPTIONS, "cpus": number})
    remember(start, {**OPTIONS, "cpus": 0})  # so it isn't the oldest any more
    for number in (8, 9):
        remember(start, {**OPTIONS, "cpus": number})
    assert len(starts(places)) == 8
    for number in range(10):
        with Headstart({**OPTIONS, "cpus": number}) as begun:
            assert (begun.child is not None) is (number not in (1, 2))


def test_the_last_start_with_the_same_options_is_the_one(known: Start, tmp_path: Path) -> None:
    (tmp_path / "newer").write_text("<newer>")
    known.files["state"] = str(tmp_path / "newer")
    remember(known)
    with Headstart(OPTIONS) as begun:
        assert begun.child is not None
        assert json.loads(heard(begun.child.ours["console"]))[2] == "<memory><newer>"


def test_what_is_remembered_is_for_its_user_alone_and_nothing_else_is_left(known: Start, places: Path) -> None:
    """It has the template's token, with which a guest's line is taken over."""
    (path,) = places.iterdir()
    assert (path.name, path.stat().st_mode & 0o7777) == ("starts.json", 0o600)


def no_home(_places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)


def no_directory(places: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    places.rmdir()


def a_file(places: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    places.rmdir()
    places.write_text("")


def a_directory_in_its_place(places: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    (places / "starts.json").mkdir()


@pytest.mark.parametrize(
    "spoil", [no_home, no_directory, a_file, a_directory_in_its_place], ids=lambda function: function.__name__
)
def test_a_cache_that_cannot_be_written_costs_time_only(
    start: Start, spoil: Callable[[Path, pytest.MonkeyPatch], None], places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(places, monkeypatch)
    remember(start)
    expect_nothing()
