"""Machines whose sandbox's directory has gone, so that nothing on disk tells of them: found by what they are.

A QEMU says in its environment which directory it was started for (`gavotte.qemu.spawn.mark_of`). One that may outlive
its manager listens on sockets there, which the kernel lists by path when that is no more, too (proc_net(5), unix).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gavotte.qemu.pids import ProcessId

__all__ = ["Stray", "find_strays", "processes_of", "strays_below"]

_MARK = b"GAVOTTE_DIRECTORY="
_SHORTENED = b"/proc/self/fd/"  # how a socket with too long a path is bound (`gavotte.hypervisor.qemu.devices.sockets`)
_ENDS = b"/vm."


class Stray(NamedTuple):
    """A machine's process, and the directory that it had. `owned`: its manager lives, and has to do with it."""

    process: ProcessId
    directory: Path
    owned: bool


def processes_of(directory: Path) -> list[ProcessId]:
    """Processes of ours that were started for this directory.

    The sandbox's name wouldn't do: another GAVOTTE_RUN_DIR may have one of the same name.
    """
    return [process for process, path in _marked() if path == directory]


def find_strays() -> list[Stray]:
    """All of this user's, wherever their directory was."""
    gone = [(process, path) for process, path in _marked() if not path.exists()]
    marked = {process.pid for process, _ in gone}
    return [Stray(process, path, _is_open(path, marked)) for process, path in gone]


def strays_below(root: Path) -> list[Stray]:
    """Those whose directory was below `root`. Where none listens, which one read tells, no process is looked at."""
    return [stray for stray in find_strays() if stray.directory.parent == root] if _may_have_any(root) else []


def _may_have_any(root: Path) -> bool:
    below = os.fsencode(root) + b"/"
    try:
        table = Path("/proc/net/unix").read_bytes()
    except OSError:
        return False
    if below not in table and _SHORTENED not in table:
        return False
    paths = {line.split(None, 7)[-1] for line in table.splitlines() if _ENDS in line}
    if any(path.startswith(_SHORTENED) for path in paths):
        return True
    return any(path.startswith(below) and not os.path.lexists(os.path.dirname(path)) for path in paths)  # noqa: PTH120


def _marked() -> list[tuple[ProcessId, Path]]:
    """Processes that were started for a directory of a sandbox, with that."""
    found: list[tuple[ProcessId, Path]] = []
    for pid in _pids():
        with suppress(OSError):  # it has ended, or isn't ours to ask
            process = ProcessId.of(pid)
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            marks = [variable.removeprefix(_MARK) for variable in variables if variable.startswith(_MARK)]
            found += [(process, Path(os.fsdecode(mark))) for mark in marks]
    return found


def _pids() -> list[int]:
    """All processes but this one."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]  # noqa: PTH208


def _is_open(directory: Path, marked: set[int]) -> bool:
    """Whether a process, but one of these, has the directory open that is gone: a manager has, for its lock on it."""
    wanted = f"{directory} (deleted)"  # proc_pid_fd(5)
    return any(wanted in _open_files(pid) for pid in (os.getpid(), *_pids()) if pid not in marked)


def _open_files(pid: int) -> set[str]:
    files = set()
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with suppress(OSError):  # closed meanwhile
                files.add(os.readlink(f"/proc/{pid}/fd/{name}"))  # noqa: PTH115
    return files
