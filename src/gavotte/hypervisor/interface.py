"""What a machine is made of, by purpose; QEMU's words for it are the planner's business."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Disk", "MachineConfig", "Port"]


@dataclass(frozen=True)
class Disk:
    """A raw disk image, read-only. `serial` is how the guest finds it (at most 20 characters: virtio-blk)."""

    id: str
    path: Path
    serial: str


@dataclass(frozen=True)
class Port:
    """A byte stream between the host and the guest: virtio-serial port `name`."""

    id: str
    name: str


@dataclass(frozen=True)
class MachineConfig:
    """All that a machine is started with. `memory` is in bytes."""

    name: str
    arch: str
    machine: str
    accel: str
    vcpus: int
    memory: int
    kernel: Path
    initrd: Path | None
    append: str
    disks: tuple[Disk, ...] = ()
    ports: tuple[Port, ...] = ()
