"""What a user may ask of a sandbox, checked, with the path to the culprit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

from gavotte.arguments import (
    StrPath,
    check_flag,
    check_known,
    check_number,
    check_path,
    check_seconds,
    check_text,
    wrong,
)
from gavotte.errors import HostError, UsageError
from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.places import absolute
from gavotte.qemu.machines import host_arch
from gavotte.sandbox.options import SandboxOptions
from gavotte.sandbox.words import DEFAULT_MEMORY, check_name, meant_size, parse_size
from gavotte.text import rough_size, size_text
from gavotte.values import dataclass

__all__ = ["ACCELS", "Spec", "make_spec"]

ACCELS = ("auto", "kvm", "tcg")
_MOST_VCPUS = 240
_MOST_SLOTS = 64
_OWN_WORDS = 256  # bytes that are set aside for what Gavotte says to the kernel
_MOST_MEMORY = 1 << 40  # what an emulated processor's 40 address lines reach


@dataclass(frozen=True)
class Spec:
    """A checked request. Sizes in bytes; None means Gavotte's own kernel, initramfs or binary.

    `max_cpus` and `max_memory` are 0 where the machine needn't grow, `name` is empty where one is to be made up. With
    `cold`, it boots for real, and is no copy of a template.
    """

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
    slots: int
    max_cpus: int
    max_memory: int
    shared_memory: bool
    name: str
    keep: bool
    cold: bool
    devices: tuple[Device, ...]


def make_spec(**options: Unpack[SandboxOptions]) -> Spec:
    """A Spec of these values. Raises UsageError for one that makes no sense, HostError for more than this host has."""
    for option in options:
        check_known(option, SandboxOptions.__optional_keys__)
    arch, machine = options.get("arch"), options.get("machine")
    row = machine_row(_check_word(arch, "arch") or host_arch(), _check_word(machine, "machine"))
    qemu, name = options.get("qemu"), options.get("name")
    size = _check_memory(options.get("memory", DEFAULT_MEMORY), row.smallest)
    cpus = check_number(options.get("cpus", 1), 1, _MOST_VCPUS, "cpus")
    most = options.get("max_cpus", 0)
    return Spec(
        memory=size,
        cpus=cpus,
        accel=_check_accel(options.get("accel", "auto"), row.arch),
        arch=row.arch,
        machine=machine or row.type,
        kernel=_check_kernel(options.get("kernel")),
        initrd=_check_file(options.get("initrd"), "initrd"),
        append=_check_append(options.get("append", ""), row.cmdline - _OWN_WORDS),
        qemu=None if qemu is None else check_path(qemu, "qemu"),
        boot_timeout=check_seconds(options.get("boot_timeout", 120.0), "boot_timeout"),
        slots=check_number(options.get("slots", 0), 0, _MOST_SLOTS, "slots"),
        max_cpus=check_number(most, 0 if most == 0 else cpus, _MOST_VCPUS, "max_cpus"),
        max_memory=_check_limit(options.get("max_memory", 0), size),
        shared_memory=check_flag(options.get("shared_memory", False), "shared_memory"),
        name="" if name is None else check_name(name),
        keep=check_flag(options.get("keep", False), "keep"),
        cold=check_flag(options.get("cold", False), "cold"),
        devices=_check_devices(options.get("devices", ())),
    )


def _check_word(word: str | None, path: str) -> str | None:
    return None if word is None else check_text(word, path)


def _check_append(append: object, most: int) -> str:
    text = check_text(append, "append")
    length = len(os.fsencode(text))
    if length > most:
        raise UsageError(f"{length} bytes are more than the {most} that the guest's kernel takes", path="append")
    return text


def _check_accel(accel: object, arch: str) -> str:
    if not isinstance(accel, str) or accel not in ACCELS:
        raise wrong(accel, f"one of {', '.join(ACCELS)}", "accel")
    if accel == "kvm" and arch != host_arch():
        raise UsageError(
            f"KVM runs guests of this host's own architecture, {host_arch()}, and not {arch}",
            path="accel",
            hint="leave it out: such a guest is emulated",
        )
    return accel


def _check_devices(devices: object) -> tuple[Device, ...]:
    if devices == ():
        return ()
    from gavotte.sandbox.devices import check_devices  # few sandboxes have any from the start

    return check_devices(devices)


def _check_limit(limit: str | int, memory: int) -> int:
    """What memory may grow to: not bounded by what the host has, since most of it may never be asked for."""
    size = parse_size(limit, "max_memory")
    if not size:
        return 0
    if not memory <= size <= _MOST_MEMORY:
        raise UsageError(
            f"{size_text(size)} is not between what it starts with ({size_text(memory)}) and {size_text(_MOST_MEMORY)}",
            path="max_memory",
            hint=meant_size(size, memory, _MOST_MEMORY, ""),
        )
    return size - size % (1 << 20)


def _check_memory(memory: str | int, smallest: int) -> int:
    size = parse_size(memory, "memory")
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size < smallest:
        raise UsageError(
            f"{size_text(size)} is too little for a guest to boot in",
            path="memory",
            hint=meant_size(size, smallest, have, f"give it {size_text(smallest)} or more"),
        )
    if size > have:
        raise HostError(
            f"memory: {size_text(size)} is more than this host has ({rough_size(have)})", hint="ask for less"
        )
    return size - size % (1 << 20)


def _check_file(path: StrPath | None, what: str) -> Path | None:
    if path is None:
        return None
    found = Path(absolute(check_path(path, what)))
    try:
        with found.open("rb"):
            return found
    except OSError as error:
        raise HostError(
            f"{what}: can't read {str(path)!r}: {error.strerror}", hint=f"correct --{what}, or leave it out"
        ) from error


def _check_kernel(path: StrPath | None) -> Path | None:
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
