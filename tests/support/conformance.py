"""Every device type of a binary, plugged with other values than its defaults into a machine that has all it may need.

One machine takes them while it runs; another gets the same recipes at its start. What QOM says of each is kept.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gavotte.errors import OutcomeUnknown, QmpNotSent, QmpRefused
from gavotte.qemu.buses import pcie_ports, root_ports
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.fds import FdLedger, socketpair
from gavotte.qemu.plug import cold, plug
from gavotte.qemu.process import CONFINED, start_process
from gavotte.qemu.props import Recipe, Step
from gavotte.qmp.client import QmpClient
from tests.support.schemas import schema_for

__all__ = ["Plugged", "Survey", "machine", "started_with", "survey"]

CPU = "qemu64"
PORTS = pcie_ports(56)
FIRST_PORT = 7  # those before it are for what provides other buses
LOTS = 8

BOARD: dict[str, Any] = {
    **CONFINED,
    "machine": {"type": "q35", "accel": "tcg", "nvdimm": True},
    "cpu": {"model": CPU},
    "smp": {"cpus": 1, "maxcpus": 2},
    "memory": {"size": "64M", "slots": 16, "maxmem": "8G"},
    "display": {"type": "none"},
    "S": True,
    "audiodevs": [{"driver": "none", "id": "sound"}],
    "fsdevs": [{"fsdriver": "local", "id": "share", "path": "/", "security_model": "none"}],
}


def _device(driver: str, port: int | None = None, **props: Any) -> Step:
    place = {} if port is None else PORTS.props(port)
    return Step("device", {"driver": driver, **place, **props})


PROVIDERS: Recipe = (
    *root_ports(PORTS.size),
    _device("virtio-serial-pci", 0, id="serial"),
    _device("virtio-scsi-pci", 1, id="scsi"),
    _device("qemu-xhci", 2, id="usb", p2=15, p3=15),
    _device("ahci", 3, id="ahci"),
    _device("intel-hda", 4, id="hda"),
    _device("nvme", 5, id="nvme", serial="provider"),
    _device("sdhci-pci", 6, id="sd"),
    _device("usb-ccid", id="ccid", bus="usb.0"),
    _device("pci-bridge", id="bridge", bus="pcie.0", addr="1e", chassis_nr=250),
)

# The bus that devices of a kind go to, "" for a port of its own. Else which bus is taken depends on what is there.
BUSES = {
    "pci-device": "",
    "usb-device": "usb.0",
    "scsi-device": "scsi.0",
    "virtio-serial-port": "serial.0",
    "ccid-card": "ccid.0",
}

# Waits for its server's first words, and QEMU with it.
BLOCKING = {"ivshmem-doorbell"}

# What would be no test of a property: a device that hides until another one is there, and memory that isn't.
SKIPPED = {"failover", "failover_pair_id", "prealloc", "acpi-index"}

ENUMS = {  # by QEMU's name of the type: two words, one of which isn't the default
    "BiosAtaTranslation": ("none", "lba"),
    "BlockdevOnError": ("report", "ignore"),
    "OnOffAuto": ("on", "off"),
    "OffAutoPCIBAR": ("bar1", "off"),
    "PCIELinkSpeed": ("5", "8"),
    "PCIELinkWidth": ("4", "8"),
    "MultiFDCompression": ("none",),
    "LostTickPolicy": ("discard", "delay"),
}

NOWHERE = "no-device-has-this"
ENDED = "this ends QEMU"

_INTEGERS = re.compile(r"u?int(8|16|32|64)?|size")


@dataclass
class Plugged:
    """A type that was plugged: how, what QOM says of it, and with which others it shared a machine."""

    recipe: Recipe
    values: dict[str, Any]
    lot: int


@dataclass
class Survey:
    """`plugged` by type; `refused` with QEMU's words."""

    version: str = ""
    plugged: dict[str, Plugged] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def machine(qemu: Path, sections: dict[str, Any] | None = None, recipe: Recipe = ()) -> AsyncIterator[QmpClient]:
    """A QEMU with these sections and steps at its start."""
    ours, theirs = socketpair()
    with ours, FdLedger() as ledger:
        monitor = {"backend": "socket", "id": "qmp", "fd": str(ledger.give(theirs, "QMP"))}
        document = {"chardevs": [monitor], "monitors": [{"chardev": "qmp", "mode": "control"}], **(sections or BOARD)}
        argv = [os.fspath(qemu), *document_to_argv(document), *cold(recipe, ledger)]
        async with AsyncExitStack() as stack:
            process = await stack.enter_async_context(await start_process(argv, ledger))
            yield await stack.enter_async_context(await QmpClient.connect(ours, last_words=process.last_words))


