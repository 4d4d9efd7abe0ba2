"""Machines made of the fragments in docs/govmm.toml, and real QEMUs that run them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gavotte.qemu.binary import find_qemu
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.process import CONFINED, start_process
from gavotte.qemu.props import option_to_argv
from gavotte.qmp.client import QmpClient

__all__ = ["binary_for", "merged", "placed", "running", "vm_files"]

_FILES = "/srv/vm/"


def binary_for(arch: str, qemu: Path | None) -> Path:
    """The binary for rows of this architecture. Skips the test where it isn't installed."""
    if arch == "x86_64":
        return qemu or find_qemu().path
    found = shutil.which(f"qemu-system-{arch}")
    if found is None:
        pytest.skip(f"qemu-system-{arch} isn't installed: make setup-arches")
    return Path(found)


@contextmanager
def vm_files() -> Iterator[Path]:
    """A folder with what the fragments name below /srv/vm."""
    with tempfile.TemporaryDirectory(prefix="gv", dir="/tmp") as name:
        folder = Path(name)
        (folder / "share").mkdir()
        for file, size in {"disk.img": 16 << 20, "flash": 1 << 20, "state": 0}.items():
            with (folder / file).open("wb") as out:
                out.truncate(size)
        (folder / "blob").write_bytes(b"x" * 4096)
        (folder / "vmlinuz").write_bytes(_kernel())
        yield folder


def _kernel() -> bytes:
    """The least that QEMU takes for a Linux kernel (Documentation/arch/x86/boot.rst); nothing runs it."""
    image = bytearray(16384)
    image[0x1F1] = 1  # sectors of set-up code
    image[0x202:0x208] = b"HdrS\x06\x02"  # protocol 2.06, which knows an initrd
    image[0x211] = 1  # loaded high
    image[0x22C:0x230] = (0x37FFFFFF).to_bytes(4, "little")  # the initrd's highest address
    return bytes(image)


def placed(value: Any, folder: Path) -> Any:
    """`value` with the files below /srv/vm where they are in this test."""
    return json.loads(json.dumps(value).replace(_FILES, f"{folder}/"))


def merged(documents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One machine file of several: lists and maps grow, and a word may be said only once."""
    whole: dict[str, Any] = {}
    for document in documents:
        for name, value in document.items():
            match whole.get(name):
                case None:
                    whole[name] = value
                case list(entries):
                    whole[name] = [*entries, *value]
                case dict(entries):
                    whole[name] = {**entries, **value}
                case other:
                    assert other == value, f"{name} is said twice"
    return whole


@asynccontextmanager
async def running(binary: Path, document: Mapping[str, Any], extra: Sequence[str] = ()) -> AsyncIterator[QmpClient]:
    """A QEMU with this machine, confined and stopped, and a monitor to it."""
    ours, theirs = socketpair()
    with ours, FdLedger() as ledger:
        chardev = option_to_argv("chardev", {"backend": "socket", "id": "ours", "fd": ledger.give(theirs, "QMP")})
        monitor = option_to_argv("mon", {"chardev": "ours", "mode": "control"})
        confined = document_to_argv({**CONFINED, "S": True, "display": {"type": "none"}})
        options = document_to_argv({name: value for name, value in document.items() if name not in ("S", "display")})
        async with (
            await start_process([str(binary), *confined, *chardev, *monitor, *options, *extra], ledger) as process,
            await QmpClient.connect(ours, last_words=process.last_words) as client,
        ):
            yield client
