"""What was for another manager, on a line that is taken over."""

from __future__ import annotations

from gavotte.guest.breach import Breach
from gavotte.text import size_text

__all__ = ["StaleFilter"]

_MOST = 64 << 20  # bytes of an earlier manager's that may come before the answer


class StaleFilter:
    """Drops all that comes before `needle`, which is the token with the beginning of the answer behind it."""

    def __init__(self, token: bytes, answer: bytes) -> None:
        self._token = token
        self._needle = token + answer
        self._held = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> bytes:
        """What of `data` is for us: from the answer on. Raises Breach for too much of the other."""
        if not self._needle:
            return data
        self._held += data
        at = self._held.find(self._needle)
        if at < 0:
            stale = max(0, len(self._held) - len(self._needle))
            self._dropped += stale
            if self._dropped > _MOST:
                raise Breach(f"more than {size_text(_MOST)} came that answer another manager")
            del self._held[:stale]
            return b""
        ours = bytes(self._held[at + len(self._token) :])
        self._needle = b""
        self._held.clear()
        return ours
