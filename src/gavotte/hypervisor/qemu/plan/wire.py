"""Where a device reaches the outside of its machine."""

from __future__ import annotations

from gavotte.qemu.props import Fd, PropertyMap
from gavotte.values import dataclass

__all__ = ["Wire"]


@dataclass(frozen=True)
class Wire:
    """A chardev's back end without its id, or the part of a netdev's or device's map that says where it leads.

    A descriptor goes by the number that QEMU will have, when it is started with it; else by the name of one of `fds`.
    """

    props: PropertyMap
    fds: tuple[Fd, ...] = ()
