"""One directory for each live sandbox, so that whatever a dead manager left is found and swept."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from gavotte.errors import HostError, InUse, NoSuchSandbox
from gavotte.flock import Flock
from gavotte.places import absolute
from gavotte.qemu.pids import ProcessId, boot_id
from gavotte.sandbox.owner import OWNER, is_ours_alone, write_owner
from gavotte.sandbox.strays import processes_of, strays_below

__all__ = ["REGISTER", "UNFINISHED", "RunDirectory", "run_root", "sweep"]

REGISTER = "register.json"  # a file in the directory of a sandbox that stays in the register when it has ended

UNFINISHED = "unfinished"  # a file in the directory of a sandbox to be kept, until another process could take it over
_STATE = "state.json"
_LOG = re.compile(r"\.log(\.\d+)?$")
_NOBODY = ProcessId(0, -1)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def run_root() -> Path:
    """Where sandboxes of this user have their directories: GAVOTTE_RUN_DIR, XDG_RUNTIME_DIR, else below /tmp.

    Made if it isn't there. Raises HostError when it belongs to somebody else: what lies there would be trusted.
    """
    chosen = os.environ.get("GAVOTTE_RUN_DIR")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(absolute(chosen or (f"{runtime}/gavotte" if runtime else f"/tmp/gavotte-{os.getuid()}")))
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        trusted = is_ours_alone(root)
    except OSError as error:
        raise HostError(
            f"can't make the run directory {root}: {error.strerror}", hint="point GAVOTTE_RUN_DIR to one that you own"
        ) from error
    if not trusted:
        raise HostError(
            f"the run directory {root} belongs to another user, or others can write to it",
            hint="point GAVOTTE_RUN_DIR to one that is yours alone (chmod 700)",
        )
    return root


class RunDirectory:
    """The directory of one sandbox, from its making until `close`. Its owner is this process.

    It is locked for that time: systemd-tmpfiles leaves alone what is locked (tmpfiles.d(5)), and where another cleaner
    took the owner's record, the lock says that it is alive.
    """

    def __init__(self, name: str, *, made: bool = False) -> None:
        """`made`: it is there, with this process as its owner: see `headstart`."""
        self.path = run_root() / name
        self._maker = os.getpid()
        self._lock: Flock | None = None
        try:
            self.path.mkdir(mode=0o700, exist_ok=made)
            self._own()
        except OSError as error:
            self.close()
            raise HostError(f"can't write {self.path}: {error.strerror}", hint="is the disk full?") from error

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Take over the directory of a sandbox that outlived its owner.

        Raises InUse while another process has it, NoSuchSandbox when there is none, HostError.
        """
        owner = _owner(path)
        if owner is not None and owner.lives:
            raise _in_use(path, owner)
        directory = cls.__new__(cls)
        directory.path, directory._maker, directory._lock = path, os.getpid(), None
        try:
            directory._own()
        except BlockingIOError:
            raise _in_use(path, _owner(path)) from None
        except FileNotFoundError:
            raise NoSuchSandbox(path.name) from None
        except OSError as error:
            directory.leave()
            raise HostError(f"can't write {path}: {error.strerror}", hint="is the disk full?") from error
        return directory

    def _own(self) -> None:
        self._lock = Flock(os.open(self.path, _DIRECTORY | os.O_NOFOLLOW))
        write_owner(self.path, ProcessId.of(os.getpid()))

    def leave(self) -> None:
        """Let it stay, with nobody as its owner: the sandbox runs on, and another process may `attach`."""
        if os.getpid() == self._maker and self._lock is not None:
            with contextlib.suppress(OSError):  # whoever has it next writes it anew
                if self._is_there():
                    write_owner(self.path, _NOBODY)
            self._lock.release()
            self._lock = None

    def close(self) -> None:
        """Remove it, but for what the register keeps. Does nothing in a forked child, nor for a directory that
        couldn't be made."""
        if os.getpid() == self._maker and self._lock is not None:
            if self._is_there():
                _remove(self.path)
            self._lock.release()
            self._lock = None

    def _is_there(self) -> bool:
        """Whether the path still leads to it, and not to one that another made when this was deleted."""
        try:
            return self._lock is not None and os.path.samestat(os.fstat(self._lock.fd), os.lstat(self.path))
        except OSError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def sweep() -> list[str]:
    """End and remove what dead managers left; gives the names. Two sweeps at once do each thing once.

    A machine that was started to outlive its manager, and still runs, is left as it is, unless it is UNFINISHED, or its
    directory was deleted.
    """
    root = run_root()
    swept: list[str] = []
    for stray in strays_below(root):
        if not stray.owned:
            stray.process.kill()
            swept.append(stray.directory.name)
    if not any(root.iterdir()):
        return swept
    fd = os.open(root, _DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for directory in sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()):
            if not _owner_lives(directory):
                kept = Kept.read(directory)
                if not kept.runs or (directory / UNFINISHED).exists():
                    _end(directory, kept)
                    swept.append(directory.name)
    except BlockingIOError:
        pass  # another process is at it
    finally:
        os.close(fd)
    return swept


