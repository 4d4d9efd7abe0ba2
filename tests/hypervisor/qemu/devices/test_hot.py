"""Each class of device plugged into a guest that runs: seen there, of use there, and gone when it is unplugged."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte.errors import HostError, QemuError, Unsupported, UsageError
from gavotte.faces.loop import call
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
    Vsock,
    Watchdog,
)
from gavotte.hypervisor.events import HelperEnded
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_program
from tests.support.inside import Inside
from tests.support.network import Echo, default_gateway, multiqueue_tap
from tests.support.programs import DEADLINE
from tests.support.qcow2 import empty_qcow2

MAC = "52:54:00:12:34:56"
WHOLE = 180.0  # seconds; a guest on a busy host is slow


@pytest.fixture(scope="module")
def inside(lab: gavotte.Sandbox) -> Iterator[Inside]:
    with Inside(lab) as guest:
        yield guest


@contextmanager
def plugged(lab: gavotte.Sandbox, device: Device) -> Iterator[None]:
    """Plugged for as long as the block takes. What QEMU has is the same before and after."""
    before = parts(lab)
    call(lab.vm.plug(device, deadline=WHOLE))
    try:
        assert device.id in lab.vm.plugged
        yield
    finally:
        call(lab.vm.unplug(device.id, deadline=WHOLE))
    assert device.id not in lab.vm.plugged
    assert parts(lab) - before <= {"device scsi"}  # the controller stays, for the next disk


def ask(lab: gavotte.Sandbox, command: str, **arguments: Any) -> Any:
    return call(lab.vm.monitor.execute(command, arguments))


def parts(lab: gavotte.Sandbox) -> set[str]:
    """All that QEMU has been told."""
    return {
        *(f"device {each['name']}" for each in ask(lab, "qom-list", path="/machine/peripheral")),
        *(f"object {each['name']}" for each in ask(lab, "qom-list", path="/objects")),
        *(f"chardev {each['label']}" for each in ask(lab, "query-chardev")),
        *(f"node {each['node-name']}" for each in ask(lab, "query-named-block-nodes") if each["node-name"][0] != "#"),
    }


def image(folder: Path, data: bytes) -> Path:
    path = folder / "disk,with comma"
    path.write_bytes(data)
    return path


# --- disks ------------------------------------------------------------------------------------------------------------


def test_a_disk_is_read_and_written_in_the_guest(lab: gavotte.Sandbox, inside: Inside, tmp_path: Path) -> None:
    path = image(tmp_path, b"host".ljust(1 << 20, b"\0"))
    with plugged(lab, Disk("data", path, "no-1")):
        told = inside(
            "sysfs = when(lambda: disk('no-1'))\n"
            "fd = os.open(block(sysfs), os.O_RDWR)\n"
            "os.pwrite(fd, b'guest'.ljust(512, b'.'), 4096)\n"
            "os.fsync(fd)\n"
            "tell([read(sysfs + '/size'), read(sysfs + '/ro'), os.pread(fd, 4, 0).decode()])",
        )
        assert told == ["2048", "0", "host"]
        assert path.read_bytes()[4096:4101] == b"guest"
    assert inside.seen("not disk('no-1')")


def test_a_read_only_disk_refuses_writes(lab: gavotte.Sandbox, inside: Inside, tmp_path: Path) -> None:
    path = image(tmp_path, bytes(1 << 20))
    path.chmod(0o400)
    with plugged(lab, Disk("fixed", path, "no-2", read_only=True)):
        told = inside(
            "sysfs = when(lambda: disk('no-2'))\n"
            "try: os.pwrite(os.open(block(sysfs), os.O_RDWR), bytes(512), 0); os.sync(); problem = ''\n"
            "except OSError as error: problem = error.strerror\n"
            "tell([read(sysfs + '/ro'), problem])",
        )
        assert told == ["1", "Operation not permitted"]


def test_a_throttled_qcow2_disk_with_an_iothread_works(lab: gavotte.Sandbox, inside: Inside, tmp_path: Path) -> None:
    path = image(tmp_path, empty_qcow2(4 << 20))
    device = Disk("full", path, "no-3", "qcow2", discard=True, iothread=True, throttle=Throttle(5000, 64 << 20))
    with plugged(lab, device):
        assert [each["id"] for each in ask(lab, "query-iothreads")] == ["full.iothread"]
        limits = ask(lab, "qom-get", path="/objects/full.throttle", property="limits")
        assert (limits["iops-total"], limits["bps-total"]) == (5000, 64 << 20)
        told = inside(
            "sysfs = when(lambda: disk('no-3'))\n"
            "fd = os.open(block(sysfs), os.O_RDWR)\n"
            "os.pwrite(fd, b'q' * 65536, 1 << 20); os.fsync(fd)\n"
            "tell([read(sysfs + '/size'), os.pread(fd, 3, 1 << 20).decode()])",
        )
        assert told == ["8192", "qqq"]
    assert b"q" * 65536 in path.read_bytes()
    assert ask(lab, "query-iothreads") == []


def test_what_the_guest_discards_is_given_back(lab: gavotte.Sandbox, inside: Inside, tmp_path: Path) -> None:
    path = image(tmp_path, b"x" * (4 << 20))
    before = path.stat().st_blocks
    with plugged(lab, Disk("trim", path, "no-4", discard=True)):
        inside(
            "fd = os.open(block(when(lambda: disk('no-4'))), os.O_RDWR)\n"
            "fcntl.ioctl(fd, 0x1277, struct.pack('=QQ', 0, 2 << 20))",  # BLKDISCARD
        )
        assert path.stat().st_blocks <= before / 2


def test_luns_share_a_controller_and_come_and_go(lab: gavotte.Sandbox, inside: Inside, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode().ljust(1 << 20, b"\0"))
    with plugged(lab, Disk("lun-a", tmp_path / "a", "serial-a", bus="virtio-scsi")):
        with plugged(lab, Disk("lun-b", tmp_path / "b", "serial-b", bus="virtio-scsi", read_only=True)):
            told = inside(
                "found = [when(lambda: scsi_disk('serial-' + name)) for name in 'ab']\n"
                "data = [os.pread(os.open(block(path), os.O_RDONLY), 1, 0).decode() for path in found]\n"
                "tell([data, [read(path + '/ro') for path in found]])",
            )
            assert told == [["a", "b"], ["0", "1"]]
        assert inside.seen("not scsi_disk('serial-b')")
        assert inside("tell(scsi_disk('serial-a') is not None)")
    assert inside.seen("not scsi_disk('serial-a')")


# --- networks ---------------------------------------------------------------------------------------------------------


def exchange(inside: Inside, host: str, echo: Echo) -> None:
    """The guest speaks to a server of the host's, which it reaches as `host`."""
    assert (
        inside(
            "with socket.create_connection((arguments[0], arguments[1]), 60) as stream:\n"
            "    stream.sendall(b'from the guest')\n"
            "    tell(stream.recv(100).decode())",
            host,
            echo.port,
        )
        == "from the guest"
    )


