"""The templates on this machine.

    $XDG_CACHE_HOME/gavotte/templates/
      KEY/            finished: template.json, memory, state; never changed
      .tmp-KEY-…/     being made by the holder of the lock, or left by one that died
      .lock-KEY       flock(2): held by whoever makes that template

The memory lies in a file on disk, which is mapped from the page cache: it can be evicted, and survives a restart.
Only their owner can write them. To use one takes no more than to read it, which the umask decides about.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Self

from gavotte.errors import HostError, UsageError
from gavotte.flock import FileLock
from gavotte.places import cache_directory
from gavotte.sandbox.template.layout import Layout
from gavotte.values import dataclass

__all__ = [
    "MEMORY",
    "Template",
    "discard",
    "draft",
    "find_template",
    "list_damaged",
    "list_templates",
    "lock",
    "path_of",
    "publish",
    "remove_all",
    "remove_template",
    "templates_directory",
]

_LOG = logging.getLogger("gavotte")

MEMORY = "memory"
_STATE = "state"
_ABOUT = "template.json"
_FORMAT = 2
_DRAFT = ".tmp-"
_LOCK = ".lock-"
_PATIENCE = 600  # seconds for somebody else's build
_DIRECTORY = 0o755  # in which others may read, if the umask lets them
_MOST = 8  # templates that are kept; the last one used least goes first


@dataclass(frozen=True)
class Template:
    """A finished template. `token` is what its copies are spoken to with, once; `macs` are the addresses of its latent
    cards, by where they stand in the state. `stopped` is when it stood still, when its clock was right. `binary` is the
    identity of the file `qemu`, and `host` of the machine that it was made on, where that matters: one that has another
    now can't use it."""

    key: str
    layout: Layout
    accel: str
    arch: str
    machine: str
    qemu: str
    binary: str
    host: str
    image: str
    token: str
    root_size: int
    macs: Mapping[str, int]
    state_crc: int
    created: float
    stopped: float
    format: int = _FORMAT
    path: Path = field(default=Path(), compare=False)

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return max(0.0, time.time() - self.created)

    @property
    def used(self) -> float:
        """When a sandbox last asked for it, in Unix time."""
        try:
            return self.path.stat().st_mtime
        except OSError:  # removed meanwhile
            return self.created

    @property
    def size(self) -> int:
        """Bytes that it takes on the disk; 0 when it was removed meanwhile."""
        try:
            return sum(file.stat().st_blocks * 512 for file in self.path.iterdir())
        except OSError:
            return 0

    @property
    def memory(self) -> Path:
        """The file of its memory."""
        return self.path / MEMORY

    @property
    def state(self) -> Path:
        """The file of its devices' state."""
        return self.path / _STATE

    def open_memory(self) -> int:
        """A descriptor of the memory's file. Raises OSError; and ValueError for one that was cut off."""
        fd = os.open(self.memory, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(fd).st_size
        if size != self.layout.memory:
            os.close(fd)
            raise ValueError(f"its memory has {size} bytes of {self.layout.memory}")
        return fd

    def read_state(self, macs: Mapping[str, str] | None = None) -> bytes:
        """The state, with other addresses of the cards. Raises OSError; and ValueError for a damaged one."""
        state = bytearray(self.state.read_bytes())
        if zlib.crc32(state) != self.state_crc:
            raise ValueError("its state doesn't fit its checksum")
        for id, mac in (macs or {}).items():
            at = self.macs[id]
            state[at : at + 6] = bytes.fromhex(mac.replace(":", ""))
        return bytes(state)

    def touch(self) -> None:
        """It was used now."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises OSError and ValueError for what is none, or of another version."""
        try:
            value = json.loads((path / _ABOUT).read_bytes())
            if value["format"] != _FORMAT:
                raise ValueError(f"it is of format {value['format']}, and this Gavotte reads {_FORMAT}")
            return cls(**{**value, "layout": Layout(**value["layout"]), "path": path})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{_ABOUT} makes no sense: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """All that is known of it, for programs."""
        return {name: value for name, value in asdict(self).items() if name != "path"}


def templates_directory() -> Path:
    """Where they are."""
    return cache_directory() / "templates"


def path_of(key: str) -> Path:
    """Where the template of that key is, or would be."""
    return templates_directory() / key


def find_template(key: str) -> Template | None:
    """The finished template of that key. Raises ValueError when it is damaged."""
    try:
        return Template.load(path_of(key))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(error.strerror) from error


def list_templates() -> list[Template]:
    """All finished ones, the last used first. Damaged ones are left out."""
    found = []
    for path in _paths():
        with contextlib.suppress(OSError, ValueError):
            found.append(Template.load(path))
    return found


def list_damaged() -> dict[str, str]:
    """Those that are of no use to this version of Gavotte, by key, each with the reason."""
    found = {}
    for path in _paths():
        try:
            Template.load(path)
        except FileNotFoundError:
            if path.exists():
                found[path.name] = f"it has no {_ABOUT}"
        except OSError as error:
            found[path.name] = error.strerror or type(error).__name__
        except ValueError as error:
            found[path.name] = str(error)
    return found


def _paths() -> list[Path]:
    """Where the finished ones are, damaged or not, the last used first."""
    found = []
    with contextlib.suppress(OSError):
        for path in templates_directory().iterdir():
            if not path.name.startswith("."):
                with contextlib.suppress(OSError):  # just being removed
                    found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]


