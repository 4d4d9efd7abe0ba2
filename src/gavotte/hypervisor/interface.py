"""What a sandbox needs of a hypervisor: small protocols, one for each ability. Two drivers have them: `qemu`, `fake`.

Every operation may be called at any time, by several tasks at once: they take turns. In the wrong state it raises
StateError, and nothing happens; without the ability, Unsupported, and nothing happens. All may be cancelled.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from gavotte.arguments import StrPath, check_number, check_path
from gavotte.errors import GavotteError, Unsupported
from gavotte.hypervisor.devices import Balloon, Device, PvPanic, Share, VmGenId, Vsock, Watchdog
from gavotte.hypervisor.events import EventStream, VmEvent
from gavotte.values import dataclass

__all__ = [
    "Ability",
    "Capabilities",
    "Checked",
    "Cloning",
    "Health",
    "Hypervisor",
    "Introspection",
    "Lifecycle",
    "MachineConfig",
    "Memory",
    "MemoryFile",
    "OnProgress",
    "Pausing",
    "Plugging",
    "PoliteRung",
    "Progress",
    "Resizing",
    "Saving",
    "Vcpu",
    "VmState",
    "abilities_for",
    "check_file",
]


@dataclass(frozen=True)
class MemoryFile:
    """A guest's memory as a file of just its size, by an open descriptor, which stays the caller's.

    What the guest writes goes to the file; if it is `private`, to copies of pages that are the machine's alone. Without
    a descriptor it is memory without a file, for a machine that is loaded and had one when it was saved.
    """

    fd: int | None
    private: bool = False


@dataclass(frozen=True)
class MachineConfig:
    """All that a machine is made of when it is created. Sizes in bytes.

    `devices` are the machine's own: they sit on its own bus and stay. What comes and goes is for `plug`, which has
    `slots` places for it. `max_vcpus` and `max_memory` bound what `resize_…` may reach (0: what there is at the start).
    `shared_memory` lets other processes serve the guest's memory, as virtiofs needs.
    `dump` is a directory: a guest that reports a panic leaves its memory there, if there is room for it. It reports by
    a PvPanic among the devices; guests of s390x and ppc64 do without.
    `memory_file` is where its memory is, for templates and their clones.
    """

    name: str
    arch: str
    machine: str
    accel: str
    vcpus: int
    memory: int
    kernel: Path
    initrd: Path | None
    append: str
    devices: tuple[Device, ...] = ()
    max_vcpus: int = 0
    max_memory: int = 0
    slots: int = 0
    shared_memory: bool = False
    dump: Path | None = None
    memory_file: MemoryFile | None = None


class VmState(enum.Enum):
    """Where a machine is in its life."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Ability(enum.Enum):
    """What a machine may be able to do. Which ones it has depends on the binary, its machine type and accelerator."""

    PAUSE = "pause and resume"
    RESET = "reset"
    SAVE = "save and load"
    CLONE = "templates and clones"
    PLUG = "plug devices while it runs"
    ADD_VCPUS = "more vCPUs while it runs"
    REMOVE_VCPUS = "fewer vCPUs while it runs"
    ADD_MEMORY = "more memory while it runs"
    REMOVE_MEMORY = "less memory while it runs"
    SHARE_9P = "directories by 9p"
    SHARE_VIRTIOFS = "directories by virtiofs"
    VSOCK = "vsock"
    VMGENID = "vmgenid"
    PVPANIC = "pvpanic"
    WATCHDOG = "watchdog"
    BALLOON = "balloon"
    DUMP = "a dump of the guest's memory"
    STATISTICS = "the accelerator's statistics"


@dataclass(frozen=True)
class Capabilities:
    """What a machine can do; for what it can't, why not."""

    missing: Mapping[Ability, str] = field(default_factory=dict)

    def __contains__(self, ability: Ability) -> bool:
        return ability not in self.missing

    def require(self, *abilities: Ability) -> None:
        """Raises Unsupported for the first that is missing."""
        for ability in abilities:
            if ability in self.missing:
                raise Unsupported(ability.value, self.missing[ability])


def abilities_for(*devices: Device) -> Iterator[Ability]:
    """What a machine has to be able to do to have those devices."""
    for device in devices:
        match device:
            case Share(kind=kind):
                yield Ability.SHARE_9P if kind == "9p" else Ability.SHARE_VIRTIOFS
            case Balloon():
                yield Ability.BALLOON
            case PvPanic():
                yield Ability.PVPANIC
            case VmGenId():
                yield Ability.VMGENID
            case Vsock(fd=None):  # one that is given was opened by somebody who could
                yield Ability.VSOCK
            case Watchdog():
                yield Ability.WATCHDOG


def check_file(file: StrPath | int, path: str) -> Path | int:
    """Where a machine is saved to, or loaded from: a file's path, or an open descriptor. Raises UsageError."""
    return check_number(file, 0, None, path) if isinstance(file, int) else Path(check_path(file, path))


class Health(enum.Enum):
    """What `check` finds."""

    RUNNING = "running"
    PAUSED = "paused"
    SILENT = "silent"
    PANICKED = "panicked"
    DEAD = "dead"