def test_a_user_network_leads_to_the_host(lab: gavotte.Sandbox, inside: Inside) -> None:
    with Echo() as echo, plugged(lab, Nic("net", User(), MAC)):
        inside(f"interface_up('{MAC}', '10.0.2.15')")
        exchange(inside, "10.0.2.2", echo)
    assert inside.seen(f"not card('{MAC}')")


def test_a_stream_carries_frames_and_ends_with_its_card(lab: gavotte.Sandbox, inside: Inside) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(WHOLE)
    with ours:
        with theirs, plugged(lab, Nic("net", Stream(theirs.fileno()))):
            theirs.close()  # QEMU has a copy
            mac = inside(
                "path = when(lambda: [p for p in glob.glob('/sys/class/net/*') if 'lo' not in p])[0]\n"
                "mac = read(path + '/address'); interface_up(mac, '10.9.9.2'); tell(mac)",
            )
            (length,) = struct.unpack("!I", ours.recv(4, socket.MSG_WAITALL))
            frame = ours.recv(length, socket.MSG_WAITALL)
            assert frame[6:12].hex(":") == mac
            assert mac.startswith("52:54:00:")
        while ours.recv(65536):
            pass  # what was under way, and then the end


PASST = pytest.mark.skipif(
    find_program("passt") is None or default_gateway() is None, reason="no passt, or no default route for it"
)


@PASST
def test_passt_leads_to_the_host(lab: gavotte.Sandbox, inside: Inside) -> None:
    address, gateway = default_gateway() or ("", "")
    with Echo() as echo, plugged(lab, Nic("net", Passt(), MAC)):
        assert set(lab.vm.wiring.pids) == {"net"}
        inside(f"interface_up('{MAC}', '{address}')")
        exchange(inside, gateway, echo)
    assert lab.vm.wiring.pids == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a tap interface")