class _Machine:
    """One that is started again when a device has ended it."""

    def __init__(self, qemu: Path) -> None:
        self._qemu = qemu
        self._stack = AsyncExitStack()
        self._client: QmpClient | None = None

    async def client(self) -> QmpClient:
        if self._client is None or self._client.closed:
            await self._stack.aclose()
            self._client = await self._stack.enter_async_context(machine(self._qemu, recipe=PROVIDERS))
        return self._client

    async def __aenter__(self) -> _Machine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def survey(qemu: Path) -> Survey:
    """Plugs a device of each type, into several machines at a time: QEMU waits some 50 ms after each refusal.

    The types are those of the schema, since listing them here would load modules of all kinds, and of other versions.
    """
    schema = schema_for(qemu)
    buses = {name: bus for kind, bus in BUSES.items() for name in schema.types(kind)}
    found = Survey(".".join(map(str, schema.version[:2])))
    async with asyncio.TaskGroup() as tasks:
        for lot in range(LOTS):
            tasks.create_task(_survey_lot(qemu, found, lot, dict(list(enumerate(schema.devices))[lot::LOTS]), buses))
    return found


async def _survey_lot(qemu: Path, found: Survey, lot: int, types: dict[int, str], buses: dict[str, str]) -> None:
    async with _Machine(qemu) as running:
        port = FIRST_PORT
        for number, name in types.items():
            base: dict[str, Any] = {"driver": name, "id": f"d{number}"}
            match buses.get(name):
                case "":
                    base |= PORTS.props(port)
                case str(bus):
                    base["bus"] = bus
            await _survey_type(running, found, lot, name, base)
            port += buses.get(name) == ""  # also after a refusal: some leave a device behind that is half there


async def _survey_type(running: _Machine, found: Survey, lot: int, name: str, base: dict[str, Any]) -> None:
    try:
        client = await running.client()
        listing: Any = await client.execute("device-list-properties", {"typename": name})
        choice = _Choice(base, listing, await _cpu_place(client, name) if name.endswith("-cpu") else None)
    except QmpRefused as error:
        found.refused[name] = error.desc
        return
    except OutcomeUnknown:
        found.refused[name] = ENDED
        return
    refusal = await _refused_whatever(running, base)
    if refusal:
        found.refused[name] = _normal(refusal, base)
        return
    for recipe in choice:
        try:
            client = await running.client()
            await plug(client, recipe, deadline=5.0)  # a busy host's QEMU may be slow, and has not ended
        except QmpRefused as error:
            refusal = error.desc
        except (OutcomeUnknown, QmpNotSent):
            refusal = ENDED
        else:
            found.plugged[name] = Plugged(recipe, await values_of(client, base["id"]), lot)
            return
        choice.learn(refusal)
    found.refused[name] = _normal(choice.verdict or refusal, base)


async def _refused_whatever(running: _Machine, base: dict[str, Any]) -> str:
    """Why no device of this type can be plugged, whatever its properties; they are looked at after the rest."""
    client = await running.client()
    try:
        await client.execute("device_add", {**base, NOWHERE: 1})
    except QmpRefused as error:
        return "" if NOWHERE in error.desc else error.desc
    except OutcomeUnknown:
        return ENDED
    raise AssertionError(f"{base['driver']} has a property {NOWHERE}")


def _normal(refusal: str, base: dict[str, Any]) -> str:
    return re.sub(rf"'?\b{base['id']}\b'?", "ID", refusal)


async def _cpu_place(client: QmpClient, name: str) -> dict[str, Any]:
    """Where the board's CPU type can be plugged; nothing for the others."""
    slots: Any = await client.execute("query-hotpluggable-cpus")
    return next((s["props"] for s in slots if s["type"] == name and "qom-path" not in s), {})


async def values_of(client: QmpClient, id: str) -> dict[str, Any]:
    """What QOM says of a device: each property's value, or why there is none."""
    path = f"/machine/peripheral/{id}"
    listing: Any = await client.execute("qom-list", {"path": path})
    names = sorted(entry["name"] for entry in listing if not entry["type"].startswith("child<"))

    async def value(name: str) -> Any:
        try:
            return await client.execute("qom-get", {"path": path, "property": name})
        except QmpRefused as error:
            return error.desc

    return dict(zip(names, await asyncio.gather(*map(value, names)), strict=True))


