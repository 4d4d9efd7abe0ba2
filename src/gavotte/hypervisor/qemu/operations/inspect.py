"""What QEMU and the kernel know of a machine that runs: its threads, where they run, and what is counted."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gavotte.errors import HostError, QmpRefused, StateError, UsageError
from gavotte.hypervisor.devices import Balloon, Device, Disk, Nic, Tap
from gavotte.hypervisor.interface import Vcpu
from gavotte.qmp.client import QmpClient

__all__ = ["host_cpus", "pin_vcpu", "read_statistics", "read_vcpus"]

_ONLINE = Path("/sys/devices/system/cpu/online")
_TICKS = os.sysconf("SC_CLK_TCK")
_TUNGETIFF = 0x800454D2  # linux/if_tun.h: the interface of an open /dev/net/tun
_UNREPORTED = (1 << 64) - 1  # what the balloon has for a number that the guest doesn't report


# --- vCPUs ------------------------------------------------------------------------------------------------------------


async def read_vcpus(monitor: QmpClient, pid: int) -> list[Vcpu]:
    """The vCPUs of the QEMU with that pid, by index (query-cpus-fast)."""
    found = []
    for index, thread in (await _threads(monitor)).items():
        try:
            cpus = frozenset(os.sched_getaffinity(thread))
            found.append(Vcpu(index, thread, cpus, _cgroup(_read(_task(pid, thread) / "cgroup"))))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has been removed since QEMU answered
    return found


async def pin_vcpu(monitor: QmpClient, pid: int, index: int, cpus: frozenset[int]) -> None:
    """Bind a vCPU's thread to processors of this host.

    Raises UsageError for a vCPU or a processor that isn't there, naming those that are; HostError when the kernel
    doesn't let it run there, as the cpuset of its cgroup may say. It then runs where it ran before.
    """
    threads = await _threads(monitor)
    if index not in threads:
        raise UsageError(f"there is no vCPU {index}", path="index", hint=f"there are: {_listing(threads)}")
    here = host_cpus()
    if not cpus or not cpus <= here:
        problem = f"there is no processor {_listing(cpus - here)}" if cpus else "a vCPU has to run somewhere"
        raise UsageError(problem, path="cpus", hint=f"this host has: {_listing(here)}")
    thread = threads[index]
    try:
        if not _task(pid, thread).exists():
            raise ProcessLookupError
        before = os.sched_getaffinity(thread)
        os.sched_setaffinity(thread, cpus)
        allowed = os.sched_getaffinity(thread)
        if allowed != cpus:  # the kernel takes the part that the cpuset allows
            os.sched_setaffinity(thread, before)
            raise _not_allowed(index, cpus, f"only {_listing(allowed)} of them" if allowed else "none of them")
    except ProcessLookupError:
        raise StateError(f"vCPU {index} has gone", hint="see which there are, and try again") from None
    except OSError as error:
        raise _not_allowed(index, cpus, error.strerror or str(error)) from error


def host_cpus() -> frozenset[int]:
    """The numbers of this host's processors that are online."""
    numbers: set[int] = set()
    for part in _read(_ONLINE).strip().split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


async def _threads(monitor: QmpClient) -> dict[int, int]:
    listing: Any = await monitor.execute("query-cpus-fast")
    return dict(sorted((cpu["cpu-index"], cpu["thread-id"]) for cpu in listing))


def _task(pid: int, thread: int) -> Path:
    """Through the process, so that a number which another has taken over isn't found."""
    return Path(f"/proc/{pid}/task/{thread}")


def _cgroup(text: str) -> str:
    """The path of the cgroup that processor time is counted in: of version 1's cpu controller, else of version 2.

    A line is ID:CONTROLLERS:PATH, of version 2 without controllers (cgroups(7)).
    """
    paths = {}
    for line in text.splitlines():
        _id, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths.get("cpu") or paths.get("", "")