class Kept(NamedTuple):
    """What `state.json` says of a machine that was to outlive its manager; of others, nothing.

    `hypervisor.qemu.record` writes it. These members keep their form in all its versions, since a sweep may find one
    that is newer than it.
    """

    qemu: ProcessId | None = None
    helpers: tuple[ProcessId, ...] = ()

    @classmethod
    def read(cls, directory: Path) -> Self:
        """What there is of it in a directory. After a restart of the host, nothing."""
        try:
            value = json.loads((directory / _STATE).read_bytes())
            if value["boot"] != boot_id():
                return cls()
            qemu = value["qemu"]
            return cls(None if qemu is None else _process(qemu), tuple(map(_process, value["helpers"])))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    @property
    def runs(self) -> bool:
        """Whether its QEMU lives, so that another process may take it over."""
        return self.qemu is not None and self.qemu.lives


def _process(value: dict[str, int]) -> ProcessId:
    return ProcessId(int(value["pid"]), int(value["started"]))


def _end(directory: Path, kept: Kept) -> None:
    """End the processes that belong to a directory, and remove it."""
    for process in processes_of(directory):
        process.kill()
    for helper in kept.helpers:
        helper.kill()
    _remove(directory)


def _remove(directory: Path) -> None:
    """Remove a directory. One with an entry of the register stays, with its logs, until somebody removes the entry."""
    if not (directory / REGISTER).exists():
        shutil.rmtree(directory, ignore_errors=True)
        return
    for path in directory.iterdir():
        if path.name != REGISTER and not _LOG.search(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _owner(directory: Path) -> ProcessId | None:
    """The process that the record names. None where there is none, or none that makes sense."""
    try:
        return _process(json.loads((directory / OWNER).read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _in_use(path: Path, owner: ProcessId | None) -> InUse:
    return InUse(
        f"{path.name} belongs to process {owner.pid if owner else '?'}",
        hint="one process has a sandbox at a time: wait until that one lets it go, or ends",
    )


def _owner_lives(directory: Path) -> bool:
    """What the record says; the lock is asked only without one, since a file system may have none."""
    if (owner := _owner(directory)) is not None:
        return owner.lives
    if (directory / OWNER).exists():
        return _is_locked(directory)
    # it is being made this moment, or its maker died in that moment: old ones are nobody's.
    # With anything else in it, it is no directory of ours: GAVOTTE_RUN_DIR may point to somebody's home
    young = not _older_than(directory, 60)
    return young or any(path.name != f"{OWNER}.new" for path in directory.iterdir()) or _is_locked(directory)


def _is_locked(directory: Path) -> bool:
    try:
        fd = os.open(directory, _DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks
    finally:
        os.close(fd)
    return False


def _older_than(path: Path, seconds: float) -> bool:
    import time

    try:
        return time.time() - path.stat().st_mtime > seconds
    except FileNotFoundError:
        return False
