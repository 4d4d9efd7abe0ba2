"""Finding a QEMU binary, and telling one from another."""

from __future__ import annotations

import os
from pathlib import Path

from gavotte.errors import QemuNotFound
from gavotte.qemu.machines import EMULATORS, host_arch
from gavotte.qemu.programs import which
from gavotte.values import dataclass

__all__ = ["QemuBinary", "find_program", "find_qemu"]


@dataclass(frozen=True, slots=True)
class QemuBinary:
    """A QEMU executable. `identity` changes when the file does: a key for what is remembered about it."""

    path: Path
    identity: str

    @classmethod
    def from_path(cls, path: Path) -> QemuBinary:
        """Gives the binary behind `path`, links resolved. Raises OSError when it is not there."""
        import hashlib  # 5 ms, and not everything that imports this module looks for a binary

        real = path.resolve(strict=True)
        stat = real.stat()
        facts = f"{real}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ino}"
        return cls(real, hashlib.blake2b(os.fsencode(facts), digest_size=16).hexdigest())


def find_program(name: str) -> Path | None:
    """Gives the executable that `name` stands for, as a shell would find it on PATH; None if there is none.

    A name with a slash in it is a path, looked at as it is.
    """
    found = which(name)
    return None if found is None else Path(found)


def find_qemu(arch: str | None = None, path: str | None = None) -> QemuBinary:
    """Gives the binary at `path`, else at the variable GAVOTTE_QEMU, else `qemu-system-<arch>` on PATH.

    The variable names the binary for this host's architecture, which `arch` is unless given, or told by the name of
    the program at `path`; it isn't asked for others. Raises QemuNotFound, with the package to install as its hint.
    """
    named = _arch_of(path) if path and not arch else ""
    arch = arch or named or host_arch()
    chosen, source = _choose(arch, path)
    found = find_program(chosen)
    if found is None:
        hint = f"apt-get install {EMULATORS.get(arch, f'qemu-system-{arch}')}"
        if named:
            hint = f"{hint}, or correct {source}"
        elif source:
            hint = f"correct {source}, or leave it out and {hint}"
        raise QemuNotFound(f"no QEMU for {arch}: {_why_not(chosen)}", hint=hint)
    try:
        return QemuBinary.from_path(found)
    except OSError as e:  # it was there a moment ago
        raise QemuNotFound(f"no QEMU for {arch}: {found}: {e.strerror}", hint="try again") from e


def _arch_of(path: str) -> str:
    """The architecture that the name of the program tells; empty where it tells none."""
    name = path.rpartition("/")[2].removeprefix("qemu-system-")
    return name if name in EMULATORS else ""


def _choose(arch: str, path: str | None) -> tuple[str, str]:
    """Gives the name to look for and, where somebody chose it, what they chose it with."""
    if path:
        return path, "the path"
    if arch == host_arch() and (from_env := os.environ.get("GAVOTTE_QEMU")):
        return from_env, "GAVOTTE_QEMU"
    return f"qemu-system-{arch}", ""


def _why_not(name: str) -> str:
    path = Path(name)
    if "/" not in name:
        return f"{name} is not on PATH"
    if path.is_dir():
        return f"{name} is a directory"
    return f"{name} is not executable" if path.exists() else f"{name} does not exist"