async def started_with(qemu: Path, recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """What QOM says of the last device of each recipe when a machine has all of them at its start."""
    async with machine(qemu, recipe=(*PROVIDERS, *(step for recipe in recipes for step in recipe))) as client:
        return [await values_of(client, str(recipe[-1].props["id"])) for recipe in recipes]


class _Choice:
    """Recipes for one device, each with fewer of its properties than the one before, as `learn` is told refusals.

    A refusal that names a property has its next value tried, then goes without it. Of one that names none, small groups
    are left out in turn, then larger ones; at last there are the references to other things alone, and then nothing.
    """

    def __init__(self, base: dict[str, Any], listing: list[dict[str, Any]], place: dict[str, Any] | None) -> None:
        self._base = {**base, **(place or {})}
        self._number = int(base["id"][1:])
        self._references = {
            p["name"]: kind for p in listing if (kind := _reference(p)) and base["driver"] not in BLOCKING
        }
        self._candidates = {
            p["name"]: values
            for p in listing
            if p["name"] not in {*self._base, *self._references, *SKIPPED} and (values := _others(p))
        }
        for name, unique in (("bootindex", 1000 + self._number), ("chassis", 100 + self._number // LOTS)):
            if name in self._candidates:  # no two devices of a machine may have the same
                self._candidates[name] = [unique]
        if place is not None:  # other CPUs aren't refused for their properties; of this one take what is a switch
            self._candidates = {k: v for k, v in self._candidates.items() if place and isinstance(v[0], bool)}
        self._refusal = ""
        self.verdict = ""  # why even what the device needs isn't enough

    def learn(self, refusal: str) -> None:
        self._refusal = refusal

    def __iter__(self) -> Iterator[Recipe]:
        while True:
            self._refusal = ""
            yield self._recipe(())
            if self._refusal == ENDED:
                break
            if self._drop_culprits():
                continue
            yield from self._without_groups()
            if not self._drop_culprits():
                break
        self._candidates = {name: values for name, values in self._candidates.items() if name in KNOWN}
        yield self._recipe(())
        self.verdict = self._refusal
        self._candidates.clear()
        references, self._references = self._references, {}
        if references:
            yield self._recipe(())

    def _without_groups(self) -> Iterator[Recipe]:
        names = list(self._candidates)
        least = 1 + len(names) // 32
        for size in (least, least * 4):
            for start in range(0, len(names), size):
                if size < len(names):
                    yield self._recipe(names[start : start + size])
                    if self._refusal == ENDED or self._culprits():
                        return

    def _culprits(self) -> set[str]:
        return {word for word in re.findall(r"[\w-]+", self._refusal) if word in self._candidates and word not in KNOWN}

    def _drop_culprits(self) -> bool:
        found = self._culprits()
        for name in found:
            self._candidates[name].pop(0)
            if not self._candidates[name]:
                del self._candidates[name]
        return bool(found)

    def _recipe(self, without: Sequence[str]) -> Recipe:
        props = {name: values[0] for name, values in self._candidates.items() if name not in without}
        references = {name: f"{name}-{self._number}" for name in self._references}
        steps = tuple(_backend(kind, references[name], self._number) for name, kind in self._references.items())
        return (*steps, Step("device", {**self._base, **references, **props}))


_REFERENCES = {
    "drive": "drive",
    "netdev": "netdev",
    "chardev": "chardev",
    "link<memory-backend>": "memory-backend-ram",
    "link<rng-backend>": "rng-builtin",
    "link<cryptodev-backend>": "cryptodev-backend-builtin",
    "link<iothread>": "iothread",
}


def _reference(prop: dict[str, Any]) -> str | None:
    return _REFERENCES.get(prop["name"] if prop["type"] == "str" else prop["type"])


def _backend(kind: str, id: str, number: int) -> Step:
    match kind:
        case "drive":
            size = 1 << 20
            return Step("blockdev", {"driver": "null-co", "node-name": id, "size": size, "read-zeroes": True})
        case "netdev":
            return Step("netdev", {"type": "hubport", "id": id, "hubid": number})
        case "chardev":
            return Step("chardev", {"backend": "null", "id": id})
        case "memory-backend-ram":
            return Step("object", {"qom-type": kind, "id": id, "size": 128 << 20, "share": True})
    return Step("object", {"qom-type": kind, "id": id})


# Values that a rule by type wouldn't find; where there are none, the property is left alone.
KNOWN: dict[str, list[Any]] = {
    "audiodev": ["sound"],
    "backend": ["emulated"],
    "chassis": [201],
    "chassis_nr": [202],
    "disable-modern": [],  # with disable-legacy there would be nothing left
    "fd": [],
    "fsdev": ["share"],
    "guest-cid": [5],
    "logical_block_size": [1024],
    "mac": ["52:54:00:00:00:07"],
    "mount_tag": ["tag"],
    "physical_block_size": [8192],
    "pref32-reserve": [],  # with pref64-reserve, the port is refused and yet stays in its slot
    "romfile": [""],
    "romsize": [],
    "rootdir": ["/"],
    "serial": ["text"],
    "vhostfd": [],
    "vhostfds": [],
}


def _others(prop: dict[str, Any]) -> list[Any]:
    """Values that aren't the default, the likeliest first; none for a type that has no other that we know."""
    name, kind, default = prop["name"], prop["type"], prop.get("default-value")
    if name in KNOWN:
        return list(KNOWN[name])
    if name.startswith("legacy-"):
        return []
    if kind == "bool":
        return [not default]
    if kind == "str":
        return ["text", ""]
    if integer := _INTEGERS.fullmatch(kind):
        number = default if isinstance(default, int) else 0
        highest = (1 << int(integer[1] or 64)) - 1
        near = (number * 2, number + 1, number - 1) if number < highest else (1, 0)
        return [value for value in near if value != number and 0 <= value <= highest]
    return [word for word in ENUMS.get(kind, ()) if word != default]
