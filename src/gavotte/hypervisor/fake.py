"""A machine in memory, with a guest that does what a script says: for tests and docs of what is built on the interface.

It keeps the interface's rules as the real driver does: states, turns, errors, bounds, events. There is no process, and
nothing takes time, except what a script holds up.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from gavotte.arguments import StrPath
from gavotte.errors import (
    GavotteError,
    GuestDied,
    HostError,
    OutcomeUnknown,
    SaveFailed,
    StateError,
    UnplugRefused,
    UsageError,
)
from gavotte.hypervisor import devices, events
from gavotte.hypervisor.devices import Device
from gavotte.hypervisor.events import EventStream, Streams, VmEvent
from gavotte.hypervisor.interface import (
    Ability,
    Capabilities,
    Checked,
    Health,
    MachineConfig,
    Memory,
    OnProgress,
    PoliteRung,
    Progress,
    Vcpu,
    VmState,
    abilities_for,
    check_file,
)
from gavotte.hypervisor.operation_lock import OperationInterrupted, OperationLock
from gavotte.hypervisor.serialization import device_from_json, device_to_json
from gavotte.qemu.fds import socketpair
from gavotte.text import harmless, size_text

__all__ = ["FakeVm", "Script", "Unplugging"]

Unplugging: TypeAlias = Literal["accept", "refuse", "ignore"]

_NOBODY = 1 << 22  # no process or thread of Linux has a number from here on (PID_MAX_LIMIT), so none can be hit
_BLOCK = 2 << 20
_MAGIC = b"gavotte fake machine 1\n"
_GOING = (VmState.RUNNING, VmState.PAUSED)


@dataclass
class Script:
    """What the guest does, and what its hypervisor can't. May be changed while it runs.

    `unplug` is its answer when a device is to go, by the device's id or for all. It takes up to `memory` bytes beside
    those of its start, and goes up to `vcpus` vCPUs in all (None: as many as it is given). `during` is awaited within
    each call, with the method's name, when its turn has come: it may hold the call up, raise, or have the guest panic.
    """

    console: str = ""
    unplug: Unplugging | Mapping[str, Unplugging] = "accept"
    memory: int | None = None
    vcpus: int | None = None
    missing: Mapping[Ability, str] = field(default_factory=dict)
    during: Callable[[str], Awaitable[None]] | None = None

    def unplugging(self, id: str) -> Unplugging:
        """Its answer for one device."""
        return self.unplug if isinstance(self.unplug, str) else self.unplug.get(id, "accept")


class FakeVm:
    """The driver `fake`: see `gavotte.hypervisor.interface.Hypervisor` for its methods.

    The part of the guest is played by `script`, and by `prints`, `panics`, `powers_off` and `far_end`.
    """

    def __init__(self, config: MachineConfig, script: Script | None = None) -> None:
        self.config = config
        self.script = script or Script()
        self._state = VmState.CREATED
        self._lock = OperationLock()
        self._streams = Streams()
        self._gone = asyncio.Event()
        self._why: GavotteError | None = None
        self._plugged: dict[str, Device] = {}
        self._ports: dict[str, tuple[socket.socket, socket.socket]] = {}
        self._vcpus = config.vcpus
        self._pinned: dict[int, frozenset[int]] = {}
        limit = max(config.memory, config.max_memory)
        self._memory = Memory(config.memory, 0, 0, limit, _BLOCK if limit > config.memory else 0)
        self._console = ""
        self._viewers: list[socket.socket] = []
        self._panicked = ""

    # --- the guest's part ---------------------------------------------------------------------------------------------

    def prints(self, text: str) -> None:
        """The guest writes to its console."""
        self._console = (self._console + text)[-2048:]
        for guest in self._viewers:
            with suppress(BlockingIOError, BrokenPipeError):  # who reads too slowly, or has gone, misses it
                guest.send(text.encode())

    def typed(self) -> bytes:
        """What was typed into its console since it was asked last."""
        found = b""
        for guest in self._viewers:
            with suppress(BlockingIOError, ConnectionResetError):
                found += guest.recv(4096)
        return found

    def panics(self, reason: str, *, action: Literal["pause", "poweroff"] = "poweroff") -> None:
        """The guest's kernel panics; the machine then stands still, or ends."""
        self.prints(f"Kernel panic - not syncing: {reason}\n")
        self._panicked = reason
        self._streams.offer(events.GuestPanicked(action))
        if action == "pause":
            self._state = VmState.PAUSED
            self._streams.offer(events.Paused())
        else:
            self._end(GuestDied(f"the guest's kernel panicked ({reason})"))

    def powers_off(self) -> None:
        """The guest switches its machine off."""
        self._streams.offer(events.VmShutdown("guest-shutdown", by_guest=True))
        self._end(GuestDied("the guest ended by itself, guest-shutdown"))

    def far_end(self, id: str) -> socket.socket:
        """The guest's end of a Port or Console; the machine's, which closes it."""
        return self._port(id)[1]

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> VmState:
        return self._state

    def capabilities(self) -> Capabilities:
        return Capabilities({**_unprovided(self.config), **self.script.missing})

    async def start(self) -> None:
        async with self._beginning("start"):
            pass

    async def stop(self, *, polite: Sequence[PoliteRung] = (), force: bool = False) -> None:
        """End it, by the polite rungs first. A call that is under way is told so, and not waited for."""
        for _name, ask, seconds in () if force or self._state not in _GOING else polite:
            try:
                async with asyncio.timeout(seconds):
                    await ask()
                    await self._gone.wait()
                break
            except (TimeoutError, GavotteError):
                pass  # the next rung is for that
        await self.cleanup()

    async def wait(self, seconds: float | None = None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._gone.wait()
        except TimeoutError:
            return False

    async def reset(self) -> None:
        async with self._changing("reset", *_GOING, needs=(Ability.RESET,)):
            self._panicked = ""
            self._streams.offer(events.VmReset("host-qmp-system-reset", by_guest=False))
            self.prints(self.script.console)

    async def explain_end(self) -> GavotteError:
        return self._why or StateError(f"{self.config.name} is {self._state.value}, and didn't end by itself")

    def events(self, *kinds: type[VmEvent], limit: int = 256) -> EventStream:
        return EventStream(self._streams, kinds, limit)

    async def cleanup(self) -> None:
        """End it if it runs, and close its ports and its console."""
        self._end(None)
        while self._ports:
            self._disconnect(next(iter(self._ports)))

    # --- pausing, saving ----------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        async with self._changing("pause", *_GOING, needs=(Ability.PAUSE,)):
            self._move(VmState.PAUSED, events.Paused())

    async def resume(self) -> None:
        async with self._changing("resume", *_GOING, needs=(Ability.PAUSE,)):
            if self._panicked:
                raise StateError(f"{self.config.name} has panicked; reset it, or stop it")
            self._move(VmState.RUNNING, events.Resumed())

    async def save(self, target: StrPath | int, *, progress: OnProgress | None = None) -> None:
        file = check_file(target, "target")
        async with self._changing("save", *_GOING, needs=(Ability.SAVE,)):
            saved = {
                "devices": [device_to_json(device) for device in self._plugged.values()],
                "vcpus": self._vcpus,
                "plugged": self._memory.plugged,
            }
            data = _MAGIC + json.dumps(saved).encode() + b"\n"
            _write(file, data)
            _tell(progress, len(data))

    async def load(self, source: StrPath | int, *, progress: OnProgress | None = None) -> None:
        file = check_file(source, "source")
        async with self._beginning("load", Ability.SAVE):
            data = _read(file)
            if not data.startswith(_MAGIC) or not data.endswith(b"\n"):
                raise SaveFailed("this is no machine, or not all of one, that this driver saved")
            saved = json.loads(data[len(_MAGIC) :])
            self._plugged = {device.id: device for device in map(device_from_json, saved["devices"])}
            self._vcpus = saved["vcpus"]
            self._memory = replace(self._memory, plugged=saved["plugged"], requested=saved["plugged"])
            _tell(progress, len(data))

    async def freeze(self) -> bytes:
        async with self._changing("freeze", *_GOING, needs=(Ability.CLONE,)):
            self._check_file(private=False)
            if self._state is VmState.RUNNING:
                self._move(VmState.PAUSED, events.Paused())
            return _MAGIC + json.dumps({"devices": sorted(self._plugged), "vcpus": self._vcpus}).encode() + b"\n"

    async def clone(self, state: bytes, *, memory: int = 0) -> None:
        async with self._beginning("clone", Ability.CLONE):
            self._check_file(private=True)
            if not state.startswith(_MAGIC) or not state.endswith(b"\n"):
                raise SaveFailed("this is no state that this driver gave")
            if len(json.loads(state[len(_MAGIC) :])["devices"]) != len(self._plugged):
                raise SaveFailed("the template had other devices")
            self._memory = replace(self._memory, plugged=memory, requested=memory)

    def _check_file(self, *, private: bool) -> None:
        memory = self.config.memory_file
        if memory is None or memory.fd is None or memory.private is not private:
            raise UsageError("the memory's file is not of that kind", path="memory_file")
        try:
            os.fstat(memory.fd)
        except OSError as error:
            raise HostError(f"can't lend the memory's file: {error.strerror}", hint="is it still open?") from error

    # --- devices ------------------------------------------------------------------------------------------------------

    @property
    def plugged(self) -> Mapping[str, Device]:
        return {id: device for id, device in self._plugged.items() if not isinstance(device, devices.Latent)}

    async def plug(self, device: Device, *, deadline: float = 30.0) -> None:
        hot = (Ability.PLUG,) if self._state in _GOING else ()
        async with self._changing("plug", VmState.CREATED, *_GOING, needs=(*hot, *abilities_for(device))):
            if device.id in self._plugged or any(own.id == device.id for own in self.config.devices):
                raise UsageError(f"there is a device {device.id!r} already", path="id", hint="choose another id")
            if self._state in _GOING and isinstance(device, devices.Share) and device.kind == "9p":
                raise UsageError("9p can only be there from the start", path="kind", hint="share by virtiofs")
            if len(self._plugged) >= self.config.slots:
                problem = f"all {self.config.slots} places of {self.config.name} are taken"
                raise StateError(problem, hint="unplug a device, or create the machine with more slots")
            if self._state in _GOING:
                self._connect(device)
            self._plugged[device.id] = device

    async def unplug(self, id: str, *, deadline: float = 30.0) -> None:
        async with self._changing("unplug", VmState.CREATED, *_GOING):
            if id not in self._plugged:
                names = ", ".join(self._plugged) or "none"
                raise UsageError(f"no device {id!r} was plugged", path="id", hint=f"plugged are: {names}")
            if self._state in _GOING:
                await self._ask_to_go(id, deadline)
                self._streams.offer(events.Unplugged(id))
            del self._plugged[id]
            self._disconnect(id)

    async def _ask_to_go(self, id: str, deadline: float) -> None:
        if self._state is VmState.PAUSED:
            raise StateError(f"{id!r} goes when the guest lets it, and the guest is paused", hint="resume it first")
        answer = self.script.unplugging(id)
        if answer == "refuse":
            raise UnplugRefused(id)
        if answer == "ignore":
            await self.wait(deadline)  # the machine's end interrupts it
            raise OutcomeUnknown("unplug", f"{id!r} is not gone after {deadline:g} s")

    def take_port(self, id: str) -> int:
        ours = self._port(id)[0]
        if ours.fileno() < 0:
            raise StateError(f"port {id!r} was taken", hint="a port has one end, which is taken once")
        return ours.detach()

    # --- size ---------------------------------------------------------------------------------------------------------

    async def resize_vcpus(self, count: int, *, deadline: float = 30.0) -> int:
        async with self._changing("resize_vcpus", VmState.RUNNING, needs=_direction(count, self._vcpus, "VCPUS")):
            _check_bounds(count, self.config.vcpus, max(self.config.vcpus, self.config.max_vcpus), "cpus")
            self._vcpus = _reached(self._vcpus, count, self.script.vcpus)
            return self._vcpus

    async def resize_memory(self, size: int, *, deadline: float = 30.0) -> int:
        now = self._memory
        async with self._changing("resize_memory", VmState.RUNNING, needs=_direction(size, now.total, "MEMORY")):
            _check_bounds(size, now.base, now.limit, "memory")
            if now.block and (size - now.base) % now.block:
                raise UsageError(
                    f"{size_text(size)} can't be: memory comes in steps of {size_text(now.block)}", path="memory"
                )
            plugged = _reached(now.plugged, size - now.base, self.script.memory)
            if plugged != now.plugged:
                self._streams.offer(events.MemoryChanged("memory", plugged))
            self._memory = replace(now, plugged=plugged, requested=plugged)
            return self._memory.total

    # --- introspection ------------------------------------------------------------------------------------------------

    async def check(self) -> Checked:
        """Its health. It is never silent."""
        if self._state is VmState.STOPPED:
            return Checked(Health.DEAD, str(self._why or "it was stopped"))
        if self._panicked:
            return Checked(Health.PANICKED, self._panicked)
        self._expect("ask", *_GOING)
        return Checked(Health.RUNNING if self._state is VmState.RUNNING else Health.PAUSED)

    async def pids(self) -> dict[str, int]:
        """A number that no process has."""
        self._expect("ask", *_GOING)
        return {"qemu": _NOBODY}

    async def vcpus(self) -> list[Vcpu]:
        """Its vCPUs, on threads that nobody has."""
        self._expect("ask", *_GOING)
        everywhere = frozenset(os.sched_getaffinity(0))
        return [Vcpu(n, _NOBODY + 1 + n, self._pinned.get(n, everywhere), "/") for n in range(self._vcpus)]

    async def pin_vcpu(self, index: int, cpus: frozenset[int]) -> None:
        """Remember where a vCPU is bound to."""
        self._expect("ask", *_GOING)
        here = frozenset(os.sched_getaffinity(0))
        if index not in range(self._vcpus):
            raise UsageError(f"there is no vCPU {index}", path="index", hint=f"there are 0 to {self._vcpus - 1}")
        if not cpus or not cpus <= here:
            raise UsageError(
                f"no such processors: {sorted(cpus - here)}", path="cpus", hint=f"there are {sorted(here)}"
            )
        self._pinned[index] = cpus

    async def memory(self) -> Memory:
        self._expect("ask", *_GOING)
        return self._memory

    async def statistics(self) -> dict[str, Any]:
        """Its devices; nothing is counted."""
        self._expect("ask", *_GOING)
        have = [*self.config.devices, *self._plugged.values()]
        return {
            "block": {device.id: {} for device in have if isinstance(device, devices.Disk)},
            "net": {device.id: {} for device in have if isinstance(device, devices.Nic)},
            "balloon": None,
            "vcpu": {n: {"seconds": 0.0} for n in range(self._vcpus)},
            "accel": None,
        }

    @property
    def console(self) -> str:
        """The last of what the guest wrote to its console, harmless to a terminal."""
        return "\n".join(map(harmless, self._console.strip().split("\n")))

    def attach_console(self) -> socket.socket:
        """A stream of the console; what is typed there, `typed` gives."""
        if self._state is not VmState.STOPPED:  # what there was can still be seen
            self._expect("attach to", *_GOING)
        theirs, guest = socketpair()
        guest.setblocking(False)
        guest.send(self._console.encode())
        if self._state is VmState.STOPPED:
            guest.close()
        else:
            self._viewers.append(guest)
        return theirs

    # --- states -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _changing(self, what: str, *states: VmState, needs: Sequence[Ability] = ()) -> AsyncIterator[None]:
        """One change's turn, in one of `states`. The machine's end interrupts it."""
        self._expect(what, *states)
        self.capabilities().require(*needs)
        try:
            async with self._lock.hold(what):
                self._expect(what, *states)  # it may have changed while others had their turn
                with self._starting() if states == (VmState.CREATED,) else nullcontext():
                    if self.script.during is not None:
                        await self.script.during(what)
                    if self._gone.is_set():
                        raise await self.explain_end()
                    yield
        except OperationInterrupted:
            raise await self.explain_end() from None

    @contextmanager
    def _starting(self) -> Iterator[None]:
        self._state = VmState.STARTING
        try:
            yield
        finally:
            if self._state is VmState.STARTING:
                self._end(None)

    @asynccontextmanager
    async def _beginning(self, what: str, *needs: Ability) -> AsyncIterator[None]:
        """From created to running; when it fails, to stopped."""
        dump = () if self.config.dump is None else (Ability.DUMP,)
        needs = (*needs, *abilities_for(*self.config.devices), *dump)
        async with self._changing(what, VmState.CREATED, needs=needs):
            yield
            for device in (*self.config.devices, *self._plugged.values()):
                self._connect(device)
            self._state = VmState.RUNNING
            self.prints(self.script.console)

    def _expect(self, what: str, *states: VmState) -> None:
        if self._state not in states:
            hint = _WAYS_OUT[self._state]
            raise StateError(f"can't {what} {self.config.name}: it is {self._state.value}", hint=hint)

    def _move(self, state: VmState, event: VmEvent) -> None:
        if self._state is not state:
            self._state = state
            self._streams.offer(event)

    def _end(self, why: GavotteError | None) -> None:
        self._state = VmState.STOPPED
        if not self._gone.is_set():
            self._why = why
            self._gone.set()
            self.typed()  # what nobody has read would make the end of the streams an error
            while self._viewers:
                self._viewers.pop().close()
            self._lock.interrupt()
            self._streams.offer(events.Ended("" if why is None else str(why)))

    # --- ports --------------------------------------------------------------------------------------------------------

    def _connect(self, device: Device) -> None:
        if isinstance(device, devices.Port | devices.Console):
            self._ports[device.id] = socketpair()

    def _disconnect(self, id: str) -> None:
        for end in self._ports.pop(id, ()):
            end.close()

    def _port(self, id: str) -> tuple[socket.socket, socket.socket]:
        if id not in self._ports:
            raise StateError(f"there is no port {id!r}", hint="it is there once it is plugged and the machine started")
        return self._ports[id]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


_WAYS_OUT = {
    VmState.CREATED: "start it first",
    VmState.STARTING: "wait until it has started",
    VmState.RUNNING: "a machine is started once: make another",
    VmState.PAUSED: "a machine is started once: make another",
    VmState.STOPPED: "make another",
}


def _unprovided(config: MachineConfig) -> dict[Ability, str]:
    """What this machine wasn't made for."""
    more = {
        "slots": ([Ability.PLUG], config.slots > 0),
        "max_vcpus": ([Ability.ADD_VCPUS, Ability.REMOVE_VCPUS], config.max_vcpus > config.vcpus),
        "max_memory": ([Ability.ADD_MEMORY, Ability.REMOVE_MEMORY], config.max_memory > config.memory),
        "shared_memory": ([Ability.SHARE_VIRTIOFS], config.shared_memory),
    }
    missing = {ability: f"give it {key}" for key, (those, there) in more.items() if not there for ability in those}
    return missing | ({Ability.CLONE: "leave out shared_memory"} if config.shared_memory else {})


def _direction(wanted: int, now: int, what: Literal["VCPUS", "MEMORY"]) -> tuple[Ability, ...]:
    return () if wanted == now else (Ability[f"{'ADD' if wanted > now else 'REMOVE'}_{what}"],)


def _check_bounds(asked: int, least: int, most: int, path: str) -> None:
    if not least <= asked <= most:
        hint = f"start it with a larger max_{'vcpus' if path == 'cpus' else path}"
        raise UsageError(f"{asked} can't be: from {least} to {most}", path=path, hint=hint if asked > most else "")


def _reached(now: int, wanted: int, most: int | None) -> int:
    """How far a guest goes that takes no more than `most`, and gives back what it is asked for."""
    return wanted if most is None or wanted <= now else max(now, min(wanted, most))


def _tell(progress: OnProgress | None, size: int) -> None:
    if progress is not None:
        progress(Progress(size, size, 0.0))


def _write(target: Path | int, data: bytes) -> None:
    try:
        with open(os.dup(target) if isinstance(target, int) else target, "wb") as file:  # noqa: PTH123  # or an fd
            file.write(data)
    except OSError as error:
        if isinstance(target, Path) and target.is_file():
            target.unlink()
        raise SaveFailed(f"can't write what is saved: {error.strerror}") from error


def _read(source: Path | int) -> bytes:
    try:
        with open(os.dup(source) if isinstance(source, int) else source, "rb") as file:  # noqa: PTH123  # or an fd
            return file.read()
    except OSError as error:
        raise HostError(f"can't read what was saved: {error.strerror}") from error