@dataclass(frozen=True)
class Checked:
    """A machine's health, and what is known of its cause: of a silent one, whether its main loop is stuck or its
    process is stopped."""

    health: Health
    why: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a save or load is, in bytes. `total` may grow while the guest writes."""

    transferred: int
    total: int
    seconds: float


OnProgress: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class Memory:
    """A guest's memory, in bytes, as the hypervisor reports it: `base` is there from the start, `plugged` beside it,
    `requested` is what was asked to be plugged. `block` is the step in which the guest takes more."""

    base: int
    plugged: int
    requested: int
    limit: int
    block: int

    @property
    def total(self) -> int:
        return self.base + self.plugged


@dataclass(frozen=True)
class Vcpu:
    """One vCPU: its host thread, the host's processors it may run on, and the cgroup that the thread is in."""

    index: int
    thread: int
    cpus: frozenset[int]
    cgroup: str


PoliteRung: TypeAlias = tuple[str, Callable[[], Awaitable[None]], float]
"""A way to ask for the end: its name, what asks, and the seconds that asking and ending may take."""


@runtime_checkable
class Lifecycle(Protocol):
    """From created to stopped."""

    @property
    def state(self) -> VmState: ...

    def capabilities(self) -> Capabilities: ...

    async def start(self) -> None:
        """Start it; done when the guest's processors run. Raises what the driver says when it can't be."""

    async def stop(self, *, polite: Sequence[PoliteRung] = (), force: bool = False) -> None:
        """End it: by the polite rungs first, unless `force`. Idempotent, also for one that has ended by itself."""

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait for its end, asking for nothing; whether it has ended within `seconds`."""

    async def reset(self) -> None:
        """Have the guest start anew, as by the button."""

    async def explain_end(self) -> GavotteError:
        """Why it isn't there any more, as the error to raise."""

    def events(self, *kinds: type[VmEvent], limit: int = 256) -> EventStream: ...

    async def cleanup(self) -> None:
        """Stop it if it runs, and free everything that it holds on this host. Idempotent."""


@runtime_checkable
class Pausing(Protocol):
    """Standing still, and going on. Pausing a paused machine does nothing, and so with resuming."""

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...


@runtime_checkable
class Saving(Protocol):
    """A machine as a file."""

    async def save(self, target: StrPath | int, *, progress: OnProgress | None = None) -> None:
        """Write all of it to a file or descriptor; it then goes on as before, also when this fails or is cancelled.

        Raises SaveFailed, StateError, HostError."""

    async def load(self, source: StrPath | int, *, progress: OnProgress | None = None) -> None:
        """Start it from what `save` wrote, instead of `start`: running, with the devices that were there then."""


@runtime_checkable
class Cloning(Protocol):
    """Many machines from one, the template: a copy on write of its memory, and the state of its devices for each.

    Template and clones are made of the same devices at the same places. Where the template has a Latent, a clone may
    have a real one of that kind."""

    async def freeze(self) -> bytes:
        """Have it stand still for good, and give the state of its devices; its memory is in the `memory_file`.

        Raises SaveFailed; it is as it was then."""

    async def clone(self, state: bytes, *, memory: int = 0) -> None:
        """Start it from what `freeze` gave, instead of `start`, on a private `memory_file`.

        With `memory`, the guest is asked to take so many bytes, which isn't waited for. Raises SaveFailed."""


@runtime_checkable
class Plugging(Protocol):
    """Devices that come and go. Before the start they become part of it; later they are plugged hot."""

    @property
    def plugged(self) -> Mapping[str, Device]: ...

    async def plug(self, device: Device, *, deadline: float = 30.0) -> None:
        """Add it. When it fails, nothing of it is left."""

    async def unplug(self, id: str, *, deadline: float = 30.0) -> None:
        """Remove it; done when it is gone. Raises UnplugRefused, and OutcomeUnknown at the deadline."""

    def take_port(self, id: str) -> int:
        """Our end of a Port or Console, as a socket's descriptor that is the caller's from now on."""


@runtime_checkable
class Resizing(Protocol):
    """More and less. Each gives what was reached within `deadline` seconds, which may be less than what was asked."""

    async def resize_vcpus(self, count: int, *, deadline: float = 30.0) -> int: ...

    async def resize_memory(self, size: int, *, deadline: float = 30.0) -> int: ...


@runtime_checkable
class Introspection(Protocol):
    """What there is to know about it."""

    async def check(self) -> Checked: ...

    async def pids(self) -> dict[str, int]:
        """The process ids, by name: `qemu`, and each helper by its device's id."""

    async def vcpus(self) -> list[Vcpu]: ...

    async def pin_vcpu(self, index: int, cpus: frozenset[int]) -> None:
        """Bind a vCPU's thread to processors of the host."""

    async def memory(self) -> Memory: ...

    async def statistics(self) -> dict[str, Any]:
        """What is counted: `block` and `net` by device, `balloon`, `vcpu` times, `accel` (query-stats)."""

    @property
    def console(self) -> str:
        """The last of what the guest wrote to its console, harmless to a terminal."""

    def attach_console(self) -> socket.socket:
        """A stream of the console, the caller's to read, write and close; any number at once.

        It shows the last lines, and then what comes; what is written to it is typed. It ends with the machine."""


@runtime_checkable
class Hypervisor(Lifecycle, Pausing, Saving, Cloning, Plugging, Resizing, Introspection, Protocol):
    """All of them: what the drivers are."""