def _read(path: Path) -> str:
    """Raises FileNotFoundError or ProcessLookupError for what has gone, HostError for what can't be read."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise
    except OSError as error:
        raise HostError(f"can't read {path}: {error.strerror}", hint="see `ulimit -n`") from error


def _listing(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _not_allowed(index: int, cpus: frozenset[int], why: str) -> HostError:
    return HostError(
        f"vCPU {index} can't be bound to {_listing(cpus)}: {why}", hint="see the cpuset of the cgroup that it is in"
    )


# --- what is counted --------------------------------------------------------------------------------------------------


async def read_statistics(monitor: QmpClient, pid: int, devices: Iterable[Device]) -> dict[str, Any]:
    """What is counted since the start, in QEMU's and the kernel's words.

    `block`: for each disk, what its front end counts (query-blockstats) and, as `nodes`, what each node below it does.
    `net`: for each NIC on a tap, the counters of that interface, whose rx is what the guest sent. QMP has no counters
    of NICs, so all others have none. `balloon`: `actual` bytes that the guest has, and what it reports of itself, as
    `guest`; None without a balloon. `vcpu`: by index, seconds of the host's processors that its thread used in QEMU or
    the guest (`user`), and in the kernel (`system`). `accel`: what the accelerator counts for the machine and for each
    vCPU (query-stats); None where it counts nothing, as TCG.
    """
    devices = [*devices]
    blocks, threads, accel = await asyncio.gather(
        monitor.execute("query-blockstats"), _threads(monitor), _accel(monitor)
    )
    return {
        "block": _blocks(blocks, [device.id for device in devices if isinstance(device, Disk)]),
        "net": {device.id: _interface(device) for device in devices if isinstance(device, Nic)},
        "balloon": await _balloon(monitor, [device.id for device in devices if isinstance(device, Balloon)]),
        "vcpu": {index: seconds for index, thread in threads.items() if (seconds := _seconds(_task(pid, thread)))},
        "accel": accel,
    }


async def _ask(monitor: QmpClient, command: str, **arguments: Any) -> Any:
    """QEMU's answer; None where it refuses, as one that hasn't this command or this device does."""
    try:
        return await monitor.execute(command, arguments)
    except QmpRefused:
        return None


def _blocks(listing: Any, disks: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The top node of a disk is named as the disk is."""
    by_node = {entry.get("node-name"): entry for entry in listing}
    return {id: {**by_node[id]["stats"], "nodes": dict(_nodes(by_node[id]))} if id in by_node else {} for id in disks}


def _nodes(entry: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for key in ("parent", "backing"):  # what QEMU calls a parent is the node below
        if key in entry:
            yield from _nodes(entry[key])
    if "node-name" in entry:
        yield entry["node-name"], entry["stats"]


def _interface(nic: Nic) -> dict[str, Any]:
    """The counters of a tap, found by the caller's own descriptor of it: none when that was closed meanwhile."""
    if not isinstance(nic.net, Tap) or not nic.net.fds:
        return {}
    try:
        name = fcntl.ioctl(nic.net.fds[0], _TUNGETIFF, bytes(40)).split(b"\0", 1)[0].decode()
        folder = Path("/sys/class/net", name, "statistics")
        return {"interface": name, **{counter.name: int(counter.read_text()) for counter in folder.iterdir()}}
    except OSError:
        return {}


async def _balloon(monitor: QmpClient, ids: Iterable[str]) -> dict[str, Any] | None:
    counted = await _ask(monitor, "query-balloon")
    if counted is None:
        return None
    for id in ids:
        reported = await _ask(monitor, "qom-get", path=f"/machine/peripheral/{id}", property="guest-stats")
        if reported and reported["last-update"]:
            counted["guest"] = {key: value for key, value in reported["stats"].items() if value != _UNREPORTED}
            counted["last-update"] = reported["last-update"]
    return dict(counted)


async def _accel(monitor: QmpClient) -> dict[str, Any] | None:
    vm, vcpu = [await _ask(monitor, "query-stats", target=target) for target in ("vm", "vcpu")]
    return {"vm": vm, "vcpu": vcpu} if vm or vcpu else None


def _seconds(task: Path) -> dict[str, float] | None:
    """proc(5): the name of the thread, in brackets, may hold anything; utime and stime are the fields 14 and 15."""
    try:
        fields = _read(task / "stat").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    user, system = int(fields[11]) / _TICKS, int(fields[12]) / _TICKS
    return {"seconds": user + system, "user": user, "system": system}
