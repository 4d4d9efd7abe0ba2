"""What a machine is made of, as QEMU's object tree tells it: to compare two command lines by what comes of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Container, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from gavotte.qemu.fds import socketpair
from tests.support.programs import DEADLINE

__all__ = ["qom_tree"]

_ROOTS = ("/machine", "/objects", "/chardevs", "/backend")
_RANDOM = re.compile(r"#net\d+|#block\d+|qemu_mem_lock|/dev/pts/\d+")


class _Monitor:
    """A QMP client that asks a thousand questions at once: a tree has that many."""

    def __init__(self, link: Any) -> None:
        self.file = link.makefile("rwb")

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()

    def ask(self, commands: Sequence[dict[str, Any]]) -> list[Any]:
        """The answers, in order; None for an error."""
        answers: list[Any] = []
        for start in range(0, len(commands), 200):
            part = commands[start : start + 200]
            self.file.write(b"".join(json.dumps(command).encode() + b"\n" for command in part))
            self.file.flush()
            wanted = len(answers) + len(part)
            while len(answers) < wanted:
                line = self.file.readline()
                if not line:
                    raise ConnectionError("QEMU ended")
                message = json.loads(line)
                if "return" in message or "error" in message:
                    answers.append(message.get("return"))
        return answers


def qom_tree(
    qemu: Path, argv: Sequence[str], folder: Path, *, only: Container[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Gives, for each object of the stopped machine, its properties: types, and values where they are scalars.

    With `only`, those of these names, which takes a fraction of the time.

    AssertionError with what QEMU said when it refuses the command line.
    """
    ours, theirs = socketpair()
    with ours, theirs:
        ours.settimeout(DEADLINE)
        monitor = ["-chardev", f"socket,id=tree,fd={theirs.fileno()}", "-mon", "tree,mode=control", "-S"]
        process = subprocess.Popen(
            [os.fspath(qemu), *argv, *monitor],
            pass_fds=[theirs.fileno()],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        theirs.close()
        try:
            with closing(_Monitor(ours)) as monitor_link:
                monitor_link.ask([{"execute": "qmp_capabilities"}])
                return _walk(monitor_link, only)
        except OSError as e:
            process.kill()
            raise AssertionError(f"{e}: {process.communicate(timeout=DEADLINE)[1].decode()}") from e
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.communicate(timeout=DEADLINE)


def _walk(monitor: _Monitor, only: Container[str] | None) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = {}
    level = list(_ROOTS)
    while level:
        listings = monitor.ask([{"execute": "qom-list", "arguments": {"path": path}} for path in level])
        found = [(path, entry) for path, listing in zip(level, listings, strict=True) for entry in listing or ()]
        tree |= {path: {} for path in level}
        asked = [(path, entry["name"]) for path, entry in found if _is_asked(entry, only)]
        values = monitor.ask([_qom_get(path, name) for path, name in asked])
        for (path, name), value in zip(asked, values, strict=True):
            if isinstance(value, bool | int | str):
                tree[path][name] = _RANDOM.sub("?", value) if isinstance(value, str) else value
        children = [(path, entry) for path, entry in found if entry["type"].startswith("child<")]
        for path, entry in children:
            tree[path][entry["name"]] = entry["type"]
        level = [f"{path}/{entry['name']}" for path, entry in children]
    return tree


def _is_asked(entry: dict[str, Any], only: Container[str] | None) -> bool:
    return not entry["type"].startswith("child<") and (only is None or entry["name"] in only)


def _qom_get(path: str, name: str) -> dict[str, Any]:
    return {"execute": "qom-get", "arguments": {"path": path, "property": name}}
