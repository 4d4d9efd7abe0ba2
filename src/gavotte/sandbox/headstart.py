"""A copy of a template begun before there is a way to plan it: as the one that the same words started last time.

To import what plans a machine, checks it and speaks to it takes longer than QEMU takes to start. So a process that is a
command line begins at once what it has written down of its last start, then imports, plans and checks as ever; and only
where that comes to the same command line, the same template and the same words is the copy taken. Else it is ended, and
nobody has seen anything of it. What was written down was checked against that very QEMU binary.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from gavotte.errors import GavotteError
from gavotte.guest.agent import SEED_LENGTH, encode_takeover, pick_resumer
from gavotte.places import absolute, cache_path
from gavotte.qemu.ahead import Ahead
from gavotte.qemu.pids import ProcessId
from gavotte.qemu.spawn import mark_of
from gavotte.sandbox.owner import OWNER, is_ours_alone, write_owner

__all__ = ["Headstart", "Start", "traits"]

_FORMAT = 2
_VARIABLES = ("GAVOTTE_QEMU", "PATH")
_PLACES = ("GAVOTTE_RUN_DIR", "XDG_RUNTIME_DIR")
_MOST = 8  # starts that are remembered; the oldest goes first
_NONSENSE = (OSError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError, GavotteError)


class Start:
    """What a machine was started with, and its agent told, apart from what is each one's own."""

    def __init__(self, **facts: Any) -> None:
        self.name: str = facts["name"]
        self.argv: list[str] = facts["argv"]
        self.numbers: dict[str, int] = facts["numbers"]  # its fds, each by what it is for
        self.files: dict[str, str] = facts["files"]  # those of them that are open files
        self.written: list[str] = facts["written"]  # those of these that QEMU opens for writing
        self.words: dict[str, str] = facts["words"]  # what is written to the others before QEMU is there
        self.agent: str = facts["agent"]  # the one that leads to the agent
        self.token: str = facts["token"]  # the template's
        self.told: dict[str, Any] = facts["told"]
        self.binary: list[int] = facts["binary"]
        self.root: str = facts["root"]  # where the directories of sandboxes are


class Headstart:
    """For one start with these `options`: if a copy was begun, its process is `child`, and its agent answers the
    request `asked`. As a context manager it ends what nobody has taken."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        places = [absolute(place) if (place := os.environ.get(name)) else "" for name in _PLACES]
        self._key = repr((sorted(options.items()), *(os.environ.get(name) for name in _VARIABLES), *places))
        self._start: Start | None = None
        self._directory = ""
        self.name = ""
        self.child: Ahead | None = None
        self.asked = 0
        try:
            self._start = Start(**_remembered()[self._key])
            if self._start.binary == traits(self._start.argv[0]):
                self._begin(self._start)
        except _NONSENSE:
            self.close()
            self._start = None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the copy, if nobody has taken it, and remove its directory."""
        self.drop_child()
        if self._directory:
            for name in (OWNER, f"{OWNER}.new"):
                with contextlib.suppress(OSError):  # it isn't there, as a rule
                    os.unlink(f"{self._directory}/{name}")
            with contextlib.suppress(OSError):  # a sweeper of /tmp may have been there
                os.rmdir(self._directory)
        self.name, self._directory = "", ""

    def claim(self, root: str) -> str:
        """The name of a sandbox, whose directory in `root` is made and the caller's from now on; empty if nothing was
        begun there."""
        if self._directory != f"{root}/{self.name}":
            self.close()
        self._directory = ""
        return self.name

    def child_for(self, facts: Callable[[Mapping[str, int]], Mapping[str, Any]]) -> Ahead | None:
        """The process, if it was begun with the `facts` that belong to the numbers of its fds, but for its name, argv
        and these. Else it ends."""
        begun = self._start
        with contextlib.suppress(*_NONSENSE):
            if begun and all(getattr(begun, name) == wanted for name, wanted in facts(begun.numbers).items()):
                return self.child
        self.drop_child()
        return None

    def uses(self, path: str) -> bool:
        """Whether it was begun with something in the directory `path`."""
        return self._start is not None and any(os.path.dirname(file) == path for file in self._start.files.values())

    def drop_child(self) -> None:
        """End the process, if nobody has taken it."""
        if self.child is not None:
            self.child.close()
        self.child = None

    def remember(self, make: Callable[[], Start]) -> None:
        """Have the next one with the same options begin so. A cache that can't be written costs that one its time."""
        with contextlib.suppress(*_NONSENSE):
            start = make()
            known = {key: value for key, value in _remembered().items() if key != self._key}
            rest = dict(list(known.items())[1 - _MOST :])
            path = _path()
            text = json.dumps({"format": _FORMAT, "starts": {**rest, self._key: vars(start)}})
            draft = f"{path}.{os.urandom(4).hex()}"
            with contextlib.ExitStack() as undo:
                with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
                    undo.callback(os.unlink, draft)
                    file.write(text)
                os.replace(draft, path)
                undo.pop_all()

    def _begin(self, start: Start) -> None:
        name = f"gavotte-{os.urandom(4).hex()}"
        argv = [word.replace(start.name, name) for word in start.argv]
        with contextlib.ExitStack() as undo:
            files = {}
            for path in start.written:
                if not os.access(path, os.W_OK):
                    raise PermissionError(errno.EACCES, f"QEMU can't open {path}")
            for what, path in start.files.items():
                files[what] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, files[what])
            directory = f"{start.root}/{name}"
            if not is_ours_alone(start.root):
                raise PermissionError(errno.EPERM, f"others can write to {start.root}")
            self.name, self._directory = name, directory  # first: a signal may come at any moment
            try:
                os.mkdir(directory, 0o700)
            except FileExistsError:
                self._directory = ""  # it is somebody else's
                raise
            write_owner(directory, ProcessId.of(os.getpid()))
            child = self.child = Ahead(argv, start.numbers, files, mark_of(directory))
        for end, words in start.words.items():
            child.ours[end].send(words.encode())
        self.asked = pick_resumer()
        own = {"hostname": name, "seed": os.urandom(SEED_LENGTH).hex(), "shift": 0}
        request = {"op": "restore", **start.told, **own}
        child.ours[start.agent].send(encode_takeover(bytes.fromhex(start.token), self.asked, request))


def _path() -> str:
    return f"{cache_path()}/starts.json"


def _remembered() -> dict[str, dict[str, Any]]:
    try:
        with open(_path(), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                return {}  # what it says is run
            value = json.load(file)
        return dict(value["starts"]) if value["format"] == _FORMAT else {}
    except _NONSENSE:
        return {}


def traits(path: str) -> list[int]:
    """What tells a binary from another one at the same place."""
    status = os.stat(path)
    return [status.st_ino, status.st_size, status.st_mtime_ns]
