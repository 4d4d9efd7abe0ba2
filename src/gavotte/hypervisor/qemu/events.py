"""QEMU's events as the types of `gavotte.hypervisor.events` (qapi/run-state.json, block-core.json, qdev.json)."""

from __future__ import annotations

from gavotte.hypervisor.events import (
    BlockError,
    GuestPanicked,
    MemoryChanged,
    Paused,
    Resumed,
    Unplugged,
    VmEvent,
    VmReset,
    VmShutdown,
    WatchdogFired,
)
from gavotte.qmp.wire import Event, Json

__all__ = ["translate"]


def translate(event: Event) -> VmEvent | None:
    """What an event of QMP means; None for one that means nothing here."""
    data = event.data
    match event.name:
        case "STOP":
            return Paused()
        case "RESUME":
            return Resumed()
        case "SHUTDOWN":
            return VmShutdown(_word(data.get("reason")), data.get("guest") is True)
        case "RESET":
            return VmReset(_word(data.get("reason")), data.get("guest") is True)
        case "GUEST_PANICKED":
            info = data.get("info")
            return GuestPanicked(_word(data.get("action")), info if isinstance(info, dict) else {})
        case "WATCHDOG":
            return WatchdogFired(_word(data.get("action")))
        case "BLOCK_IO_ERROR":
            return BlockError(
                device=_word(data.get("device")) or _word(data.get("qom-path")),
                node=_word(data.get("node-name")),
                operation=_word(data.get("operation")),
                action=_word(data.get("action")),
                reason=_word(data.get("reason")),
                nospace=data.get("nospace") is True,
            )
        case "MEMORY_DEVICE_SIZE_CHANGE":
            return MemoryChanged(_word(data.get("id")) or _word(data.get("qom-path")), _number(data.get("size")))
        case "DEVICE_DELETED" if "device" in data:  # without an id it is a part of a device that has one
            return Unplugged(_word(data["device"]))
    return None


def _word(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0
