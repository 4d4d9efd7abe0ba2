"""Any device by purpose, as the steps that make it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gavotte.errors import Bug, UsageError
from gavotte.hypervisor.devices import (
    Balloon,
    Console,
    Device,
    Disk,
    Latent,
    Nic,
    Port,
    PvPanic,
    Raw,
    Rng,
    Share,
    VmGenId,
    Vsock,
    Watchdog,
)
from gavotte.hypervisor.qemu.plan.disk import plan_disk
from gavotte.hypervisor.qemu.plan.extras import (
    plan_balloon,
    plan_pvpanic,
    plan_raw,
    plan_rng,
    plan_vmgenid,
    plan_vsock,
    plan_watchdog,
)
from gavotte.hypervisor.qemu.plan.latent import plan_latent
from gavotte.hypervisor.qemu.plan.names import check_id
from gavotte.hypervisor.qemu.plan.nic import plan_nic
from gavotte.hypervisor.qemu.plan.seat import BROUGHT, plan_controller, seat_of
from gavotte.hypervisor.qemu.plan.serial import plan_serial
from gavotte.hypervisor.qemu.plan.share import plan_share
from gavotte.hypervisor.qemu.plan.wire import Wire
from gavotte.qemu.machines import Machine
from gavotte.qemu.props import PropertyMap, Recipe, Step
from gavotte.qemu.shape import within

__all__ = ["plan_device", "plan_devices"]


def plan_devices(devices: Sequence[Device], row: Machine, wires: Mapping[str, Wire], *, machine: str = "") -> Recipe:
    """The machine's own devices, with the controllers that they need, on its own bus."""
    steps: list[Step] = []
    seated: Counter[str] = Counter()
    for index, device in enumerate(devices):
        seat = seat_of(device, row)
        place: PropertyMap = {}
        if bus := BROUGHT.get(seat):
            if not seated[seat]:
                steps += plan_controller(seat, row, {})
            place = bus.props(bus.first + seated[seat])
            seated[seat] += 1
        try:
            steps += plan_device(device, row, place, wires.get(device.id), machine=machine)
        except UsageError as error:
            raise within(f"devices[{index}]", error) from error
    return tuple(steps)


def plan_device(
    device: Device, row: Machine, place: PropertyMap, wire: Wire | None = None, *, machine: str = ""
) -> Recipe:
    """The steps that make `device`, back ends first.

    `place` says where it sits, in QEMU's words; empty leaves that to QEMU. `wire` is what `Wiring` gives for it.
    `machine` is the machine's name. Raises UsageError, whose `path` is the device's field, for what QEMU would refuse
    or cut.
    """
    check_id(device.id)
    match device:
        case Disk():
            return plan_disk(device, row, place, wire)
        case Nic():
            return plan_nic(device, row, place, wire, machine=machine)
        case Share():
            return plan_share(device, row, place, wire)
        case Rng():
            return plan_rng(device, row, place)
        case Balloon():
            return plan_balloon(device, row, place)
        case Watchdog():
            return plan_watchdog(device, row, place)
        case VmGenId():
            return plan_vmgenid(device)
        case PvPanic():
            return plan_pvpanic(device, place)
        case Latent():
            return plan_latent(device, row, place, machine=machine)
        case Raw():
            return plan_raw(device, place)
        case Port() | Console() if wire is not None:
            return plan_serial(device, place, wire)
        case Vsock() if wire is not None:
            return plan_vsock(device, row, place, wire)
    raise Bug(f"no plan for {device!r}, which leads nowhere")
