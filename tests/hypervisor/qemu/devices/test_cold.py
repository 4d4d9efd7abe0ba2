"""All classes of devices plugged before the start of one machine: seen in its guest, of use, and unplugged."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte.faces.loop import call
from gavotte.guest.image import Image
from gavotte.hypervisor.devices import (
    Balloon,
    Console,
    Device,
    Disk,
    Nic,
    Passt,
    Port,
    PvPanic,
    Raw,
    Rng,
    Share,
    Stream,
    Tap,
    Throttle,
    User,
    VmGenId,
    Watchdog,
)
from gavotte.qemu.binary import find_program
from tests.support.inside import Inside
from tests.support.leaks import exempt
from tests.support.network import Echo, default_gateway, multiqueue_tap
from tests.support.qcow2 import empty_qcow2

WHOLE = 180.0
MACS = {name: f"52:54:00:00:01:{number:02x}" for number, name in enumerate(("user", "stream", "tap", "passt"))}
GENERATION = "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"
TAP = os.geteuid() == 0
PASST = find_program("passt") is not None and default_gateway() is not None
VIRTIOFSD = any(find_program(path) for path in ("virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"))


def devices(folder: Path, stream: int, taps: tuple[int, ...]) -> tuple[Device, ...]:
    for name in ("raw", "scsi", "fixed"):
        (folder / name).write_bytes(name.encode().ljust(1 << 20, b"\0"))
    (folder / "qcow2").write_bytes(empty_qcow2(4 << 20))
    (folder / "share").mkdir()
    (folder / "share/host").write_text("from the host")
    return (
        Disk("raw-disk", folder / "raw", "no-1"),
        Disk("full", folder / "qcow2", "no-2", "qcow2", discard=True, iothread=True, throttle=Throttle(5000)),
        Disk("fixed", folder / "fixed", "no-3", read_only=True),
        Disk("lun", folder / "scsi", "no-4", bus="virtio-scsi"),
        Nic("user", User(), MACS["user"]),
        Nic("stream", Stream(stream), MACS["stream"]),
        *([Nic("tap", Tap(taps), MACS["tap"])] if TAP else []),
        *([Nic("passt", Passt(), MACS["passt"])] if PASST else []),
        Share("p9", folder / "share", "a tag"),
        Share("p9-fixed", folder / "share", read_only=True),
        *([Share("fs", folder / "share", kind="virtiofs")] if VIRTIOFSD else []),
        Port("port", "org.example.port"),
        Console("screen"),
        Rng("more"),
        Balloon("balloon", statistics=1),
        Watchdog("dog", "none"),
        VmGenId("generation", GENERATION),
        PvPanic("panic"),
        Raw("keys", {"driver": "virtio-keyboard-pci"}),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a,folder")


@pytest.fixture(scope="module")
def frames() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of the stream, and QEMU's."""
    with exempt():
        ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(scope="module")
def equipped(
    image: Image, run_directory: None, folder: Path, frames: tuple[socket.socket, socket.socket]
) -> Iterator[gavotte.Sandbox]:
    """A sandbox that has them all."""
    with ExitStack() as stack:
        with exempt():
            taps = stack.enter_context(multiqueue_tap(2))[0] if TAP else ()
            wanted = devices(folder, frames[1].fileno(), taps)
            box = stack.enter_context(gavotte.Sandbox(accel="tcg", slots=24, shared_memory=True, devices=wanted))
        frames[1].close()
        yield box


@pytest.fixture(scope="module")
def inside(equipped: gavotte.Sandbox) -> Iterator[Inside]:
    with Inside(equipped) as guest:
        yield guest


def ask(box: gavotte.Sandbox, command: str, **arguments: Any) -> Any:
    return call(box.vm.monitor.execute(command, arguments))


def test_the_disks_are_there_and_of_use(inside: Inside, folder: Path) -> None:
    told = inside(
        "for serial in ('no-1', 'no-2'):\n"
        "    fd = os.open(block(when(lambda: disk(serial))), os.O_RDWR)\n"
        "    os.pwrite(fd, serial.encode() * 128, 4096); os.fsync(fd)\n"
        "lun = when(lambda: scsi_disk('no-4'))\n"
        "tell([read(disk('no-3') + '/ro'), read(lun + '/size'),"
        " os.pread(os.open(block(lun), os.O_RDONLY), 4, 0).decode()])"
    )
    assert told == ["1", "2048", "scsi"]
    assert (folder / "raw").read_bytes()[4096:4100] == b"no-1"
    assert b"no-2" * 128 in (folder / "qcow2").read_bytes()


