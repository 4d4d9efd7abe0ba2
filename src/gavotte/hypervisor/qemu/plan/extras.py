"""Small devices, each of one or two steps; and any other."""

from __future__ import annotations

import os

from gavotte.errors import InvalidMachine, UsageError
from gavotte.hypervisor.devices import Balloon, PvPanic, Raw, Rng, VmGenId, Vsock, Watchdog
from gavotte.hypervisor.qemu.plan.names import part
from gavotte.hypervisor.qemu.plan.wire import Wire
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import Json, PropertyMap, Recipe, Step

__all__ = ["plan_balloon", "plan_pvpanic", "plan_raw", "plan_rng", "plan_vmgenid", "plan_vsock", "plan_watchdog"]

_CIDS = range(3, 2**32 - 1)  # the first are the hypervisor's and the host's, the last means any (vsock(7))


def plan_rng(rng: Rng, row: Machine, place: PropertyMap) -> Recipe:
    """The host's file, and the device that reads it. Raises UsageError for a bound without its period."""
    if bool(rng.max_bytes) != bool(rng.period):
        missing = "period" if rng.max_bytes else "max_bytes"
        raise UsageError("a bound is so many bytes in so many milliseconds", path=missing, hint="give both, or neither")
    bound: dict[str, Json] = {"max-bytes": rng.max_bytes, "period": rng.period} if rng.period else {}
    # QEMU finds a link's end by the last name of a path, and `rng` is a property's name too
    file = part(rng.id, "file")
    return (
        Step("object", {"qom-type": "rng-random", "id": file, "filename": os.fspath(rng.filename)}),
        Step("device", {"driver": f"virtio-rng-{row.virtio}", "id": rng.id, "rng": file, **bound, **place}),
    )


def plan_balloon(balloon: Balloon, row: Machine, place: PropertyMap) -> Recipe:
    props: PropertyMap = {
        "driver": f"virtio-balloon-{row.virtio}",
        "id": balloon.id,
        "deflate-on-oom": balloon.deflate_on_oom,
        "free-page-reporting": balloon.free_page_reporting,
        **place,
    }
    return (Step("device", props),)


def plan_watchdog(watchdog: Watchdog, row: Machine, place: PropertyMap) -> Recipe:
    """What happens when it fires is set by `tune`."""
    driver = "diag288" if row.virtio == "ccw" else "i6300esb"
    return (Step("device", {"driver": driver, "id": watchdog.id, **place}),)


def plan_vmgenid(device: VmGenId) -> Recipe:
    return (Step("device", {"driver": "vmgenid", "id": device.id, "guid": device.guid}),)


def plan_pvpanic(device: PvPanic, place: PropertyMap) -> Recipe:
    return (Step("device", {"driver": "pvpanic-pci", "id": device.id, **place}),)


def plan_vsock(vsock: Vsock, row: Machine, place: PropertyMap, wire: Wire) -> Recipe:
    """Raises UsageError for an address that no guest may have."""
    if vsock.cid not in _CIDS:
        raise UsageError(f"{vsock.cid} is no guest's address", path="cid", hint=f"from {_CIDS[0]} to {_CIDS[-1]}")
    driver = f"vhost-vsock-{row.virtio}"
    return (
        Step("device", {"driver": driver, "id": vsock.id, "guest-cid": vsock.cid, **wire.props, **place}, wire.fds),
    )


def plan_raw(raw: Raw, place: PropertyMap) -> Recipe:
    """Raises InvalidMachine for a network that has QEMU start a program: its sandbox ends it for the attempt."""
    problems = [problem for n, step in enumerate(raw.backends) for problem in _programs_of(step, f"recipe[{n}]")]
    if problems:
        raise InvalidMachine(problems)
    return (*raw.backends, Step("device", {**raw.props, "id": raw.id, **place}))


def _programs_of(step: Step, path: str) -> list[UsageError]:
    """What would have QEMU start a program (qapi/net.json: NetdevTapOptions, NetdevBridgeOptions, NetdevUserOptions),
    which `-sandbox spawn=deny` makes the end of QEMU."""
    if step.kind != "netdev":
        return []
    kind, props = step.props.get("type"), step.props
    culprits: dict[str, str] = {}
    if kind == "bridge":
        culprits["type"] = "give a tap's descriptor instead (gavotte.Tap)"
    if kind == "tap":
        culprits |= dict.fromkeys(props.keys() & {"helper"}, "open the tap yourself, and give its ifname")
        if not props.keys() & {"fd", "fds", "helper"}:
            scripts = ("script", "downscript")
            culprits |= {name: f'write "{name}": "no"' for name in scripts if props.get(name) not in ("no", "")}
    if kind == "user":
        culprits |= dict.fromkeys(props.keys() & {"smb"}, "share files by 9p or virtiofs (gavotte.Share)")
        if "cmd:" in str(props.get("guestfwd")):
            culprits["guestfwd"] = "forward to a socket"
    problem = "this has QEMU start a program, which it may not"
    return [UsageError(problem, path=f"{path}.{name}", hint=hint) for name, hint in culprits.items()]
