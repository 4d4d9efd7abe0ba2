"""What a template has room for: one serves all that ask for no more.

The largest memory, the processors and the places of devices are the template's. A sandbox has of them what it asks for:
memory is plugged, processors are brought online, and a device sits in the place of a latent one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from gavotte.hypervisor.devices import Device, Disk, Latent, Nic, Passt, Share, Stream, Tap, User
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.words import DEFAULT_MEMORY
from gavotte.values import dataclass

__all__ = ["Layout", "kind_of", "layout_for", "why_not"]

Kind: TypeAlias = Literal["disk", "nic", "share"]

_MIB = 1 << 20
_SMALL = 256 * _MIB
_LARGEST = 16 << 30
_CPUS = 4
_PLACES: Mapping[Kind, int] = {"disk": 2, "nic": 1, "share": 2}
_SLOTS = 8


@dataclass(frozen=True)
class Layout:
    """`memory` is there from the start, and can be plugged up to `max_memory`, if that isn't 0; in bytes. The rest are
    numbers."""

    memory: int
    max_memory: int
    cpus: int
    slots: int = 0
    disk: int = 0
    nic: int = 0
    share: int = 0

    def latent(self) -> Iterator[Latent]:
        """The latent devices, in the order of their places."""
        for kind in _PLACES:
            for number in range(getattr(self, kind)):
                yield Latent(f"latent-{kind}{number}", kind)

    def seated(self, devices: Sequence[Device]) -> Iterator[Device]:
        """What sits in these places when a sandbox has those devices."""
        waiting = list(devices)
        for place in self.latent():
            found = next((device for device in waiting if kind_of(device) == place.kind), None)
            if found is not None:
                waiting.remove(found)
            yield found or place


def layout_for(spec: Spec) -> Layout:
    """What the template of such a sandbox has room for. Pure.

    A sandbox that asks for nothing, as most do, has one with room for nothing: to start QEMU with it, to load it and to
    run in it takes 18 ms less.
    """
    if _asks_for_nothing(spec):
        return Layout(memory=spec.memory, max_memory=0, cpus=spec.cpus)
    counts = Counter(kind_of(device) for device in spec.devices)
    wide = bool(spec.devices or spec.slots)
    places = {kind: _room(counts[kind], usual) for kind, usual in _PLACES.items()} if wide else {}
    return Layout(
        memory=_base(spec.memory),
        max_memory=_room(max(spec.memory, spec.max_memory), _LARGEST),
        cpus=_room(max(spec.cpus, spec.max_cpus), _CPUS),
        slots=_room(spec.slots, _SLOTS) if wide else 0,
        **places,
    )


def _asks_for_nothing(spec: Spec) -> bool:
    extras = (spec.devices, spec.slots, spec.max_cpus, spec.max_memory)
    return spec.memory == DEFAULT_MEMORY and spec.cpus == 1 and not any(extras)


def why_not(spec: Spec) -> str:
    """Why such a sandbox has to boot for real; empty when it hasn't."""
    if spec.cold:
        return "as asked for"
    if spec.kernel or spec.initrd or spec.append:
        return "it has a kernel, an initramfs or kernel options of its own"
    if spec.memory < _SMALL:
        return f"a guest of less than {_SMALL // _MIB}M has no memory for what a template brings"
    if spec.shared_memory:
        return "its memory is shared with other processes"
    device = next((device for device in spec.devices if not kind_of(device)), None)
    return f"a template has no place for the device {device.id!r}" if device else ""


def kind_of(device: Device) -> str:
    """The kind of latent device that `device` can be in place of; empty if there is none."""
    match device:
        case Latent(kind=kind):
            return kind
        case Disk(bus="virtio-blk"):
            return "disk"
        case Share(kind="9p"):
            return "share"
        case Nic(net=User() | Stream() | Passt()):
            return "nic"
        case Nic(net=Tap(fds=fds, vhost_fds=vhost_fds)) if len(fds) == 1 and not vhost_fds:
            return "nic"
    return ""


def _base(memory: int) -> int:
    """What is there from the start. To plug some takes an emulated guest a tenth of a second, so the size that nearly
    all have gets a template that has it; all others share one."""
    return memory if memory == DEFAULT_MEMORY else _SMALL


def _room(wanted: int, usual: int) -> int:
    """The usual, or the next power of two of it that suffices: few sizes, so that templates are used again."""
    while usual < wanted:
        usual *= 2
    return usual
