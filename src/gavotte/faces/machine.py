"""The options that say what a sandbox's machine is, as `run`, `explain` and `template build` take them."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["MACHINE_OPTIONS", "OWN_OPTIONS", "add_machine_options", "add_own_options"]

MACHINE_OPTIONS = ("memory", "cpus", "accel", "arch", "machine", "qemu", "boot_timeout")
OWN_OPTIONS = ("kernel", "initrd", "append", "cold")


def add_machine_options(parser: argparse.ArgumentParser) -> Any:
    """Those of MACHINE_OPTIONS; gives their group."""
    group = parser.add_argument_group("the machine")
    group.add_argument(
        *("-m", "--memory"),
        default="512M",
        metavar="SIZE",
        help="256M, 1.5G, …; half of it is the writable root (512M)",
    )
    group.add_argument("--cpus", type=int, default=1, metavar="N", help="virtual processors (1)")
    group.add_argument(
        "--accel", default="auto", metavar="auto|kvm|tcg", help="auto takes KVM where a guest was seen to run on it"
    )
    group.add_argument(
        "--arch", metavar="ARCH", help="x86_64, aarch64, ppc64, s390x or riscv64; emulated unless it is this host's own"
    )
    group.add_argument(
        "--machine",
        metavar="TYPE",
        help="on x86_64 q35 (default), pc, or microvm (boots reliably with KVM only); or a versioned type (virt-7.2)",
    )
    group.add_argument("--qemu", metavar="PATH", help="the QEMU binary (GAVOTTE_QEMU, else the one on PATH)")
    group.add_argument(
        "--boot-timeout", type=float, default=120.0, metavar="S", help="seconds that a boot may take (120)"
    )
    return group


def add_own_options(group: Any) -> None:
    """Those of OWN_OPTIONS: with any of them the machine boots, and is no copy of a template."""
    group.add_argument("--kernel", metavar="FILE", help="a vmlinux or bzImage instead of the image's")
    group.add_argument("--initrd", metavar="FILE", help="an initramfs with Gavotte's agent instead of the image's")
    group.add_argument("--append", default="", metavar="TEXT", help="more words for the kernel's command line")
    group.add_argument("--cold", action="store_true", help="boot for real instead of a copy of a template")
