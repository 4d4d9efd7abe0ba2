"""`gavotte template`: what its user sees, without a guest; then one story with real ones."""

from __future__ import annotations

import fcntl
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gavotte.faces import cli, run
from gavotte.faces.notes import take_notes
from gavotte.guest.image import Image
from gavotte.places import cache_directory
from gavotte.sandbox.keeper.server import _notes_to
from gavotte.sandbox.template.layout import Layout
from gavotte.sandbox.template.store import templates_directory
from tests.support.blank_templates import MIB, TEMPLATE, drafts, made
from tests.support.command_line import Ended, gavotte
from tests.support.orphans import no_orphans

GIB = 1 << 30
ROOM = Layout(memory=512 * MIB, max_memory=16 * GIB, cpus=4, slots=8, disk=2, nic=1, share=2)
NOTE = b"gavotte: note: building a template"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory with nothing in it, ours and the program's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def cache(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory with everything that there is, but no templates."""
    (tmp_path / "gavotte").mkdir()
    for path in cache_directory().iterdir():
        if path.name != "templates":
            (tmp_path / "gavotte" / path.name).symlink_to(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def ok(*words: str) -> str:
    ended = gavotte(*words)
    assert (ended.returncode, ended.stderr) == (0, b""), ended
    return ended.stdout.decode()


def refusal(ended: Ended) -> str:
    """The one message, which comes with one line on what to do next."""
    first, second = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout, second[:8]) == (2, b"", "  next: "), ended
    return f"{first}\n{second}"


# list


def test_nothing_is_listed_as_nothing(empty: Path) -> None:
    assert ok("template", "list") == ""
    assert json.loads(ok("template", "list", "--json")) == []
    assert list(empty.iterdir()) == []


def test_each_is_a_line_with_what_it_has_room_for_and_why_nothing_can_use_it(empty: Path) -> None:
    made("aa11aa11aa11aa11", replace(TEMPLATE, qemu="/no/such/qemu"), age=3 * 86400)
    made("bb22bb22bb22bb22", replace(TEMPLATE, layout=ROOM, image="0011"), age=300)
    (made("cc33cc33cc33cc33").path / "template.json").unlink()
    header, last_used, other, damaged = ok("template", "list").splitlines()
    columns = ["KEY", "SIZE", "AGE", "USED", "MACHINE", "ACCEL", "MEMORY", "CPUS", "DEVICES", "IMAGE", "QEMU"]
    assert header.split() == columns
    words = re.split(r"  +", last_used)
    assert words[:1] + words[2:10] == [
        *("bb22bb22bb22bb22", "5m", "5m", "x86_64 q35", "tcg", "512M-16G", "1-4"),
        *("8 slots, 2 disks, 1 nic, 2 shares", "0011"),
    ]
    assert re.split(r"  +", other)[2:4] == ["3d", "3d"]
    assert re.split(r"  +", other)[-3:] == ["00112233", "/no/such/qemu", "stale: its QEMU is gone"]
    assert damaged == "cc33cc33cc33cc33  stale: it has no template.json"


def test_for_programs_all_is_there_but_the_secret(empty: Path) -> None:
    made("aa11", replace(TEMPLATE, layout=ROOM))
    (made("bb22").path / "template.json").unlink()
    row, damaged = json.loads(ok("template", "list", "--json"))
    assert (row["key"], row["memory"], row["max_memory"], row["cpus"]) == ("aa11", 512 * MIB, 16 * GIB, 4)
    assert (row["slots"], row["places"]) == (8, {"disk": 2, "nic": 1, "share": 2})
    assert row["stale"] == "its QEMU was replaced"
    assert TEMPLATE.token not in json.dumps(row)
    assert damaged == {"key": "bb22", "stale": "it has no template.json"}


# rm


def test_one_is_removed_by_the_beginning_of_its_key(empty: Path) -> None:
    for key in ("aa11", "aa22", "bb33"):
        made(key)
    assert "2 templates have a key beginning with 'aa'" in refusal(gavotte("template", "rm", "aa"))
    assert "`gavotte template list` shows" in refusal(gavotte("template", "rm", "cc"))
    assert ok("template", "rm", "aa1", "bb") == "aa11\nbb33\n"
    assert [row["key"] for row in json.loads(ok("template", "list", "--json"))] == ["aa22"]


