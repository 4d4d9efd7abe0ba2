"""What a user may ask of a sandbox, checked, with the path to the culprit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gavotte.errors import HostError, UsageError
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.qemu.machines import host_arch

__all__ = ["ACCELS", "Spec", "check_argv", "check_env", "make_spec", "parse_size"]

ACCELS = ("auto", "kvm", "tcg")
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_MOST_VCPUS = 240


@dataclass(frozen=True)
class Spec:
    """A checked request. `memory` in bytes; None means Gavotte's own kernel, initramfs or binary."""

    memory: int
    cpus: int
    accel: str
    arch: str
    machine: str
    kernel: Path | None
    initrd: Path | None
    append: str
    qemu: str | None
    boot_timeout: float


def make_spec(
    *,
    memory: str | int = "512M",
    cpus: int = 1,
    accel: str = "auto",
    arch: str | None = None,
    machine: str | None = None,
    kernel: str | os.PathLike[str] | None = None,
    initrd: str | os.PathLike[str] | None = None,
    append: str = "",
    qemu: str | os.PathLike[str] | None = None,
    boot_timeout: float = 120.0,
) -> Spec:
    """A Spec of these values. Raises UsageError for one that makes no sense, HostError for more than this host has.

    `arch` is QEMU's name of an architecture, this host's unless given; `machine` one of its types.
    """
    row = machine_row(arch or host_arch(), machine)
    if accel not in ACCELS:
        raise UsageError(f"{accel!r} is not one of {', '.join(ACCELS)}", path="accel")
    if accel == "kvm" and row.arch != host_arch():
        raise UsageError(
            f"KVM runs guests of this host's own architecture, {host_arch()}, and not {row.arch}",
            path="accel",
            hint="leave it out: such a guest is emulated",
        )
    if isinstance(cpus, bool) or not isinstance(cpus, int) or not 1 <= cpus <= _MOST_VCPUS:
        raise UsageError(f"{cpus!r} is not a number from 1 to {_MOST_VCPUS}", path="cpus")
    if not boot_timeout > 0:
        raise UsageError(f"{boot_timeout!r} is not a number of seconds above 0", path="boot_timeout")
    if "\0" in append:
        raise UsageError("a kernel command line has no NUL", path="append")
    return Spec(
        memory=_check_memory(memory, row.smallest),
        cpus=cpus,
        accel=accel,
        arch=row.arch,
        machine=machine or row.type,
        kernel=_check_kernel(kernel),
        initrd=_check_file(initrd, "initrd"),
        append=append,
        qemu=None if qemu is None else os.fspath(qemu),
        boot_timeout=float(boot_timeout),
    )


def parse_size(text: str | int, path: str) -> int:
    """Bytes of a size such as 256M, 2G or 512MiB. A bare number is MiB, as for QEMU's `-m`; an int is bytes."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    found = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", str(text).strip(), re.IGNORECASE | re.ASCII)
    if not found:
        raise UsageError(f"{text!r} is not a size", path=path, hint="write it like 256M or 2G")
    number, unit = found.groups()
    return int(number) << (_UNITS[unit.upper()] or 20)


def _check_memory(memory: str | int, smallest: int) -> int:
    size = parse_size(memory, "memory")
    if size < smallest:
        raise HostError(
            f"memory: {memory} is too little for a guest to boot in",
            hint=f"give it {smallest >> 20}M or more",
        )
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > have:
        raise HostError(f"memory: {memory} is more than this host has ({have >> 20}M)", hint="ask for less")
    return size - size % (1 << 20)


def _check_file(path: str | os.PathLike[str] | None, what: str) -> Path | None:
    if path is None:
        return None
    found = Path(path).absolute()
    try:
        with found.open("rb"):
            return found
    except OSError as error:
        raise HostError(
            f"{what}: can't read {str(path)!r}: {error.strerror}", hint=f"correct --{what}, or leave it out"
        ) from error


def _check_kernel(path: str | os.PathLike[str] | None) -> Path | None:
    """QEMU takes anything for a kernel, and then says nothing or something strange."""
    found = _check_file(path, "kernel")
    if found is None:
        return None
    with found.open("rb") as file:
        head = file.read(0x206)
    if not head.startswith(b"\x7fELF") and head[0x202:0x206] != b"HdrS":
        raise HostError(
            f"kernel: {str(path)!r} is not a kernel: neither an ELF file nor a bzImage",
            hint="give a vmlinux or a vmlinuz, or leave --kernel out for Gavotte's own",
        )
    return found


def check_argv(argv: Sequence[str]) -> list[str]:
    """A command as a list of strings. Raises UsageError when it is empty, or a single string."""
    if isinstance(argv, str | bytes):
        raise UsageError(
            "a command is a list of strings, not one string",
            path="argv",
            hint='["sh", "-c", text] runs a line of shell',
        )
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in argv]
    if not words or not words[0]:
        raise UsageError("there is no command to run", path="argv")
    for number, word in enumerate(words):
        if not isinstance(word, str):
            raise UsageError(f"{word!r} is not text", path=f"argv[{number}]")
        if "\0" in word:
            raise UsageError("an argument has no NUL", path=f"argv[{number}]")
    return words


def check_env(env: Mapping[str, str] | None) -> dict[str, str]:
    """An environment that execve(2) takes. Raises UsageError for a name that is empty or has a `=`, and for NUL."""
    checked = dict(env or {})
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise UsageError(f"{name!r}: {value!r} is not text", path="env")
        if not name:
            raise UsageError(f"an entry has no name (its value is {value!r})", path="env", hint="write NAME=VALUE")
        if "=" in name or "\0" in name + value:
            raise UsageError("a name has no `=`, and neither part NUL", path=f"env[{name!r}]")
    return checked
