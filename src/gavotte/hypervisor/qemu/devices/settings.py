"""What is said of devices once they are there, and not when they are made."""

from __future__ import annotations

from collections.abc import Iterable

from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.qemu.plan import tune
from gavotte.qemu.props import plain
from gavotte.qmp.client import QmpClient

__all__ = ["tune_devices"]


async def tune_devices(client: QmpClient, devices: Iterable[Device]) -> None:
    """Say of devices what is said once they are there."""
    for device in devices:
        for command, arguments in tune(device):
            await client.execute(command, plain(arguments))