def test_a_tap_has_the_queues_it_was_given(lab: gavotte.Sandbox, inside: Inside) -> None:
    with multiqueue_tap(2) as (fds, frames), plugged(lab, Nic("net", Tap(fds), MAC)):
        channels = inside(
            f"name = interface_up('{MAC}', '10.8.8.2')\n"
            "buffer = ctypes.create_string_buffer(struct.pack('=9I', 0x3C, *[0] * 8))\n"  # ETHTOOL_GCHANNELS
            "request = struct.pack('16sP16x', name.encode(), ctypes.addressof(buffer))\n"
            "fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)\n"
            "vectors = len(os.listdir(os.path.realpath(f'/sys/class/net/{name}/device/..') + '/msi_irqs'))\n"
            "tell([struct.unpack('=9I', buffer.raw[:36])[4], vectors])",
        )
        assert channels == [2, 5]  # the guest wants no interrupt for the control queue
        frames.settimeout(WHOLE)
        while frames.recv(65536)[6:12].hex(":") != MAC:
            pass


# --- directories, streams ---------------------------------------------------------------------------------------------


def virtiofsd_is_there() -> bool:
    return any(find_program(path) for path in ("virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"))


VIRTIOFSD = pytest.mark.skipif(not virtiofsd_is_there(), reason="virtiofsd is not installed")


@VIRTIOFSD
def test_a_directory_by_virtiofs_is_read_and_written(lab: gavotte.Sandbox, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "host").write_text("from the host")
    with plugged(lab, Share("shared", tmp_path, "a tag", "virtiofs")):
        told = inside(
            "path = when(lambda: mount('a tag', 'virtiofs'))\n"
            "pathlib.Path(path, 'guest').write_text('from the guest')\n"
            "told = [read(path + '/host'), os.stat(path + '/guest').st_uid]; umount(); tell(told)",
        )
        assert told == ["from the host", 0]
        assert (tmp_path / "guest").read_text() == "from the guest"
    assert lab.vm.wiring.pids == {}


def test_a_port_carries_bytes_both_ways(lab: gavotte.Sandbox, inside: Inside) -> None:
    with plugged(lab, Port("port", "org.example.port")), socket.socket(fileno=lab.vm.take_port("port")) as ours:
        ours.setblocking(True)
        ours.settimeout(WHOLE)
        ours.sendall(b"from the host")
        told = inside(
            "fd = os.open(node(when(lambda: port('org.example.port'))), os.O_RDWR)\n"
            "os.write(fd, b'from the guest'); tell(os.read(fd, 100).decode())",
        )
        assert (told, ours.recv(100)) == ("from the host", b"from the guest")
    assert inside.seen("not port('org.example.port')")


def test_a_console_is_a_terminal_of_the_guest(lab: gavotte.Sandbox, inside: Inside) -> None:
    with plugged(lab, Console("screen")), socket.socket(fileno=lab.vm.take_port("screen")) as ours:
        ours.setblocking(True)
        ours.settimeout(WHOLE)
        told = inside(
            "fd = os.open(when(lambda: node('/sys/class/tty/hvc0')), os.O_RDWR | os.O_NOCTTY)\n"
            "os.write(fd, b'login:'); tell(os.isatty(fd))",
        )
        assert (told, ours.recv(6, socket.MSG_WAITALL)) == (True, b"login:")


# --- the others -------------------------------------------------------------------------------------------------------


def test_a_source_of_random_numbers_comes_and_goes(lab: gavotte.Sandbox, inside: Inside) -> None:
    sources = "read('/sys/class/misc/hw_random/rng_available').split()"
    before = inside(f"tell({sources})")
    with plugged(lab, Rng("more", max_bytes=1024, period=1000)):
        assert inside.seen(f"len({sources}) > {len(before)}")
    assert inside.seen(f"len({sources}) == {len(before)}")


def test_a_balloon_reports_statistics_and_what_is_free(lab: gavotte.Sandbox, inside: Inside) -> None:
    with plugged(lab, Balloon("balloon", statistics=1)):
        features = "[read(p + '/features')[5] for p in glob.glob('/sys/bus/virtio/drivers/virtio_balloon/virtio*')]"
        assert inside.seen(features) == ["1"]  # VIRTIO_BALLOON_F_REPORTING
        path = {"path": "/machine/peripheral/balloon"}
        assert ask(lab, "qom-get", **path, property="guest-stats-polling-interval") == 1
        statistics: dict[str, Any] = {"last-update": 0}
        until = time.monotonic() + DEADLINE
        while not statistics["last-update"] and time.monotonic() < until:
            statistics = ask(lab, "qom-get", **path, property="guest-stats")
        assert statistics["last-update"] > 0
        assert statistics["stats"]["stat-total-memory"] > 64 << 20
    assert inside.seen("not glob.glob('/sys/bus/virtio/drivers/virtio_balloon/virtio*')")