def test_the_networks_lead_where_they_should(inside: Inside, frames: tuple[socket.socket, socket.socket]) -> None:
    ways = [("user", "10.0.2.15", "10.0.2.2"), *([("passt", *(default_gateway() or ("", "")))] if PASST else [])]
    for name, ours, theirs in ways:
        with Echo() as echo:
            told = inside(
                "interface_up(arguments[0], arguments[1])\n"
                "with socket.create_connection((arguments[2], arguments[3]), 60) as stream:\n"
                "    stream.sendall(b'hello'); tell(stream.recv(100).decode())",
                MACS[name],
                ours,
                theirs,
                echo.port,
            )
        assert told == "hello", name
    inside("interface_up(arguments[0], '10.9.9.2')", MACS["stream"])
    frames[0].settimeout(WHOLE)
    assert bytes.fromhex(MACS["stream"].replace(":", "")) in frames[0].recv(4 + 14, socket.MSG_WAITALL)
    if TAP:
        assert inside.seen(f"card('{MACS['tap']}')")


def test_the_directories_can_be_mounted(inside: Inside, folder: Path) -> None:
    script = (
        "path = when(lambda: mount(arguments[0], arguments[1], arguments[2]))\n"
        "found = read(path + '/host')\n"
        "try: pathlib.Path(path, 'guest').write_text(arguments[0]); problem = ''\n"
        "except OSError as error: problem = error.strerror\n"
        "umount(); tell([found, problem])"
    )
    options = "trans=virtio,version=9p2000.L"
    assert inside(script, "a tag", "9p", options) == ["from the host", ""]
    assert (folder / "share/guest").read_text() == "a tag"
    assert inside(script, "p9-fixed", "9p", options) == ["from the host", "Read-only file system"]
    if VIRTIOFSD:
        assert inside(script, "fs", "virtiofs", "") == ["from the host", ""]
        assert (folder / "share/guest").read_text() == "fs"


def test_the_ports_carry_bytes(equipped: gavotte.Sandbox, inside: Inside) -> None:
    lines = {"port": "node(port('org.example.port'))", "screen": "node('/sys/class/tty/hvc0')"}
    for id, where in lines.items():
        with socket.socket(fileno=equipped.vm.take_port(id)) as ours:
            ours.setblocking(True)
            ours.settimeout(WHOLE)
            inside(f"os.write(os.open(when(lambda: {where}), os.O_RDWR | os.O_NOCTTY), b'hello')")
            assert ours.recv(5, socket.MSG_WAITALL) == b"hello"


def test_the_small_ones_are_there(equipped: gavotte.Sandbox, inside: Inside) -> None:
    assert len(inside.seen("read('/sys/class/misc/hw_random/rng_available').split()[1:]")) == 1
    assert inside.seen("glob.glob('/sys/bus/pci/drivers/pvpanic-pci/0000:*')")
    assert inside.seen("[p for p in glob.glob('/sys/bus/pci/devices/*/device') if read(p) == '0x1052']")
    assert inside.seen("[read(p) for p in glob.glob('/sys/class/watchdog/*/identity')]") == ["i6300ESB timer"]
    assert inside.seen("[p for p in glob.glob('/sys/bus/acpi/devices/QEMUVGID*')]")
    assert inside.seen("glob.glob('/sys/bus/virtio/drivers/virtio_balloon/virtio*')")
    assert ask(equipped, "query-vm-generation-id")["guid"] == GENERATION
    path = {"path": "/machine/peripheral/balloon", "property": "guest-stats-polling-interval"}
    assert ask(equipped, "qom-get", **path) == 1  # said after the start
    assert [each["id"] for each in ask(equipped, "query-iothreads")] == ["full.iothread"]


def test_what_was_plugged_before_the_start_is_unplugged_like_any_other(
    equipped: gavotte.Sandbox, inside: Inside
) -> None:
    for id in [id for id in equipped.vm.plugged if id not in ("generation", "p9", "p9-fixed")]:
        call(equipped.vm.unplug(id, deadline=WHOLE))
    assert set(equipped.vm.plugged) == {"generation", "p9", "p9-fixed"}
    assert equipped.vm.wiring.pids == {}
    assert inside.seen("not [disk(serial) for serial in ('no-1', 'no-2', 'no-3') if disk(serial)]")
    assert inside("tell([name for name in os.listdir('/sys/class/net') if name != 'lo'])") == []
    assert ask(equipped, "query-iothreads") == []
