"""The register of detached sandboxes: a file in the directory of each. Reading it needs nothing but the files."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from gavotte.errors import HostError, InUse, NoSuchSandbox, StateTooNew
from gavotte.qemu.pids import ProcessId, boot_id, process_state
from gavotte.sandbox.store import REGISTER, RunDirectory, run_root, sweep
from gavotte.sandbox.strays import strays_below
from gavotte.sandbox.words import GRACE, check_name

__all__ = ["ENDED", "GRACE", "Entry", "find_entry", "list_entries"]

COMMAND_LOG = "command.log"
KEEPER_LOG = "keeper.log"
SOCKET = "keeper.sock"
_VERSION = 1
_GONE = 5.0  # seconds that a process which is about to end may take

STARTING, RUNNING, PAUSED = "starting", "running", "paused"
STOPPED, EXITED, DEAD = ENDED = ("stopped", "exited", "dead")


class Entry:
    """A detached sandbox in the register.

    `state` is what its keeper last wrote; `observed` what is true now, for its keeper or its machine may have died.
    `argv` is its command (empty without one), `status` how that ended, `why` what else ended the sandbox. `stop_signal`
    is what the command is to be asked to end with.
    """

    def __init__(self, path: Path, value: dict[str, Any]) -> None:
        self.path = path
        self.name = path.name
        self.created: float = value["created"]
        self.argv: list[str] = value["argv"]
        self.spec: dict[str, Any] = value["spec"]
        self.remove: bool = value["remove"]
        self.state: str = value["state"]
        self.status: int | None = value["status"]
        self.why: str = value["why"]
        self.ended: float | None = value["ended"]
        self.boot: str = value["boot"]
        self.keeper = _process(value["keeper"])
        self.qemu = _process(value["qemu"])
        self.channel: int | None = value["channel"]
        self.stop_signal: int = value.get("stop_signal", signal.SIGTERM)  # not in all of version 1

    @classmethod
    def new(
        cls,
        path: Path,
        argv: list[str],
        spec: dict[str, Any],
        *,
        remove: bool = False,
        stop_signal: int = signal.SIGTERM,
    ) -> Self:
        """The entry of a sandbox that this process starts."""
        value = {"argv": argv, "spec": spec, "remove": remove, "created": time.time(), "boot": boot_id()}
        value |= {"stop_signal": int(stop_signal)}
        value |= {"state": STARTING, "status": None, "why": "", "ended": None, "qemu": None, "channel": None}
        return cls(path, {**value, "keeper": ProcessId.of(os.getpid())})

    @classmethod
    def read(cls, path: Path) -> Self:
        """The entry in a sandbox's directory. Raises NoSuchSandbox, StateTooNew, HostError for a damaged one."""
        file = path / REGISTER
        try:
            value = json.loads(file.read_bytes())
            if value["version"] > _VERSION:
                raise StateTooNew(str(file), value["version"], _VERSION)
            return cls(path, value)
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchSandbox(path.name) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HostError(f"{file} is damaged: {error!r}", hint=f"gavotte rm --force {path.name}") from error

    def write(self) -> None:
        """Put it into the directory, in one step; where the disk is full, over the one before. Raises HostError."""
        value = {name: item for name, item in vars(self).items() if name not in ("path", "name")}
        text = json.dumps({"version": _VERSION, **value}) + "\n"
        draft, file = self.path / f"{REGISTER}.new", self.path / REGISTER
        try:
            try:
                draft.write_text(text)
                draft.replace(file)
            except OSError:
                draft.unlink(missing_ok=True)
                _overwrite(file, text)
        except OSError as error:
            raise HostError(f"can't write {file}: {error.strerror}", hint="free some space there") from error

    def end(self, state: str, why: str = "") -> None:
        """Write down that it is over."""
        self.state, self.why, self.ended = state, why, time.time()
        self.write()

    @property
    def kept(self) -> bool:
        """Whether its keeper lives."""
        return self._lives(self.keeper)

    @property
    def observed(self) -> tuple[str, str]:
        """Its state now, and a remark on it."""
        if self.state in ENDED or self.kept:
            return self.state, self.why or self._halted()
        if self._lives(self.qemu) and self.state != STARTING:
            return self.state, "its keeper died"
        if self.boot != boot_id():
            return DEAD, "the host was started anew"
        return DEAD, "its machine and its keeper have gone" if self.qemu else "its keeper died while it started"

    @property
    def halted(self) -> int | None:
        """The pid of its keeper, if that was stopped by a signal (proc_pid_stat(5), T): it answers nobody."""
        return self.keeper.pid if self.state not in ENDED and self.keeper and self._stands(self.keeper) else None

    def _halted(self) -> str:
        for process, what in ((self.keeper, "keeper"), (self.qemu, "QEMU")):
            if self.state not in ENDED and process and self._stands(process):
                return f"its {what} was stopped by a signal; kill -CONT {process.pid}"
        return ""

    def _stands(self, process: ProcessId) -> bool:
        return self._lives(process) and process_state(process.pid) == "T"

    @property
    def over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.observed[0] in ENDED

    def kill(self) -> None:
        """End its processes, whatever they do, and wait until they have gone."""
        for process in filter(None, (self.keeper, self.qemu)):
            process.kill()
            wait_for_end(process)

    def _lives(self, process: ProcessId | None) -> bool:
        return process is not None and self.boot == boot_id() and process.lives