def test_a_watchdog_can_be_wound_up(lab: gavotte.Sandbox, inside: Inside) -> None:
    with plugged(lab, Watchdog("dog", "none")):
        told = inside(
            "sysfs = when(lambda: glob.glob('/sys/class/watchdog/*/dev'))[0].removesuffix('/dev')\n"
            "fd = os.open(node(sysfs), os.O_WRONLY); os.write(fd, b'V'); os.close(fd)\n"
            "tell(read(sysfs + '/identity'))",
        )
        assert "i6300" in told
    assert inside.seen("not glob.glob('/sys/class/watchdog/*/dev')")


def test_pvpanic_is_heard_by_the_kernel(lab: gavotte.Sandbox, inside: Inside) -> None:
    found = "glob.glob('/sys/bus/pci/drivers/pvpanic-pci/0000:*')"
    with plugged(lab, PvPanic("panic")):
        assert inside.seen(found)
    assert inside.seen(f"not {found}")


def test_any_other_device_comes_and_goes(lab: gavotte.Sandbox, inside: Inside) -> None:
    found = "[p for p in glob.glob('/sys/bus/pci/devices/*/device') if read(p) == '0x1052']"  # virtio input
    with plugged(lab, Raw("keys", {"driver": "virtio-keyboard-pci"})):
        assert inside.seen(found)
    assert inside.seen(f"not {found}")


# --- helpers that fail -----------------------------------------------------------------------------------------------


async def kill_and_hear(vm: QemuVm, id: str) -> HelperEnded:
    with vm.events(HelperEnded) as events:
        os.kill(vm.wiring.pids[id], signal.SIGKILL)
        async with asyncio.timeout(WHOLE):
            event = await anext(events)
    assert isinstance(event, HelperEnded)
    return event


@pytest.mark.parametrize(
    ("device", "program"),
    [
        pytest.param(Share("served", Path("/tmp"), kind="virtiofs"), "virtiofsd", marks=VIRTIOFSD),
        pytest.param(Nic("served", Passt()), "passt", marks=PASST),
    ],
    ids=["virtiofsd", "passt"],
)
def test_a_killed_helper_is_told_and_the_machine_goes_on(
    lab: gavotte.Sandbox, inside: Inside, device: Device, program: str
) -> None:
    with plugged(lab, device):
        event = call(kill_and_hear(lab.vm, "served"))
        assert (event.id, event.program) == ("served", program)
        assert "SIGKILL" in event.why
        assert lab.vm.wiring.pids == {}
        assert inside("tell(os.getpid())") > 1
    assert inside("tell(os.getpid())") > 1


# --- what can't be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "error", "words"),
    [
        (Disk("d", Path("/no/such/file")), HostError, "/no/such/file: No such file or directory"),
        (Disk("d", Path("/tmp")), HostError, "/tmp: Is a directory"),
        (Disk("d", Path("disk")), UsageError, "path: disk is relative"),
        (Share("s", Path("/tmp")), Unsupported, "9p in a machine that runs"),
        (Share("s", Path("/no/such"), kind="virtiofs"), HostError, "/no/such: it is no directory"),
        (Nic("n", Tap(())), UsageError, "net: 0 queues"),
        (Nic("n", Tap((4094,))), HostError, "can't lend fd 4094"),
        (Nic("n", Stream(4094)), HostError, "can't lend fd 4094"),
        (VmGenId("g"), Unsupported, "vmgenid in a machine that runs"),
        (Raw("r", {"driver": "no-such-device"}), UsageError, "no-such-device"),
        *([] if Path("/dev/vhost-vsock").exists() else [(Vsock("v", 7), Unsupported, "no /dev/vhost-vsock")]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | type) else "",
)
def test_what_cannot_be_is_refused_before_anything_happens(
    lab: gavotte.Sandbox, device: Device, error: type[Exception], words: str
) -> None:
    before = parts(lab)
    with pytest.raises(error) as caught:
        call(lab.vm.plug(device))
    assert words in str(caught.value)
    assert parts(lab) == before
    assert device.id not in lab.vm.plugged


def test_a_plug_that_qemu_refuses_leaves_nothing(lab: gavotte.Sandbox, tmp_path: Path) -> None:
    path = image(tmp_path, bytes(1 << 20))
    before = parts(lab)
    with plugged(lab, Disk("first", path)):
        with pytest.raises(QemuError, match="lock"):
            call(lab.vm.plug(Disk("second", path, iothread=True, throttle=Throttle(1))))
        assert parts(lab) - before <= {"device first", "node first"}
