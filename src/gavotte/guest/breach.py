"""A guest that doesn't keep to the protocol."""

from __future__ import annotations

__all__ = ["Breach"]


class Breach(Exception):
    """How the guest broke the protocol, in words of our own. The channel ends the line with an AgentError of it."""