def wait_for_end(process: ProcessId) -> None:
    """Wait until it has gone, a few seconds at most."""
    with suppress(ProcessLookupError):
        fd = process.open()
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(_GONE * 1000)
        finally:
            os.close(fd)


def _process(value: Any) -> ProcessId | None:
    return None if value is None else ProcessId(int(value[0]), int(value[1]))


def _overwrite(file: Path, text: str) -> None:
    """In place: the blocks are there already."""
    with file.open("r+") as existing:
        existing.write(text)
        existing.truncate()


def find_entry(name: str) -> Entry:
    """The sandbox of that name. Raises UsageError for what is no name, NoSuchSandbox with names that are close."""
    try:
        return Entry.read(run_root() / check_name(name))
    except NoSuchSandbox as error:
        import difflib

        if close := difflib.get_close_matches(name, [entry.name for entry in list_entries()]):
            error.hint = f"did you mean {' or '.join(close)}? {error.hint}"
        raise


def list_entries() -> list[Entry]:
    """All of this user's, the newest first. What is damaged is left out, what just goes away is too."""
    entries = []
    for file in run_root().glob(f"*/{REGISTER}"):
        try:
            entries.append(Entry.read(file.parent))
        except (NoSuchSandbox, HostError):
            continue
    return sorted(entries, key=lambda entry: entry.created, reverse=True)


def claim(path: Path) -> RunDirectory:
    """A directory of that name, made by this call: of two that want the name, one gets it. Raises InUse, HostError.

    A machine that still has the name, though its directory was deleted, is ended before, or has it still.
    """
    sweep()
    left = [stray.process.pid for stray in strays_below(path.parent) if stray.owned and stray.directory == path]
    if left:
        raise InUse(
            f"a machine of the name {path.name!r} is being ended (QEMU is process {left[0]})",
            hint=f"wait a moment, or choose another name; kill {left[0]} ends it at once",
        )
    try:
        return RunDirectory(path.name)
    except HostError as error:
        if isinstance(error.__cause__, FileExistsError):
            raise _taken(path) from None
        raise


def _taken(path: Path) -> InUse:
    name = path.name
    try:
        state = Entry.read(path).observed[0]
    except (NoSuchSandbox, HostError):
        return InUse(f"the name {name!r} is taken", hint="choose another")
    way = f"gavotte rm {name}" if state in ENDED else f"gavotte exec {name} -- CMD"
    return InUse(f"there is a sandbox {name!r} already, {state}", hint=f"choose another name, or: {way}")


def remove(entry: Entry) -> None:
    """Take it out of the register, with its log. Raises HostError."""
    try:
        shutil.rmtree(entry.path)
    except FileNotFoundError:
        pass  # somebody else did it
    except OSError as error:
        raise HostError(f"can't remove {entry.path}: {error.strerror}") from error
