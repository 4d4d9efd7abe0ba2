"""The QEMU layer: learning a binary, checking a machine, writing its command line, reading somebody else's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bench.rows import Row, spread
from gavotte.errors import HostError
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.check import check_document
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.imports import import_argv
from gavotte.qemu.schema import learn_schema, load_schema, schema_of

__all__ = ["measure"]

DEVICES = 30
OPTIONS = 200


def measure(rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Each number is a median of `rounds`, or of ten times as many where one takes milliseconds."""
    binary = find_qemu()
    warm = schema_of(binary)
    machine, line = thirty_devices(), two_hundred_options()

    def cached() -> None:
        schema = load_schema(binary)
        if schema is None:
            raise HostError("the schema isn't kept", hint="is the cache's directory writable?")
        check_document(sandbox_like(), schema)

    timed = {
        "learning a binary": (lambda: asyncio.run(learn_schema(binary)), rounds, 2.0),
        "a sandbox's machine checked, schema from the cache": (cached, rounds * 10, 0.015),
        f"check of {DEVICES} devices": (lambda: check_document(machine, warm), rounds * 10, None),
        f"argv of {DEVICES} devices": (lambda: document_to_argv(machine), rounds * 10, None),
        f"import of {OPTIONS} options": (lambda: import_argv(line), rounds * 10, None),
    }
    return [row(what, samples(call, times, tick), bound) for what, (call, times, bound) in timed.items()]


def samples(call: Callable[[], object], times: int, tick: Callable[[], None]) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    tick()
    return found


def row(what: str, seconds: list[float], bound: float | None) -> Row:
    kept = {"s": seconds}
    if bound is None:
        return Row(what, spread(seconds, 1000, "ms"), samples=kept)
    holds = sorted(seconds)[len(seconds) // 2] <= bound
    return Row(what, spread(seconds, 1000, "ms"), f"<= {bound * 1000:g} ms", holds, kept)


def sandbox_like() -> dict[str, Any]:
    """A machine like that of a sandbox."""
    return {
        "machine": {"type": "q35", "usb": False},
        "accels": [{"accel": "tcg"}],
        "cpu": {"model": "max"},
        "memory": {"size": "512M"},
        "objects": [{"qom-type": "rng-random", "id": "entropy", "filename": "/dev/urandom"}],
        "chardevs": [{"backend": "null", "id": name} for name in ("console", "agent")],
        "blockdevs": [{"driver": "raw", "node-name": "root", "file": {"driver": "file", "filename": "/x"}}],
        "devices": [
            {"driver": "isa-serial", "chardev": "console"},
            {"driver": "virtio-rng-pci", "rng": "entropy"},
            {"driver": "virtio-serial-pci", "id": "ports"},
            {"driver": "virtserialport", "bus": "ports.0", "nr": 1, "chardev": "agent", "name": "x"},
            {"driver": "virtio-blk-pci", "drive": "root", "serial": "root"},
        ],
    }


def thirty_devices() -> dict[str, Any]:
    """Ten root ports, ten disks behind them, ten NICs on the bus."""
    ports = [{"driver": "pcie-root-port", "id": f"p{n}", "chassis": n + 1, "slot": n + 1} for n in range(10)]
    disks = [{"driver": "virtio-blk-pci", "drive": f"d{n}", "bus": f"p{n}", "num-queues": 2} for n in range(10)]
    nics = [{"driver": "virtio-net-pci", "netdev": f"n{n}", "mq": True, "vectors": 6} for n in range(10)]
    return {
        "machine": {"type": "q35"},
        "netdevs": [{"type": "hubport", "id": f"n{n}", "hubid": n} for n in range(10)],
        "blockdevs": [{"driver": "null-co", "node-name": f"d{n}", "size": 1 << 20} for n in range(10)],
        "devices": [*ports, *disks, *nics],
    }


def two_hundred_options() -> list[str]:
    """A command line as a script would write it: 100 netdevs and 100 devices, key=value."""
    argv = ["qemu-system-x86_64"]
    for n in range(OPTIONS // 2):
        argv += ["-netdev", f"user,id=n{n},restrict=on,hostname=a,,b"]
        argv += ["-device", f"virtio-net-pci,netdev=n{n},mq=on,vectors=6,addr={n % 32:x}.{n % 8}"]
    return argv
