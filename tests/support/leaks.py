"""What a test leaves behind: children, file descriptors, entries of the run directory.

A test is compared with the state at its own start, so what a session or module fixture holds is no
leftover. What appears inside a test and is meant to stay is made inside `with exempt():`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Leftovers", "State", "exempt", "held_to_its_start"]

Child = tuple[int, str]  # pid and start time, since pids are used again
OpenFd = tuple[int, str]  # number and target, since numbers are


@dataclass(frozen=True)
class State:
    """What this process holds at one moment, each thing with the words that describe it."""

    children: dict[Child, str]
    fds: dict[OpenFd, str]
    run_entries: dict[str, str]

    @classmethod
    def now(cls) -> Self:
        return cls(_children(), _open_fds(), _run_entries())


@dataclass(frozen=True)
class Leftovers:
    """What came to be between two states and was not exempted."""

    children: dict[Child, str]
    fds: dict[OpenFd, str]
    run_entries: dict[str, str]

    @classmethod
    def between(cls, before: State, after: State) -> Self:
        return cls(
            {key: words for key, words in after.children.items() if key not in before.children | _kept.children},
            {key: words for key, words in after.fds.items() if key not in before.fds | _kept.fds},
            {
                key: words
                for key, words in after.run_entries.items()
                if key not in before.run_entries | _kept.run_entries
            },
        )

    @property
    def lines(self) -> list[str]:
        return [*self.children.values(), *self.fds.values(), *self.run_entries.values()]

    def end_children(self) -> None:
        """Kills and reaps the children among them, so that they don't outlive the run that failed."""
        for pid, _ in self.children:
            os.kill(pid, signal.SIGKILL)  # ours and not reaped, so the pid is still its own
            os.waitpid(pid, 0)


_kept = State({}, {}, {})


@contextmanager
def exempt() -> Iterator[None]:
    """What appears inside the block may outlive the test that runs it."""
    before = State.now()
    yield
    new = Leftovers.between(before, State.now())
    _kept.children.update(new.children)
    _kept.fds.update(new.fds)
    _kept.run_entries.update(new.run_entries)


@contextmanager
def held_to_its_start(fail: Callable[[str], object]) -> Iterator[None]:
    """Calls `fail` with the list of what the block left behind, if it left anything."""
    before = State.now()
    yield
    gc.collect()  # what nobody refers to any more is not held
    left = Leftovers.between(before, State.now())
    left.end_children()
    if left.lines:
        fail("\n".join(["left behind:", *left.lines]))


def _children() -> dict[Child, str]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # there is none, which is so for most tests, and cheap to know
        return {}
    me = str(os.getpid())
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  # names that are numbers, not paths
        try:
            stat = _read(f"/proc/{name}/stat")
            # proc(5): pid (comm) state ppid …, start time is field 22; comm may hold spaces and brackets
            comm, _, rest = stat.partition("(")[2].rpartition(")")
            fields = rest.split()
            if fields[1] == me:
                command = _read(f"/proc/{name}/cmdline").replace("\0", " ").strip()
                found[int(name), fields[19]] = f"child {name} ({comm}, state {fields[0]}) {command}".strip()
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
    return found


def _read(path: str) -> str:
    """The text of a file in /proc; of what isn't UTF-8, as much as can be shown."""
    return Path(path).read_bytes().decode(errors="replace")


def _open_fds() -> dict[OpenFd, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  # one call, so that just one fd is its own
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115  # targets such as pipe:[1] are no paths
        except FileNotFoundError:  # the listing's own
            continue
        if not target.startswith("/memfd:template-"):  # which a process that makes copies holds until it ends
            found[int(number), target] = f"fd {number}: {target}"
    return found


def _run_entries() -> dict[str, str]:
    folder = os.environ.get("GAVOTTE_RUN_DIR")
    if not folder or not Path(folder).is_dir():
        return {}
    return {entry.name: f"run directory entry {entry}" for entry in Path(folder).iterdir()}
