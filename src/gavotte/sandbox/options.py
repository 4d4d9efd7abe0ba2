"""The options that callers may give, each with its type: what editors offer and type checkers hold calls to.

Written once, for all faces that take them: `def __init__(self, **options: Unpack[SandboxOptions])` (PEP 692).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from gavotte.arguments import StrPath, check_known, check_path, check_text, wrong
from gavotte.hypervisor.devices import Device
from gavotte.sandbox.words import check_env

__all__ = ["CallOptions", "Command", "CommandOptions", "MachineOptions", "SandboxOptions", "check_command"]


class MachineOptions(TypedDict, total=False):
    """What a sandbox's machine is. The defaults are those of a small guest on this host's own architecture."""

    memory: str | int  # a size such as 256M or 2G, or a number of bytes; 512M
    cpus: int  # virtual processors; 1
    accel: str  # auto, kvm or tcg
    arch: str | None  # QEMU's name of an architecture; this host's own
    machine: str | None  # one of its machine types
    kernel: StrPath | None  # a vmlinux or bzImage, and an initramfs with the agent, instead of the image's
    initrd: StrPath | None
    append: str  # more words for the kernel's command line
    qemu: StrPath | None  # the binary; GAVOTTE_QEMU, else the one on PATH
    boot_timeout: float  # seconds that a boot may take; 120
    slots: int  # devices that can be plugged while it runs; 0
    max_cpus: int  # what it can grow to; 0: nothing beyond what it starts with
    max_memory: str | int
    shared_memory: bool  # lets a Share be virtiofs
    cold: bool  # boot for real, and be no copy of a template
    devices: Iterable[Device]  # those that are there from the start


class SandboxOptions(MachineOptions, total=False):
    """What a sandbox is: its machine, and whether it has a name and outlives its process."""

    name: str | None
    keep: bool  # it outlives its process, unless it is closed: `attach` takes it over


class CommandOptions(TypedDict, total=False):
    """What a command runs in."""

    env: Mapping[str, str] | None  # added to what a login would set
    cwd: StrPath | None  # a directory of the guest; the user's home
    user: str | int | None  # NAME, UID, NAME:GROUP or UID:GID; root
    closed: Sequence[int]  # which of 0, 1 and 2 it doesn't have, as by a shell's `2>&-`; none


class CallOptions(MachineOptions, CommandOptions, total=False):
    """What each call of an executor or of `map` runs in."""

    timeout: float | None  # seconds that it may take


class Command(TypedDict):
    """`CommandOptions`, checked, as the agent takes them. An empty `cwd` is the user's home."""

    env: dict[str, str]
    cwd: str
    user: str
    closed: tuple[int, ...]


def check_command(options: CommandOptions, beside: Iterable[str] = ()) -> Command:
    """What a command is to run in. Raises UsageError, also for an option that there isn't; those `beside` these are
    parameters, which may have been meant."""
    for name in options:
        check_known(name, CommandOptions.__optional_keys__.union(beside))
    cwd, user = options.get("cwd"), options.get("user")
    return Command(
        env=check_env(options.get("env")),
        cwd="" if cwd is None or cwd == "" else check_path(cwd, "cwd"),
        user="0" if user is None or user == "" else _check_user(user),
        closed=_check_closed(options.get("closed", ())),
    )


def _check_closed(closed: object) -> tuple[int, ...]:
    if not isinstance(closed, list | tuple) or not all(type(fd) is int and 0 <= fd <= 2 for fd in closed):
        raise wrong(closed, "a list of standard streams", "closed", hint="give some of 0, 1 and 2")
    return tuple(closed)


def _check_user(user: object) -> str:
    if isinstance(user, int) and not isinstance(user, bool) and user >= 0:
        return str(user)
    if not isinstance(user, str):
        raise wrong(user, "a user", "user", hint="give a name, a UID, NAME:GROUP or UID:GID")
    return check_text(user, "user")