def test_all_are_removed_with_what_is_left_of_dead_builders_and_nothing_of_live_ones(empty: Path) -> None:
    made("aa11")
    for name in (".tmp-bb22-0102", ".tmp-cc33-0304"):
        (templates_directory() / name).mkdir()
    with (templates_directory() / ".lock-cc33").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ok("template", "rm", "--all") == "aa11\n"
        assert [path.name for path in drafts()] == [".tmp-cc33-0304"]
    assert ok("template", "rm", "--all") == ""
    assert drafts() == []


@pytest.mark.parametrize("words", [[], ["aa", "--all"]])
def test_it_has_to_be_said_which_ones(words: list[str], empty: Path) -> None:
    assert "gavotte template rm KEY… | --all" in refusal(gavotte("template", "rm", *words))


# build, refused


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--memory", "much"], "--memory: 'much'"),
        (["--cpus", "0"], "--cpus"),
        (["--slots", "1000"], "--slots"),
        (["--max-memory", "1M"], "--max-memory"),
        (["--kernel", "x"], "has no option --kernel"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(words: list[str], what: str, empty: Path) -> None:
    assert what in refusal(gavotte("template", "build", *words))
    assert list(empty.iterdir()) == []


def test_a_machine_that_cannot_be_copied_has_no_template(cache: Path) -> None:
    ended = gavotte("template", "build", "--accel", "tcg", "--machine", "microvm")
    assert ended.returncode == 125
    assert b"there is no template for such a sandbox: copies of a machine microvm" in ended.stderr
    assert b"\n  next: " in ended.stderr


# notes


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """The log, as it is again afterwards."""
    log = logging.getLogger("gavotte")
    before = list(log.handlers), log.propagate, log.level
    yield log
    log.handlers[:], log.propagate, level = before
    log.setLevel(level)


def test_a_warning_is_a_note_of_the_command_lines_unless_it_is_to_be_quiet(
    log: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    take_notes()
    log.warning("building %s\x1b[2J", "something")
    log.info("half of it")
    assert capfd.readouterr() == ("", "gavotte: note: building something\N{REPLACEMENT CHARACTER}[2J\n")
    take_notes(quiet=True)
    log.warning("building something")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("options", "heard"), [([], "gavotte: note: building something\n"), (["--quiet"], "")])
def test_run_tells_its_notes_unless_it_is_to_be_quiet(
    options: list[str],
    heard: str,
    log: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def build_something(*_: object) -> int:
        log.warning("building something")
        return 0

    monkeypatch.setattr(run, "run", build_something)
    assert cli._dispatch(["run", *options, "--", "true"]) == 0
    assert capfd.readouterr() == ("", heard)


def test_a_keeper_passes_its_notes_on_while_somebody_listens(log: logging.Logger) -> None:
    class Connection:
        def __init__(self) -> None:
            self.told: list[dict[str, str]] = []
            self.post: Callable[..., None] = lambda **fields: self.told.append(fields)

    connection = Connection()
    with _notes_to(connection):  # type: ignore[arg-type]  # all that it needs
        log.warning("building %s", "something")
    assert connection.told == [{"note": "building something"}]
    assert log.handlers == [each for each in log.handlers if each.level != logging.WARNING]


# with real guests


@pytest.mark.vm
def test_a_template_is_built_once_and_sandboxes_are_copies_of_it_unless_they_boot(cache: Path) -> None:
    with no_orphans():
        built = gavotte("template", "build", "--accel", "tcg", "--memory", "256M")
    assert built.returncode == 0, built
    assert built.stderr.startswith(NOTE)
    key = built.stdout.decode().strip()

    again = gavotte("template", "build", "--accel", "tcg", "--memory", "384M", "--cpus", "2")
    assert (again.stdout.decode().strip(), again.stderr) == (key, b"gavotte: note: it is there already\n")
    (row,) = json.loads(ok("template", "list", "--json"))
    assert (row["key"], row["stale"], row["memory"], row["accel"]) == (key, "", 256 * MIB, "tcg")

    options = ("--accel", "tcg", "--memory", "256M", "--verbose")
    with no_orphans():
        copy = gavotte("run", *options, "--", "echo", "copied")
    assert (copy.returncode, copy.stdout) == (0, b"copied\n"), copy
    assert f"gavotte: a copy of the template {key}\n".encode() in copy.stderr
    assert NOTE not in copy.stderr

    with no_orphans():
        cold = gavotte("run", *options, "--cold", "--", "echo", "booted")
    assert (cold.returncode, cold.stdout) == (0, b"booted\n"), cold
    assert b"gavotte: booted: as asked for\n" in cold.stderr
    assert ok("template", "rm", key[:6]) == f"{key}\n"
