"""Whether QEMU has what a step makes."""

from __future__ import annotations

from typing import Any, Final

from gavotte.qemu.props import Kind, Step
from gavotte.qmp.client import Deadline, QmpClient

__all__ = ["has_step", "is_there"]

# The query, its arguments, and what names a thing in the answer. QEMU has no query for net back ends.
_QUERIES: Final[dict[Kind, tuple[str, dict[str, Any], str]]] = {
    "object": ("qom-list", {"path": "/objects"}, "name"),
    "device": ("qom-list", {"path": "/machine/peripheral"}, "name"),
    "chardev": ("query-chardev", {}, "label"),
    "blockdev": ("query-named-block-nodes", {"flat": True}, "node-name"),
}


async def has_step(client: QmpClient, step: Step, *, deadline: float = Deadline.QUICK) -> bool | None:
    """Tells whether QEMU has what that step makes; see `is_there`."""
    name = step.props.get("node-name" if step.kind == "blockdev" else "id")
    return await is_there(client, step.kind, str(name), deadline=deadline)


async def is_there(client: QmpClient, kind: Kind, id: str, *, deadline: float = Deadline.QUICK) -> bool | None:
    """Tells whether there is such a thing of that id; None for a kind that QEMU can't be asked about.

    Raises what `execute` does.
    """
    if kind not in _QUERIES:
        return None
    command, arguments, key = _QUERIES[kind]
    listing: Any = await client.execute(command, arguments, deadline=deadline)
    return any(entry.get(key) == id for entry in listing)
