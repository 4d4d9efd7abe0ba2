"""A guest that stood still is brought up to date: its clock, and its random numbers if it may have a twin."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from gavotte.guest.agent import SEED_LENGTH
from gavotte.guest.channel import Channel

__all__ = ["correct_clock", "renew_guest"]

_OFF = 0.005  # seconds that a clock may be off before it is set again


async def renew_guest(channel: Channel, *, reseed: bool) -> None:
    """Set its clock; and, if it was loaded and so may have a twin, have it draw other random numbers from now on.

    Done before any command that is started after it. Raises AgentError.
    """
    seed = os.urandom(SEED_LENGTH).hex() if reseed else ""
    await correct_clock(channel, await channel.request("renew", seed=seed, time=time.time()))


async def correct_clock(channel: Channel, answer: Mapping[str, Any]) -> None:
    """Set the clock once more, if the first time took long: an emulated guest needs a tenth of a second to wake up.

    Its answer was quick: it isn't waited for. Commands come after it.
    """
    if abs(time.time() - float(answer["time"])) > _OFF:
        await channel.tell("renew", time=time.time())
