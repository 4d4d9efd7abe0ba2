"""Whether QEMU has what a step makes."""

from __future__ import annotations

from typing import Any, Final

from gavotte.qemu.props import Kind, Step
from gavotte.qmp.client import Deadline, QmpClient

__all__ = ["has_step", "is_there", "name_of", "names_of"]

# The query, its arguments, and what names a thing in the answer. QEMU has no query for net back ends.
_QUERIES: Final[dict[Kind, tuple[str, dict[str, Any], str]]] = {
    "object": ("qom-list", {"path": "/objects"}, "name"),
    "device": ("qom-list", {"path": "/machine/peripheral"}, "name"),
    "chardev": ("query-chardev", {}, "label"),
    "blockdev": ("query-named-block-nodes", {"flat": True}, "node-name"),
}


async def has_step(client: QmpClient, step: Step, *, deadline: float = Deadline.QUICK) -> bool | None:
    """Tells whether QEMU has what that step makes; see `is_there`."""
    return await is_there(client, step.kind, name_of(step), deadline=deadline)


def name_of(step: Step) -> str:
    """Gives the name by which QEMU knows what that step makes."""
    return str(step.props.get("node-name" if step.kind == "blockdev" else "id"))


async def is_there(client: QmpClient, kind: Kind, id: str, *, deadline: float = Deadline.QUICK) -> bool | None:
    """Tells whether there is such a thing of that id; None for a kind that QEMU can't be asked about.

    Raises what `execute` does.
    """
    return id in await names_of(client, kind, deadline=deadline) if kind in _QUERIES else None


async def names_of(client: QmpClient, kind: Kind, *, deadline: float = Deadline.QUICK) -> frozenset[str]:
    """Gives the names of all of a kind that QEMU has. Raises KeyError for a kind that QEMU can't be asked about."""
    command, arguments, key = _QUERIES[kind]
    listing: Any = await client.execute(command, arguments, deadline=deadline)
    return frozenset(entry.get(key, "") for entry in listing)
