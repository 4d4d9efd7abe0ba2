"""A guest that stood still is brought up to date: its clock, and its random numbers if it may have a twin."""

from __future__ import annotations

import os
import time

from gavotte.guest.agent import SEED_LENGTH
from gavotte.guest.channel import Channel

__all__ = ["renew_guest", "set_clock", "shift_clock"]

_TRIPS = 5
_MOST_TRIPS = 20
_PATIENCE = 30.0  # seconds for all of them
_TRIP = 0.01  # seconds that a request and its answer take at most, once they are known


async def renew_guest(channel: Channel) -> None:
    """Bring a guest up to date that was loaded from a file, from which others may be loaded too.

    Done before any command that is started after it. Raises AgentError.
    """
    await channel.request("renew", seed=_seed(), time=time.time())
    await set_clock(channel)


async def set_clock(channel: Channel) -> None:
    """Set the guest's clock to ours: several times, as the first take long, and the way there is half of a trip.

    It goes on, to a limit, until one was not held up: the clock would stay late by so much.
    """
    until = time.monotonic() + _PATIENCE
    trips: list[float] = []
    half = _TRIP / 2
    while len(trips) < _TRIPS or (trips[-1] > 1.5 * min(trips) and len(trips) < _MOST_TRIPS):
        if time.monotonic() > until:
            return
        began = time.monotonic()
        await channel.request("renew", time=time.time() + half)
        trips.append(time.monotonic() - began)
        half = min(half, trips[-1] / 2)


async def shift_clock(channel: Channel, seconds: float, *, reseed: bool = False, wait: bool = True) -> None:
    """Have the guest's clock, which was right, be right again after the guest stood still for so long; with `reseed`,
    have it draw other random numbers from now on as well. Unless one is to `wait`, the guest is about to do so, and
    does nothing else before: a command that is started next is refused where it can't."""
    seed = _seed() if reseed else ""
    if wait:
        await channel.request("renew", seed=seed, shift=seconds)
        return
    await channel.tell("renew", seed=seed, shift=seconds, silent=True)


def _seed() -> str:
    return os.urandom(SEED_LENGTH).hex()
