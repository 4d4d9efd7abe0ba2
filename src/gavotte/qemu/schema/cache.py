"""The schemas that were learnt on this machine.

    $XDG_CACHE_HOME/gavotte/schemas/IDENTITY/
      schema          an archive
      pluggable.json  whether device types can be plugged, as far as somebody asked
      creatable.json  whether a user may make them, likewise
      binary          the path of the binary; when that is gone or has another identity, the directory goes too

Each file appears by one rename. What can't be read is learnt again; what can't be written is held by the process that
learnt it, and costs the next one time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from gavotte.places import cache_directory
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema.archive import Archive
from gavotte.qemu.schema.view import Asked, Schema

__all__ = ["hold_schema", "load_schema", "remembered_schema", "store_asked", "store_schema"]

_ASKED: tuple[Asked, ...] = ("pluggable", "creatable")
_DRAFT = ".tmp-"
_MOST = 4  # schemas that a process holds: each has some MB

_held: dict[Path, tuple[list[tuple[int, int, int]], Schema]] = {}  # by its directory, and by how its files were


def load_schema(binary: QemuBinary) -> Schema | None:
    """Gives the schema from the cache, in milliseconds; None where it isn't there, is damaged or of another format."""
    try:
        folder = _folder(binary)
        return Schema(Archive((folder / "schema").read_bytes()), *(_asked(folder, what) for what in _ASKED))
    except (OSError, ValueError):
        return None


def remembered_schema(binary: QemuBinary) -> Schema | None:
    """As `load_schema`. A process that asks again gets the same one, as long as nobody has written to the cache."""
    with contextlib.suppress(OSError):  # there is no home
        folder = _folder(binary)
        held = _held.get(folder)
        if held and held[0] == _traits(folder):
            return held[1]
    schema = load_schema(binary)
    if schema is not None:
        hold_schema(binary, schema)
    return schema


def hold_schema(binary: QemuBinary, schema: Schema) -> None:
    """Have `remembered_schema` give this one, also where nothing can be written to the cache."""
    with contextlib.suppress(OSError):
        folder = _folder(binary)
        _held.pop(folder, None)
        while len(_held) >= _MOST:
            del _held[next(iter(_held))]
        _held[folder] = _traits(folder), schema


def _traits(folder: Path) -> list[tuple[int, int, int]]:
    """How its files are now, those that aren't there or can't be read included."""
    found = []
    for name in ("schema", *map(_file_of, _ASKED)):
        try:
            stat = (folder / name).stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except OSError:
            found.append((0, 0, 0))
    return found


def store_schema(binary: QemuBinary, data: bytes) -> None:
    """Puts an archive into the cache, and drops those of binaries that are gone."""
    with contextlib.suppress(OSError):
        _folder(binary).mkdir(mode=0o755, parents=True, exist_ok=True)
        _sweep(binary)
        _write(_folder(binary) / "binary", os.fsencode(binary.path))
        _write(_folder(binary) / "schema", data)


def store_asked(binary: QemuBinary, what: Asked, found: Mapping[str, bool | None]) -> None:
    """Adds to what is known. Of two writers at the same moment, one's additions may be lost, and are asked again."""
    with contextlib.suppress(OSError):
        _folder(binary).mkdir(mode=0o755, parents=True, exist_ok=True)
        known = {**_asked(_folder(binary), what), **found}
        _write(_folder(binary) / _file_of(what), json.dumps(known).encode())


def _root() -> Path:
    return cache_directory() / "schemas"


def _folder(binary: QemuBinary) -> Path:
    return _root() / binary.identity


def _file_of(what: Asked) -> str:
    return f"{what}.json"


def _asked(folder: Path, what: Asked) -> dict[str, bool | None]:
    try:
        known = json.loads((folder / _file_of(what)).read_bytes())
    except (OSError, ValueError):
        return {}
    return (
        {name: told for name, told in known.items() if isinstance(told, bool | None)} if isinstance(known, dict) else {}
    )


def _write(path: Path, data: bytes) -> None:
    """Others may read it, if the umask lets them."""
    draft = path.with_name(f"{_DRAFT}{os.urandom(4).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
            file.write(data)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _sweep(binary: QemuBinary) -> None:
    """Drops what belongs to binaries that changed, or to nobody; and our own, with what a killed writer left in it."""
    import shutil

    for folder in _root().iterdir():
        if folder.name != binary.identity and not _is_current(folder):
            shutil.rmtree(folder, ignore_errors=True)
    for draft in _folder(binary).glob(f"{_DRAFT}*"):
        draft.unlink(missing_ok=True)


def _is_current(folder: Path) -> bool:
    try:
        path = Path(os.fsdecode((folder / "binary").read_bytes()))
        return QemuBinary.from_path(path).identity == folder.name
    except (OSError, ValueError):
        return False
