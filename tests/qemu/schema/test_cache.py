from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema import Schema, get_schema, load_schema, schema_of
from gavotte.qemu.schema.cache import store_asked
from tests.support.fake_qemu import a_qemu

DEVICES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    return tmp_path / "cache/gavotte/schemas"


@pytest.fixture
def binary(tmp_path: Path) -> QemuBinary:
    return a_qemu(tmp_path, devices=DEVICES)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def works(schema: Schema | None) -> bool:
    return bool(schema and list(schema.devices) == DEVICES and schema.device("a"))


def test_a_schema_is_learnt_once_and_then_read(binary: QemuBinary, cache: Path) -> None:
    assert load_schema(binary) is None
    assert works(schema_of(binary))
    assert files(cache / binary.identity) == {"schema", "binary"}
    before = (cache / binary.identity / "schema").stat()
    assert works(load_schema(binary))
    assert works(schema_of(binary))
    assert works(asyncio.run(get_schema(binary)))
    assert (cache / binary.identity / "schema").stat().st_mtime_ns == before.st_mtime_ns


def test_a_process_that_asks_again_gets_the_same_one_until_the_cache_is_written_to(
    binary: QemuBinary, cache: Path
) -> None:
    schema_of(binary)
    first = asyncio.run(get_schema(binary))
    assert asyncio.run(get_schema(binary)) is first
    store_asked(binary, "pluggable", {"a": True})
    second = asyncio.run(get_schema(binary))
    assert second is not first
    assert second.unsure(["a"]) == []
    (cache / binary.identity / "schema").unlink()
    assert works(asyncio.run(get_schema(binary)))
    assert works(load_schema(binary))


@pytest.mark.parametrize(("umask", "folder_mode", "mode"), [(0o077, 0o700, 0o600), (0, 0o755, 0o644)])
def test_others_may_read_what_is_remembered_if_the_umask_lets_them_and_never_write_it(
    binary: QemuBinary, cache: Path, umask: int, folder_mode: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        schema_of(binary)
        store_asked(binary, "pluggable", {"a": True})
    finally:
        os.umask(before)
    folder = cache / binary.identity
    assert stat.S_IMODE(folder.stat().st_mode) == folder_mode
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {mode}


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"gavotte-schema-", b"gavotte-schema-0", 1),
        lambda data: data[:-5] + b"xxxxx",
        lambda data: b"\0" * len(data),
    ],
)
def test_a_damaged_or_older_schema_is_learnt_again(
    binary: QemuBinary, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    schema_of(binary)
    path = cache / binary.identity / "schema"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert load_schema(binary) is None
    assert works(schema_of(binary))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "null", "\0", '{"a": tr', "\x80"])
def test_damaged_facts_about_plugging_are_as_good_as_none(binary: QemuBinary, cache: Path, text: str) -> None:
    schema_of(binary)
    path = cache / binary.identity / "pluggable.json"
    path.write_text(text, encoding="latin-1")
    schema = load_schema(binary)
    assert works(schema)
    assert schema
    assert schema.unsure(["a"]) == ["a"]
    store_asked(binary, "pluggable", {"b": False})
    loaded = load_schema(binary)
    assert loaded
    assert loaded.unsure(DEVICES) == ["a", "c"]


@pytest.mark.parametrize("blocked", ["", "gavotte", "gavotte/schemas"])
def test_a_cache_that_cannot_be_written_costs_time_only(binary: QemuBinary, tmp_path: Path, blocked: str) -> None:
    path = tmp_path / "cache" / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file is in the way: root may write everywhere else")
    assert works(schema_of(binary))
    store_asked(binary, "pluggable", {"a": True})
    assert load_schema(binary) is None
    learnt = asyncio.run(get_schema(binary))
    assert asyncio.run(get_schema(binary)) is learnt  # by this process, once


def test_without_a_home_there_is_no_cache(binary: QemuBinary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does where there is none
    assert works(schema_of(binary))
    assert load_schema(binary) is None


def test_learners_at_the_same_moment_do_not_harm_each_other(binary: QemuBinary, cache: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from gavotte.qemu.binary import QemuBinary\nfrom gavotte.qemu.schema import schema_of\n"
        "print(*schema_of(QemuBinary.from_path(Path(sys.argv[1]))).devices)"
    )
    command = [sys.executable, "-c", code, os.fspath(binary.path)]
    learners = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [learner.communicate(timeout=60)[0].split() for learner in learners] == [DEVICES] * 4
    assert works(load_schema(binary))
    assert files(cache / binary.identity) == {"schema", "binary"}


def test_schemas_of_binaries_that_changed_or_are_gone_are_dropped(tmp_path: Path, cache: Path) -> None:
    def another(name: str) -> QemuBinary:
        (tmp_path / name).mkdir(exist_ok=True)
        binary = a_qemu(tmp_path / name, devices=DEVICES)
        schema_of(binary)
        return binary

    kept, gone, old = another("kept"), another("gone"), another("changed")
    gone.path.unlink()
    (cache / "no-schema-at-all").mkdir()
    os.utime(old.path, (1, 1))
    new = QemuBinary.from_path(old.path)
    assert new.identity != old.identity
    assert works(schema_of(new))
    assert {path.name for path in cache.iterdir()} == {kept.identity, new.identity}


def test_what_a_killed_writer_left_is_cleared_away(binary: QemuBinary, cache: Path) -> None:
    folder = cache / binary.identity
    folder.mkdir(parents=True)
    (folder / ".tmp-half").write_text("half")
    schema_of(binary)
    assert files(folder) == {"schema", "binary"}


def test_reading_from_the_cache_loads_neither_asyncio_nor_the_learner(binary: QemuBinary) -> None:
    schema_of(binary)
    code = (
        "import sys; from pathlib import Path\n"
        "from gavotte.qemu.binary import QemuBinary\nfrom gavotte.qemu.schema import schema_of\n"
        "schema_of(QemuBinary.from_path(Path(sys.argv[1]))).device('a')\n"
        "print(*sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, os.fspath(binary.path)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert not {"asyncio", "subprocess", "tempfile", "gavotte.qemu.schema.learn"} & set(out.split())
