"""A machine that is changed while it runs, beside a bare script that sends the same QMP commands to a twin of it."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import gavotte
from bench.bare import Bare
from bench.cold import Setting
from bench.rows import Row, median, ratio
from gavotte.faces.loop import call
from gavotte.hypervisor.devices import Balloon, Device, Disk, Nic, Port, Raw, Rng, User
from gavotte.hypervisor.qemu.vm import QemuVm

__all__ = ["measure"]

MEMORY = 256 << 20  # bytes that are plugged and taken back
STARTED = 512 << 20

Commands = list[tuple[str, dict[str, Any], int]]
"""What was said over QMP: a command, its arguments, and how many descriptors went with it."""


class Twin(Bare):
    """A bare guest on the very options that ours was started with, its own sockets apart."""

    def __init__(self, argv: Sequence[str], *, saved: Path | None = None) -> None:
        pairs = {name: socket.socketpair() for name in ("console", "monitor", "agent")}
        self.ends = {name: ours for name, (ours, _) in pairs.items()}
        theirs = {name: end for name, (_, end) in pairs.items()}
        words = [_rewired(word, theirs) for word in argv]
        fds = [end.fileno() for end in theirs.values()]
        quiet = subprocess.DEVNULL  # QEMU has something to say of each port that goes
        self.process = subprocess.Popen(words, pass_fds=fds, stdin=subprocess.DEVNULL, stderr=quiet)
        for end in theirs.values():
            end.close()
        self.ends["agent"].settimeout(120)
        self.input = self.ends["agent"].makefile("rb")
        self.monitor = Monitor(self.ends["monitor"])
        if saved is not None:
            load_by_hand(self.monitor, saved)
        self.monitor.execute("cont")  # ours starts standing still, until it is watched


def _rewired(word: str, theirs: Mapping[str, socket.socket]) -> str:
    found = re.search(r"^socket,.*\bid=(\w+)$", word)
    return re.sub(r"\bfd=\d+", f"fd={theirs[found[1]].fileno()}", word) if found and found[1] in theirs else word


class Monitor:
    """A QMP socket, spoken to with the standard library alone."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(60)
        self.sock = sock
        self.lines = sock.makefile("rb")
        self.events: list[dict[str, Any]] = []
        self.lines.readline()
        self.execute("qmp_capabilities")

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, fds: Sequence[int] = ()) -> Any:
        """Send it and give the answer; events on the way are kept."""
        data = json.dumps({"execute": command, "arguments": dict(arguments or {})}).encode() + b"\n"
        socket.send_fds(self.sock, [data], list(fds))
        while True:
            message = json.loads(self.lines.readline())
            if "error" in message:
                raise RuntimeError(f"{command}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]
            self.events.append(message)

    def wait_for(self, name: str, **data: Any) -> None:
        """Pass over events until this one."""
        while True:
            event = self.events.pop(0) if self.events else json.loads(self.lines.readline())
            if event.get("event") == name and data.items() <= event.get("data", {}).items():
                return

    def replay(self, commands: Commands) -> None:
        """Send what was recorded, with sockets that lead nowhere for descriptors; wait until what goes has gone."""
        for command, arguments, count in commands:
            with ExitStack() as stack:
                pairs = [socket.socketpair() for _ in range(count)]
                for end in (end for pair in pairs for end in pair):
                    stack.enter_context(end)
                self.execute(command, arguments, [theirs.fileno() for _, theirs in pairs])
            if command == "device_del":
                self.wait_for("DEVICE_DELETED", device=arguments["id"])


@contextmanager
def recorded(box: gavotte.Sandbox) -> Iterator[Commands]:
    """What the driver says to QEMU inside the block."""
    said: Commands = []
    monitor = box.vm.monitor
    execute = monitor.execute

    async def recording(command: str, arguments: Any = None, *, fds: Any = (), **options: Any) -> Any:
        said.append((command, dict(arguments or {}), len(fds)))
        return await execute(command, arguments, fds=fds, **options)

    monitor.execute = recording  # type: ignore[method-assign]  # a bench may look in from outside
    try:
        yield said
    finally:
        del monitor.execute


def classes(folder: Path) -> dict[str, Device]:
    """One device of each class that can be plugged and unplugged on any host."""
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    return {
        "virtio-blk disk": Disk("disk", image, "bench"),
        "SCSI disk": Disk("lun", image, "bench", bus="virtio-scsi"),
        "NIC, user": Nic("nic", User()),
        "serial port": Port("port", "bench.port"),
        "rng": Rng("rng"),
        "balloon": Balloon("balloon"),
        "any map": Raw("map", {"driver": "virtio-rng-pci"}),
    }


def measure(setting: Setting, rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Boot one guest of ours and its twin; do the same to both, in turns. Calls `tick` after each class."""
    qemu, *_, accel = setting
    with (
        tempfile.TemporaryDirectory() as name,
        gavotte.Sandbox(
            qemu=qemu, accel=accel, memory=STARTED, slots=8, max_cpus=1 + rounds, max_memory=2 * STARTED, cold=True
        ) as box,
        Twin(box.vm.process.argv) as twin,
    ):
        twin.prepare()
        rows = [*saving(box, twin, Path(name), rounds), *loading(box, Path(name), rounds)]
        tick()
        for what, device in classes(Path(name)).items():
            rows += plugging(box, twin, what, device, rounds)
        tick()
        rows += [*vcpus(box, twin, rounds), *memory(box, twin, rounds)]
        tick()
    return rows


def plugging(box: gavotte.Sandbox, twin: Twin, what: str, device: Device, rounds: int) -> Iterator[Row]:
    """Plug and unplug. The first round isn't counted: a controller may come with it, and the guest loads its driver."""
    ours: dict[str, list[float]] = {"plug": [], "unplug": []}
    bare: dict[str, list[float]] = {"plug": [], "unplug": []}
    for number in range(rounds + 1):
        with recorded(box) as adding:
            plug = timed(call, box.vm.plug(device))
        with recorded(box) as removing:
            unplug = timed(call, box.vm.unplug(device.id))
        by_hand = timed(twin.monitor.replay, adding), timed(twin.monitor.replay, removing)
        if number:
            for kind, mine, theirs in zip(ours, (plug, unplug), by_hand, strict=True):
                ours[kind].append(mine)
                bare[kind].append(theirs)
    for kind in ours:
        yield beside(f"{kind}: {what}", ours[kind], bare[kind])


def vcpus(box: gavotte.Sandbox, twin: Twin, rounds: int) -> Iterator[Row]:
    """One more each time: emulation can't take any back."""
    ours: list[float] = []
    bare: list[float] = []
    for count in range(2, rounds + 2):
        with recorded(box) as said:
            ours.append(timed(call, box.vm.resize_vcpus(count)))
        bare.append(timed(twin.monitor.replay, said))
    yield beside("one vCPU more", ours, bare)


def memory(box: gavotte.Sandbox, twin: Twin, rounds: int) -> Iterator[Row]:
    ours: dict[str, list[float]] = {"256M more": [], "256M less": []}
    bare: dict[str, list[float]] = {"256M more": [], "256M less": []}
    for _ in range(rounds):
        for kind, size in zip(ours, (MEMORY, 0), strict=True):
            with recorded(box) as said:
                ours[kind].append(timed(call, box.vm.resize_memory(STARTED + size)))
            asked = next(arguments for command, arguments, _ in said if command == "qom-set")
            bare[kind].append(timed(request_memory, twin.monitor, asked))
    for kind in ours:
        yield beside(kind, ours[kind], bare[kind])


def request_memory(monitor: Monitor, asked: Mapping[str, Any]) -> None:
    """Ask for it, and look again and again whether it is there: QEMU's event comes at most once a second."""
    monitor.execute("qom-set", asked)
    while monitor.execute("qom-get", {"path": asked["path"], "property": "size"}) != asked["value"]:
        select.select([monitor.sock], [], [], 0.002)


def saving(box: gavotte.Sandbox, twin: Twin, folder: Path, rounds: int) -> Iterator[Row]:
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        ours.append(timed(call, box.vm.save(folder / "ours")))
        bare.append(timed(save_by_hand, twin.monitor, folder / "bare"))
    yield beside(f"save, {(folder / 'ours').stat().st_size >> 20} MiB", ours, bare)


def save_by_hand(monitor: Monitor, path: Path) -> None:
    monitor.execute("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    monitor.execute("migrate-set-parameters", {"max-bandwidth": 1 << 40})
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        monitor.execute("stop")
        monitor.execute("getfd", {"fdname": "saved"}, [fd])
        monitor.execute("migrate", {"uri": "fd:saved"})
        monitor.wait_for("MIGRATION", status="completed")
        os.fsync(fd)
        monitor.execute("cont")
    finally:
        os.close(fd)


def loading(box: gavotte.Sandbox, folder: Path, rounds: int) -> Iterator[Row]:
    """From what the last round of `saving` wrote, process and all."""
    argv = [*box.vm.process.argv, "-incoming", "defer"]
    ours, bare = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        vm = call(loaded(box.vm, folder / "ours"))
        ours.append(time.perf_counter() - began)
        call(vm.stop(force=True))
        began = time.perf_counter()
        with Twin(argv, saved=folder / "bare"):
            bare.append(time.perf_counter() - began)
    yield beside("load the same", ours, bare)


async def loaded(like: QemuVm, path: Path) -> QemuVm:
    vm = QemuVm(like.binary, like.config)
    await vm.load(path)
    return vm


def load_by_hand(monitor: Monitor, path: Path) -> None:
    monitor.execute("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        monitor.execute("getfd", {"fdname": "saved"}, [fd])
        monitor.execute("migrate-incoming", {"uri": "fd:saved"})
        monitor.wait_for("MIGRATION", status="completed")
    finally:
        os.close(fd)


def timed(do: Callable[..., object], *arguments: object) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    do(*arguments)
    return time.perf_counter() - began


def beside(what: str, ours: Sequence[float], bare: Sequence[float]) -> Row:
    text = f"{ratio(ours, bare):.2f} x bare: {median(ours) * 1000:.1f} / {median(bare) * 1000:.1f} ms"
    return Row(what, text, samples={"gavotte s": list(ours), "bare s": list(bare)})
