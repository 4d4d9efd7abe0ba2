"""From a template to a sandbox's machine: a copy, which is one of its own before its user's first instruction."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Sequence

from gavotte.errors import Bug
from gavotte.guest.agent import SEED_LENGTH
from gavotte.guest.channel import Channel
from gavotte.hypervisor.devices import Device, Latent, Nic
from gavotte.hypervisor.qemu.plan.memory import BLOCK
from gavotte.hypervisor.qemu.plan.nic import default_mac
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.sandbox.boot import AGENT_PORT, last_words_of
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.template.layout import kind_of
from gavotte.sandbox.template.store import Template
from gavotte.values import dataclass

__all__ = ["Clone", "clone_template"]

_PATIENCE = 30.0  # seconds in which a copy's agent has to answer


@dataclass(frozen=True)
class Clone:
    """A copy that runs, and the line to its agent."""

    channel: Channel
    root_size: int


async def clone_template(vm: QemuVm, template: Template, spec: Spec, name: str, token: str | None) -> Clone:
    """Start `vm`, whose memory file is a private one of the template's. Nothing is left when it fails.

    Raises ValueError and OSError for a damaged template, SaveFailed, AgentError, QemuExited, and as a start does.
    """
    places = list(template.layout.seated(spec.devices))
    try:
        for device in places:
            await vm.plug(device)
        growth = _growth(spec.memory, template.layout.memory)
        await vm.clone(template.read_state(_macs(template, places, name)), memory=growth)
        shift = vm.turned - template.stopped
        fields = _fields(name, token, shift, spec.cpus, growth, _counts(places))
        sock = socket.socket(fileno=vm.take_port(AGENT_PORT))
        channel, answer = await Channel.restore(sock, template.token, last_words_of(vm), fields, _PATIENCE)
        return Clone(channel, int(answer["root_size"]))
    except BaseException:
        await asyncio.shield(vm.stop(force=True))
        raise


def _fields(
    hostname: str, token: str | None, shift: float, cpus: int, memory: int, latent: dict[str, int]
) -> dict[str, object]:
    """What a copy is told: see `gavotte.guest.agent.restore`."""
    return {
        "seed": os.urandom(SEED_LENGTH).hex(),
        "shift": shift,
        "hostname": hostname,
        "token": token,
        "cpus": cpus,
        "memory": memory,
        "latent": latent,
    }


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


def _counts(places: Sequence[Device]) -> dict[str, int]:
    return dict(Counter(kind_of(device) for device in places if not isinstance(device, Latent)))
