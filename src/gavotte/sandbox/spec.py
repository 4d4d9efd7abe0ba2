"""What a user may ask of a sandbox, checked, with the path to the culprit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gavotte.errors import HostError, UsageError
from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.qemu.machines import host_arch
from gavotte.sandbox.words import DEFAULT_MEMORY, check_argv, check_env, check_name, meant_size, parse_size
from gavotte.text import rough_size, size_text
from gavotte.values import dataclass

__all__ = ["ACCELS", "Spec", "check_argv", "check_device", "check_env", "make_spec", "parse_size"]

ACCELS = ("auto", "kvm", "tcg")
_MOST_VCPUS = 240
_MOST_SLOTS = 64
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


def make_spec(
    *,
    memory: str | int = DEFAULT_MEMORY,
    cpus: int = 1,
    accel: str = "auto",
    arch: str | None = None,
    machine: str | None = None,
    kernel: str | os.PathLike[str] | None = None,
    initrd: str | os.PathLike[str] | None = None,
    append: str = "",
    qemu: str | os.PathLike[str] | None = None,
    boot_timeout: float = 120.0,
    slots: int = 0,
    max_cpus: int = 0,
    max_memory: str | int = 0,
    shared_memory: bool = False,
    name: str | None = None,
    keep: bool = False,
    cold: bool = False,
    devices: Sequence[Device] = (),
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
    _check_number(cpus, 1, _MOST_VCPUS, "cpus")
    if not boot_timeout > 0:
        raise UsageError(f"{boot_timeout!r} is not a number of seconds above 0", path="boot_timeout")
    if "\0" in append:
        raise UsageError("a kernel command line has no NUL", path="append")
    size = _check_memory(memory, row.smallest)
    return Spec(
        memory=size,
        cpus=cpus,
        accel=accel,
        arch=row.arch,
        machine=machine or row.type,
        kernel=_check_kernel(kernel),
        initrd=_check_file(initrd, "initrd"),
        append=append,
        qemu=None if qemu is None else os.fspath(qemu),
        boot_timeout=float(boot_timeout),
        slots=_check_number(slots, 0, _MOST_SLOTS, "slots"),
        max_cpus=_check_number(max_cpus, cpus, _MOST_VCPUS, "max_cpus") if max_cpus else 0,
        max_memory=_check_limit(max_memory, size),
        shared_memory=_check_flag(shared_memory, "shared_memory"),
        name="" if name is None else check_name(name),
        keep=_check_flag(keep, "keep"),
        cold=_check_flag(cold, "cold"),
        devices=tuple(check_device(device, f"devices[{n}]") for n, device in enumerate(devices)),
    )


def check_device(device: object, path: str = "device") -> Device:
    """A device. Raises UsageError for what is none, such as a map."""
    if not isinstance(device, Device):
        hint = "give one such as gavotte.Disk; gavotte.Raw(id, {'driver': …}) is any device in QEMU's own words"
        raise UsageError(f"{device!r} is not a device", path=path, hint=hint)
    return device


def _check_number(value: int, least: int, most: int, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{value!r} is not a number from {least} to {most}", path=path)
    return value


def _check_flag(value: bool, path: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{value!r} is neither True nor False", path=path)
    return value


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
        raise HostError(
            f"memory: {size_text(size)} is too little for a guest to boot in",
            hint=meant_size(size, smallest, have, f"give it {size_text(smallest)} or more"),
        )
    if size > have:
        raise HostError(
            f"memory: {size_text(size)} is more than this host has ({rough_size(have)})", hint="ask for less"
        )
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
