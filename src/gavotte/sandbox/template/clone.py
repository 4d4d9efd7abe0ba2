"""From a template to a sandbox's machine: a copy, which is one of its own before its user's first instruction."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gavotte.errors import Bug
from gavotte.guest.agent import SEED_LENGTH
from gavotte.guest.channel import Channel
from gavotte.hypervisor.devices import Device, Nic
from gavotte.hypervisor.qemu.plan.memory import BLOCK
from gavotte.hypervisor.qemu.plan.nic import default_mac
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.sandbox.boot import AGENT_PORT, last_words_of
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.template.layout import kind_of
from gavotte.sandbox.template.store import Template
from gavotte.values import dataclass

__all__ = ["Clone", "clone_template", "told_to_copy"]

_PATIENCE = 30.0  # seconds in which a copy's agent has to answer


@dataclass(frozen=True)
class Clone:
    """A copy that runs, and the line to its agent."""

    channel: Channel
    root_size: int


async def clone_template(
    vm: QemuVm, template: Template, spec: Spec, name: str, told: Mapping[str, Any], asked: int = 0
) -> Clone:
    """Start `vm`, whose memory file is a private one of the template's; its agent is `told`. Nothing is left when it
    fails. If `vm` was begun ahead, the agent was told under the number `asked`.

    Raises ValueError and OSError for a damaged template, SaveFailed, AgentError, QemuExited, and as a start does.
    """
    places = list(template.layout.seated(spec.devices))
    try:
        for device in places:
            await vm.plug(device)
        await vm.clone(template.read_state(_macs(template, places, name)), memory=told["memory"])
        shift = vm.turned - template.stopped
        sock = socket.socket(fileno=vm.take_port(AGENT_PORT))
        line = (sock, template.token, last_words_of(vm))
        if vm.begun_ahead:
            channel, answer = await Channel.await_restore(*line, asked, shift, _PATIENCE)
        else:
            own = {"seed": os.urandom(SEED_LENGTH).hex(), "shift": shift, "hostname": name}
            channel, answer = await Channel.restore(*line, {**told, **own}, _PATIENCE)
        return Clone(channel, answer["root_size"])
    except BaseException:
        await asyncio.shield(vm.stop(force=True))
        raise


def told_to_copy(template: Template, spec: Spec, token: str | None) -> dict[str, Any]:
    """What the agent of such a copy is told, beside what is each one's own: see `gavotte.guest.agent.restore`."""
    kinds = Counter(kind_of(device) for device in spec.devices)
    growth = _growth(spec.memory, template.layout.memory)
    return {"token": token, "cpus": spec.cpus, "memory": growth, "latent": dict(kinds)}


def _growth(wanted: int, base: int) -> int:
    """Bytes to be plugged: at least what is asked for, in the steps in which memory comes."""
    return -(-(wanted - base) // BLOCK) * BLOCK


def _macs(template: Template, places: Sequence[Device], name: str) -> dict[str, str]:
    """An address for each card of the template's: that of the sandbox's card in its place."""
    cards = [device for device in places if kind_of(device) == "nic"]
    if len(cards) != len(template.macs):
        raise Bug(f"{len(cards)} cards sit in {len(template.macs)} places")
    return {
        id: (card.mac if isinstance(card, Nic) and card.mac else default_mac(name, card.id))
        for id, card in zip(template.macs, cards, strict=True)
    }
