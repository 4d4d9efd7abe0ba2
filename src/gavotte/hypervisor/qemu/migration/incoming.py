"""What QEMU is told so that it loads a state and runs on from there: all of it at once, before it can answer.

Source: QEMU, qapi/migration.json (`x-ignore-shared`) and qapi/misc.json (`cont`, which while a state is loaded has the
guest run when that is done).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gavotte.qmp.wire import Json, Words

__all__ = ["IGNORE_SHARED", "STATE", "switch", "words_to_load"]

STATE: Final = "state"
"""What the state's descriptor is for, in the ledger."""

IGNORE_SHARED: Final = "x-ignore-shared"


def switch(*capabilities: str, on: bool = True) -> dict[str, Json]:
    """The arguments of `migrate-set-capabilities` that switch these on, or off."""
    return {"capabilities": [{"capability": name, "state": on} for name in capabilities]}


def words_to_load(number: int) -> Sequence[Words]:
    """For a QEMU that was started with `-incoming defer`, and has the state at that descriptor; without the memory that
    is in a file."""
    return (
        ("qmp_capabilities", {"enable": ["oob"]}),
        ("migrate-set-capabilities", switch("events", IGNORE_SHARED)),
        ("migrate-incoming", {"uri": f"fd:{number}"}),
        ("cont", None),
    )