def remove_template(key_prefix: str) -> str:
    """Delete the one whose key begins so, finished or damaged; sandboxes that are copies of it run on. Gives the key.

    Raises UsageError when there is no such template, or more than one, and HostError when it can't be deleted.
    """
    found = [path for path in _paths() if path.name.startswith(key_prefix)]
    if len(found) != 1 or not key_prefix:
        what = "no template has" if not found else f"{len(found)} templates have"
        raise UsageError(f"{what} a key beginning with {key_prefix!r}", hint="`gavotte template list` shows the keys")
    return _remove(found[0])


def remove_all() -> list[str]:
    """Delete all, and what builders left that have died. Gives the keys. Raises HostError."""
    keys = [_remove(path) for path in _paths()]
    for path in templates_directory().glob(f"{_DRAFT}*"):
        with _unless_building(path.name.removeprefix(_DRAFT).split("-")[0]) as dead:
            if dead:
                shutil.rmtree(path, ignore_errors=True)
    return keys


def _remove(path: Path) -> str:
    discard(path)
    if path.exists():
        raise HostError(f"can't remove the template {path}", hint="whose is it? see `ls -ld`")
    return path.name


@contextmanager
def _unless_building(key: str) -> Iterator[bool]:
    """Whether nobody makes a template of that key, and then nobody can until the end of the block."""
    try:
        fd = os.open(templates_directory() / f"{_LOCK}{key}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # who makes one has made this first
        yield True
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def discard(path: Path) -> None:
    """Remove a template, in one moment for whoever looks for it."""
    gone = path.with_name(f"{_DRAFT}{path.name}-removed-{os.urandom(4).hex()}")
    with contextlib.suppress(OSError):
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@asynccontextmanager
async def lock(key: str) -> AsyncIterator[None]:
    """Be the only one that makes the template of that key. Raises HostError when another doesn't come to its end."""
    directory = templates_directory()
    build = FileLock(directory / f"{_LOCK}{key}")
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY)
        taken = build.take()
    except OSError as error:
        raise HostError(
            f"the directory {directory} can't be used for templates: {error.strerror}",
            hint="set XDG_CACHE_HOME to a directory that you can write",
        ) from error
    try:
        if not taken:
            await _wait_for(build)
        yield
    finally:
        build.release()


async def _wait_for(build: FileLock) -> None:
    if build.holder != "this process":
        _LOG.warning("waiting for %s, which makes the template for sandboxes like this one", build.holder)
    until = time.monotonic() + _PATIENCE
    while not build.take():
        command = build.waiter(until - time.monotonic())
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
        try:
            if await process.wait():
                raise HostError(
                    f"{build.holder} makes this template, and has had {build.path} for {_PATIENCE // 60} minutes",
                    hint="end it, then try again",
                )
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@contextmanager
def draft(key: str) -> Iterator[Path]:
    """A directory to make a template in, deleted at the end unless `publish` gave it its name. Needs `lock`."""
    directory = templates_directory()
    for old in directory.glob(f"{_DRAFT}{key}-*"):
        shutil.rmtree(old, ignore_errors=True)
    path = directory / f"{_DRAFT}{key}-{os.urandom(4).hex()}"
    path.mkdir(mode=_DIRECTORY)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(path: Path, template: Template, state: bytes, *, writable: bool = False) -> Template:
    """Give the finished draft its name, when all of it is on disk; old ones that are too many go. Needs `lock`.

    `writable`: its owner can open the memory for writing, as some QEMUs do. Raises OSError.
    """
    (path / _STATE).write_bytes(state)
    (path / _ABOUT).write_text(json.dumps(template.to_json(), indent=1))
    for name in (MEMORY, _STATE, _ABOUT):
        file = path / name
        file.chmod(file.stat().st_mode & (0o644 if writable and name == MEMORY else 0o444))
        _sync(file)
    _sync(path)
    final = path.with_name(template.key)
    if final.exists():
        discard(final)
    path.rename(final)
    _sync(final.parent)
    for old in _paths()[_MOST:]:
        discard(old)
    return Template.load(final)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
