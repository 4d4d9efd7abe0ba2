"""One directory for each live sandbox, so that whatever a dead manager left is found and swept."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

from gavotte.errors import HostError

__all__ = ["RunDirectory", "run_root", "sweep"]

_OWNER = "owner.json"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def run_root() -> Path:
    """Where sandboxes of this user have their directories: GAVOTTE_RUN_DIR, XDG_RUNTIME_DIR, else below /tmp.

    Made if it isn't there. Raises HostError when it belongs to somebody else: what lies there would be trusted.
    """
    chosen = os.environ.get("GAVOTTE_RUN_DIR")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    root = Path(chosen or (f"{runtime}/gavotte" if runtime else f"/tmp/gavotte-{os.getuid()}"))
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        stat = root.lstat()
    except OSError as error:
        raise HostError(
            f"can't make the run directory {root}: {error.strerror}", hint="point GAVOTTE_RUN_DIR to one that you own"
        ) from error
    if stat.st_uid != os.getuid() or root.is_symlink() or stat.st_mode & 0o022:
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

    def __init__(self, name: str) -> None:
        self.path = run_root() / name
        self._maker = os.getpid()
        self._fd = -1
        try:
            self.path.mkdir(mode=0o700)
            self._fd = os.open(self.path, _DIRECTORY)
            with contextlib.suppress(OSError):  # a file system without locks: the record has to do
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record = {"pid": os.getpid(), "started": _start_time(os.getpid())}
            draft = self.path / f"{_OWNER}.new"
            draft.write_text(json.dumps(record))
            draft.rename(self.path / _OWNER)
        except OSError as error:
            self.close()
            raise HostError(f"can't write {self.path}: {error.strerror}", hint="is the disk full?") from error

    def close(self) -> None:
        """Remove it. Does nothing in a forked child, nor for a directory that couldn't be made."""
        if os.getpid() == self._maker and self._fd >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def sweep() -> list[str]:
    """End and remove what dead managers left; gives the names. Two sweeps at once do each thing once."""
    swept: list[str] = []
    root = run_root()
    if not any(root.iterdir()):
        return swept
    fd = os.open(root, _DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for directory in sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()):
            if not _owner_lives(directory):
                for pid in _processes_named(directory.name):
                    _kill(pid)
                shutil.rmtree(directory, ignore_errors=True)
                swept.append(directory.name)
    except BlockingIOError:
        pass  # another process is at it
    finally:
        os.close(fd)
    return swept


def _owner_lives(directory: Path) -> bool:
    """What the record says; the lock is asked only without one, for a forked child keeps it when its maker is dead."""
    try:
        record = json.loads((directory / _OWNER).read_text())
        return bool(-1 != _start_time(int(record["pid"])) == record["started"])
    except FileNotFoundError:
        # it is being made this moment, or its maker died in that moment: old ones are nobody's.
        # With anything else in it, it is no directory of ours: GAVOTTE_RUN_DIR may point to somebody's home
        young = not _older_than(directory, 60)
        return young or any(path.name != f"{_OWNER}.new" for path in directory.iterdir()) or _is_locked(directory)
    except (OSError, ValueError, KeyError, TypeError):
        return _is_locked(directory)


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


def _start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (proc_pid_stat(5), field 22); -1 for none.

    With the pid it names a process for good: pids are used again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return -1
    fields = stat[stat.rindex(b")") + 2 :].split()
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


def _processes_named(name: str) -> list[int]:
    """Processes of ours whose command line has `-name guest=NAME`, in whatever spelling: their identity."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            mine = entry.stat().st_uid == os.getuid()
        except OSError:
            continue
        named = any(
            word == b"-name" and name.encode() in value.replace(b"=", b",").split(b",")
            for word, value in itertools.pairwise(words)
        )
        if mine and named:
            found.append(int(entry.name))
    return found


def _kill(pid: int) -> None:
    """SIGKILL by pidfd, after a second look: between the two looks the pid may have passed on."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if b"-name" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError:
        pass  # it has ended
    finally:
        os.close(fd)
