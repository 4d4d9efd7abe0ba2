"""Another size for a sandbox that runs: what its machine gives, and what its guest made of it.

A machine keeps the processors that it was started with, and an emulated one keeps all that it ever got. What a guest is
not to have of them, its agent takes offline.
"""

from __future__ import annotations

import time

from gavotte.arguments import check_number
from gavotte.errors import UsageError
from gavotte.guest.channel import Channel
from gavotte.hypervisor.interface import Ability, Hypervisor
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.words import meant_size, parse_size
from gavotte.text import size_text
from gavotte.values import dataclass

__all__ = ["Size", "check_growth", "resize"]

_NOTICED = 10.0  # seconds in which a guest notices a processor
_AGAIN = 0.05
_NEAR = 1 << 20  # bytes: memory comes and goes in larger steps


@dataclass(frozen=True)
class Size:
    """What a guest has: processors that are online, and bytes of memory."""

    cpus: int
    memory: int


async def resize(vm: Hypervisor, channel: Channel, spec: Spec, cpus: int | None, memory: str | int | None) -> Size:
    """Have the machine change, and the guest take into use what it is to have; gives what the guest has then.

    Nothing is changed when one of the two is out of the question. Raises UsageError, Unsupported.
    """
    size = check_growth(spec, cpus, memory)
    if cpus is not None and cpus > len(await vm.vcpus()):  # the driver refuses it too, after the memory was changed
        vm.capabilities().require(Ability.ADD_VCPUS)
    expected = 0 if size is None else await _change_memory(vm, channel, size)
    if cpus is not None:
        await _change_vcpus(vm, spec, cpus)
    return await _taken(vm, channel, cpus or 0, expected)


async def _change_memory(vm: Hypervisor, channel: Channel, size: int) -> int:
    """What the guest should see then, in bytes: what it saw before, and what the machine plugged or took back."""
    seen = await _size(channel, 0)
    before = (await vm.memory()).total
    return seen.memory + await vm.resize_memory(size) - before


async def _change_vcpus(vm: Hypervisor, spec: Spec, cpus: int) -> None:
    """As near to `cpus` as the machine can get; it never has fewer."""
    now = len(await vm.vcpus())
    wanted = max(cpus, spec.cpus)
    if wanted > now or (wanted < now and Ability.REMOVE_VCPUS in vm.capabilities()):
        await vm.resize_vcpus(wanted)


async def _taken(vm: Hypervisor, channel: Channel, cpus: int, memory: int) -> Size:
    """What the guest has, once that is `cpus` and about `memory`, where they aren't 0. It hears of them by and by."""
    until = time.monotonic() + _NOTICED
    while True:
        size = await _size(channel, cpus)
        there = cpus in (0, size.cpus) and (not memory or abs(size.memory - memory) < _NEAR)
        if there or time.monotonic() > until or await vm.wait(_AGAIN):
            return size


async def _size(channel: Channel, cpus: int) -> Size:
    reply = await channel.request("online", cpus=cpus)
    return Size(cpus=reply["cpus"], memory=reply["memory"])


def check_growth(spec: Spec, cpus: int | None, memory: str | int | None) -> int | None:
    """The memory that is asked for, in bytes. Raises UsageError for what such a sandbox can't grow to."""
    if cpus is not None:
        check_number(cpus, 1, max(spec.max_cpus, spec.cpus), "cpus", hint="start it with a larger max_cpus")
    return None if memory is None else _check_memory(spec, parse_size(memory, "memory"))


def _check_memory(spec: Spec, size: int) -> int:
    """A template has room for more than its copies asked for, and less to begin with."""
    most = max(spec.max_memory, spec.memory)
    if not spec.memory <= size <= most:
        hint = meant_size(size, spec.memory, most, "what it was started with can't be removed")
        raise UsageError(
            f"{size_text(size)} is not between {size_text(spec.memory)}, with which it was started, "
            f"and {size_text(most)}",
            path="memory",
            hint="start it with a larger max_memory" if size > most else hint,
        )
    return size
