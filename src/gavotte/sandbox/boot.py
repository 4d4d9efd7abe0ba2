"""From a request to a guest that answers: the machine that is planned, started, and waited for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gavotte.errors import AgentError, GuestSilent
from gavotte.guest import agent
from gavotte.guest.channel import Channel
from gavotte.hypervisor.devices import Disk, Port, Rng
from gavotte.hypervisor.interface import MachineConfig, MemoryFile
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.spec import Spec

__all__ = ["AGENT_PORT", "ROOT", "attach_machine", "last_words_of", "machine_config", "start_machine"]

AGENT_PORT = "agent"
_ROOT_SERIAL = "gavotte-root"
ROOT = {"serial": _ROOT_SERIAL, "fstype": "squashfs"}  # by which the agent finds it

# A panic must end the process, not loop (with QEMU's -no-reboot); `quiet`, since each character of an emulated
# serial port costs microseconds.
_APPEND = "quiet panic=-1 reboot=t"

# QEMU keeps translated code by its virtual address: with addresses that change at each exec, it translates
# /bin/true and its libraries anew each time, 30 ms instead of 8. The machine is the boundary, not the layout. What else
# the kernel does beside its work is translated as well: statistics of pressure, watchdogs, security modules that have
# no policy here. `no_timer_check`, as under KVM: that check gives the timer a time that is counted in cycles, too short
# where the host has none for the emulator, and panics ("IO-APIC + timer doesn't work!").
_APPEND_FOR = {"tcg": "norandmaps no_timer_check psi=0 nowatchdog audit=0 lsm=landlock,yama"}

# Without the first, Debian's kernel leaves memory that is added by virtio-mem offline; movable, so that it can be given
# back. The second is 4 MiB, where 64 would be set aside for devices that can't reach so far, which a virtio device can.
_APPEND_GROWING = "memhp_default_state=online_movable swiotlb=2048"


def machine_config(
    name: str, spec: Spec, accel: str, files: Artifacts, memory_file: MemoryFile | None = None
) -> MachineConfig:
    """The machine for a sandbox. Pure."""
    serial = machine_row(spec.arch, spec.machine).serial
    growing = _APPEND_GROWING if spec.max_memory else None
    return MachineConfig(
        name=name,
        arch=spec.arch,
        machine=spec.machine,
        accel=accel,
        vcpus=spec.cpus,
        memory=spec.memory,
        kernel=spec.kernel or files.kernel,
        initrd=spec.initrd or files.initrd,
        append=" ".join(filter(None, (f"console={serial}", _APPEND, _APPEND_FOR.get(accel), growing, spec.append))),
        devices=(
            Rng("entropy"),
            Port(AGENT_PORT, agent.PORT_NAME),
            Disk("root", files.rootfs, _ROOT_SERIAL, read_only=True),
        ),
        max_vcpus=spec.max_cpus,
        max_memory=spec.max_memory,
        slots=max(spec.slots, len(spec.devices)),
        shared_memory=spec.shared_memory,
        memory_file=memory_file,
    )


async def start_machine(vm: QemuVm, seconds: float) -> Channel:
    """Start the machine and wait until its agent answers. Nothing is left when it doesn't.

    Raises QemuExited, GuestDied and GuestSilent.
    """
    try:
        await vm.start()
        return await wait_for_agent(vm, seconds)
    except BaseException:
        await asyncio.shield(vm.stop())
        raise


async def attach_machine(directory: Path, token: str, stored: Mapping[int, tuple[int, int]]) -> tuple[QemuVm, Channel]:
    """Take over a machine that was kept, and the line to its agent; `stored` as for `Channel.attach`. It is left as it
    is when that fails."""
    vm = await QemuVm.attach(directory)
    try:
        sock = socket.socket(fileno=vm.take_port(AGENT_PORT))
        return vm, await Channel.attach(sock, token, last_words_of(vm), stored=stored)
    except BaseException:
        await vm.detach()
        raise


def last_words_of(vm: QemuVm) -> Callable[[], Awaitable[str]]:
    """What is known of the guest's end, when the line to it breaks."""

    async def last_words() -> str:
        return str(await vm.explain_end())

    return last_words


async def wait_for_agent(vm: QemuVm, seconds: float) -> Channel:
    """The line to the guest's agent, once it has said hello."""
    channel = Channel(socket.socket(fileno=vm.take_port(AGENT_PORT)), last_words_of(vm))
    try:
        signs: list[asyncio.Future[Any]] = [channel.hello, vm.ended]
        await asyncio.wait(signs, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if vm.ended.done():
            raise await vm.explain_end()
        if not channel.hello.done():
            raise GuestSilent(
                f"the guest gave no answer within {seconds:g} s",
                ending=vm.console_words(),
                console=vm.console,
                hint="look at its console with --verbose --append 'loglevel=7', or allow more time (--boot-timeout); "
                "`gavotte check --probe` finds out whether guests run on this host at all",
            )
        protocol = channel.hello.result()
        if protocol != agent.PROTOCOL:
            raise AgentError(
                f"the guest's agent speaks protocol {protocol}, this Gavotte {agent.PROTOCOL}",
                hint="rebuild the image: gavotte image build",
            )
        return channel
    except BaseException:
        await channel.close()
        raise
