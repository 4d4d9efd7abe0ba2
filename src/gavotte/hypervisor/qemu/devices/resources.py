"""What connects a machine's devices to this host: sockets, descriptors that are lent, processes that serve a device."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from gavotte.errors import HostError, StateError, Unsupported, UsageError
from gavotte.hypervisor.devices import Console, Device, Disk, Nic, Passt, Port, Share, Stream, Tap, VmGenId, Vsock
from gavotte.hypervisor.qemu.capabilities import VSOCK
from gavotte.hypervisor.qemu.devices.diskfile import check_disk
from gavotte.hypervisor.qemu.devices.sockets import forget_end, open_end, reopen
from gavotte.hypervisor.qemu.helpers.process import Helper
from gavotte.hypervisor.qemu.plan import Wire
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.props import Fd

__all__ = ["OnHelperEnd", "Wiring"]

OnHelperEnd: TypeAlias = Callable[[str, str, str], None]
"""Called with the id of the device, the program, and why it ended, when a helper ends unasked."""


class _Lender:
    """Descriptors on their way to QEMU: by number, through the ledger of its start, or by name, when it runs."""

    def __init__(self, ledger: FdLedger, *, hot: bool) -> None:
        self.ledger = ledger
        self.fds: tuple[Fd, ...] = ()
        self._hot = hot

    def lend(self, file: int, name: str) -> str:
        """Take `file` over; gives the word that stands for it in a map."""
        return self.word(self.ledger.give(file, name), name)

    def copy(self, number: int, name: str) -> str:
        """Lend a copy of the caller's descriptor. Raises HostError when it is closed."""
        try:
            return self.lend(os.dup(number), name)
        except OSError as e:
            raise HostError(f"can't lend fd {number} as {name}: {e.strerror}", hint="is it still open?") from e

    def word(self, number: int, name: str) -> str:
        """The word for a descriptor that the ledger has already."""
        if not self._hot:
            return str(number)
        self.fds += (Fd(name, number),)
        return name


class Wiring:
    """Owns our ends of ports and the helper processes of one machine, each by its device's id.

    With a `directory`, the machine is kept: its ports listen there, and its helpers outlive this process.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        shared_memory: bool = False,
        on_helper_end: OnHelperEnd | None = None,
    ) -> None:
        self._directory = directory
        self._shared_memory = shared_memory
        self._on_helper_end = on_helper_end
        self._ports: dict[str, int] = {}
        self._lent: dict[str, FdLedger] = {}
        self._helpers: dict[str, Helper] = {}

    def check(self, device: Device, *, hot: bool) -> None:
        """Raises what can be known to be wrong before anything happens: Unsupported, HostError, UsageError."""
        match device:
            case Disk():
                check_disk(device)
            case Share():
                self._check_share(device, hot=hot)
            case Nic(net=Tap(fds=fds, vhost_fds=vhost_fds)):
                if not fds or len(vhost_fds) not in (0, len(fds)):
                    raise UsageError(
                        f"{len(fds)} queues, and {len(vhost_fds)} descriptors of vhost-net",
                        path="net",
                        hint="one for each queue, or none",
                    )
            case VmGenId() if hot:
                raise Unsupported(
                    "vmgenid in a machine that runs", "QEMU makes it at its start only", hint="give it before the start"
                )

    def _check_share(self, share: Share, *, hot: bool) -> None:
        path = Path(share.path)
        if not path.is_absolute():
            raise UsageError(f"{share.path} is relative", path="path", hint="make it absolute")
        if not path.is_dir():
            raise HostError(f"can't share {share.path}: it is no directory", hint="a file is for a Disk")
        if share.kind == "9p" and hot:
            raise Unsupported(
                "9p in a machine that runs",
                "QEMU has no command that adds the directory",
                hint="give the share before the start, or use kind='virtiofs'",
            )
        if share.kind == "virtiofs" and not self._shared_memory:
            raise Unsupported(
                "virtiofs",
                "the machine's memory can't be seen by virtiofsd",
                hint="start the machine with shared_memory=True, or use kind='9p' before the start",
            )

    async def cold(self, device: Device, ledger: FdLedger) -> Wire | None:
        """What `device` leads to, for a QEMU that is about to start with `ledger`; None for a device of its own.

        Raises what `check` does, and HostError and Unsupported for a helper that doesn't start.
        """
        self.check(device, hot=False)
        await self.drop(device.id)  # given twice: the check of the machine says so
        return await self._wire(device, _Lender(ledger, hot=False))

    async def hot(self, device: Device) -> Wire | None:
        """The same for a QEMU that runs, of a device that passed `check`: descriptors go by name, and are ours until
        `settle` or `drop`."""
        await self.drop(device.id)
        ledger = self._lent[device.id] = FdLedger()
        return await self._wire(device, _Lender(ledger, hot=True))

    async def _wire(self, device: Device, lender: _Lender) -> Wire | None:
        try:
            props = await self._connect(device, lender)
        except BaseException as error:
            await self.drop(device.id)
            if isinstance(error, OSError):
                raise HostError(f"can't connect {device.id!r}: {error.strerror}", hint="see `ulimit -n`") from error
            raise
        return None if props is None else Wire(props, lender.fds)

    async def _connect(self, device: Device, lender: _Lender) -> dict[str, Any] | None:
        id = device.id
        match device:
            case Port() | Console():
                ours, props = open_end(id, lender.ledger, self._directory)
                self._ports[id] = ours.detach()
                return {**props, "fd": lender.word(int(str(props["fd"])), id)}
            case Disk():
                return {"driver": "host_device"} if check_disk(device) else None
            case Nic(net=Tap() as tap):
                return _tap(id, tap, lender)
            case Nic(net=Stream(fd=fd)):
                return {"fd": lender.copy(fd, id)}
            case Nic(net=Passt() as passt):
                return {"fd": lender.lend(await self._start_passt(id, passt), id)}
            case Share(kind="virtiofs"):
                return {"backend": "socket", "fd": lender.lend(await self._start_virtiofsd(device), id)}
            case Vsock(fd=None):
                return {"vhostfd": lender.lend(_open_vsock(), id)}
            case Vsock(fd=int(fd)):
                return {"vhostfd": lender.copy(fd, id)}
        return None

    async def _start_passt(self, id: str, net: Passt) -> int:
        from gavotte.hypervisor.qemu.helpers.passt import (
            start_passt,  # who has no helper doesn't wait for what they import
        )

        helper, end = await start_passt(id, net, directory=self._directory)
        self._keep(helper)
        return end

    async def _start_virtiofsd(self, share: Share) -> int:
        from gavotte.hypervisor.qemu.helpers.virtiofsd import start_virtiofsd

        helper, end = await start_virtiofsd(share, directory=self._directory)
        self._keep(helper)
        return end

    def _keep(self, helper: Helper) -> None:
        self._helpers[helper.id] = helper
        helper.watch(self._ended)

    def _ended(self, helper: Helper, why: str) -> None:
        if self._on_helper_end is not None:
            self._on_helper_end(helper.id, helper.program, why)

    def settle(self, id: str) -> None:
        """Close our copies of what was lent for a plug that has been done: QEMU has its own."""
        if ledger := self._lent.pop(id, None):
            ledger.close()

    async def drop(self, id: str) -> None:
        """Free what was made for a device that has gone, or never came."""
        self.settle(id)
        port = self._ports.pop(id, -1)
        if port >= 0:
            os.close(port)
        if self._directory is not None:
            forget_end(id, self._directory)
        if helper := self._helpers.pop(id, None):
            await helper.stop()

    def take_port(self, id: str) -> int:
        """Our end of a port, the caller's from now on. Raises StateError when there is none, or it was taken."""
        if id not in self._ports and self._directory is not None:
            return reopen(id, self._directory).detach()  # closed by its last owner, or by the death of that
        if id not in self._ports:
            raise StateError(f"there is no port {id!r} to take", hint="a port has one end, which is taken once")
        return self._ports.pop(id)

    @property
    def pids(self) -> dict[str, int]:
        """The helpers that run, by their devices' ids."""
        return {id: helper.pid for id, helper in self._helpers.items() if helper.running}

    def helpers_to_json(self) -> list[dict[str, Any]]:
        """What `adopt` reads."""
        return [helper.to_json() for helper in self._helpers.values() if helper.running]

    def adopt(self, records: Sequence[object]) -> None:
        """Take over helpers that another process started: those that still run. Raises UsageError for bad records."""
        for record in records:
            helper = Helper.adopt(record, self._directory)
            if helper is not None:
                self._keep(helper)

    def leave(self) -> None:
        """Close what is ours, and let the helpers of a kept machine go on."""
        self._close(Helper.leave)

    def close(self) -> None:
        """Free everything, at once."""
        self._close(Helper.close)

    def _close(self, part: Callable[[Helper], None]) -> None:
        with ExitStack() as stack:
            while self._helpers:
                stack.callback(part, self._helpers.popitem()[1])
            while self._lent:
                stack.callback(self._lent.popitem()[1].close)
            while self._ports:
                stack.callback(os.close, self._ports.popitem()[1])


def _tap(id: str, tap: Tap, lender: _Lender) -> dict[str, Any]:
    props = {"fds": ":".join(lender.copy(fd, f"{id}.{n}") for n, fd in enumerate(tap.fds))}
    if not tap.vhost_fds:
        return props
    vhost = ":".join(lender.copy(fd, f"{id}.vhost{n}") for n, fd in enumerate(tap.vhost_fds))
    return {**props, "vhost": True, "vhostfds": vhost}


def _open_vsock() -> int:
    try:
        return os.open(VSOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        raise Unsupported("vsock", f"can't open {VSOCK}: {e.strerror}", hint="see who may, with ls -l") from e
