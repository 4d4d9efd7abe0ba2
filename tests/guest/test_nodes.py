"""Which devices have a node in the commands' /dev, how it is made there, and that only ours go."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte.guest.agent import PORT_NAME, nodes
from gavotte.hypervisor.devices import Disk, Port

DISK = [stat.S_IFBLK | 0o660, 6]
PORT = [stat.S_IFCHR | 0o600, 0]


class Sys:
    """A /sys of our own making."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def add(self, kind: str, name: str, /, *, inside: str = "", devname: str = "", **attributes: str | bytes) -> None:
        """A device of a class; a part of the disk `inside` if that is given. `__` in an attribute is a slash."""
        where = self.top / "devices" / inside / name
        where.mkdir(parents=True)
        number = 16 * len(list((self.top / kind).glob("*")))
        part = f"PARTN={name[-1]}\n" if inside else ""
        (where / "uevent").write_text(f"MAJOR=254\nMINOR={number}\nDEVNAME={devname or name}\n{part}")
        for key, value in attributes.items():
            path = where / key.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(value if isinstance(value, bytes) else f"{value}\n".encode())
        (self.top / kind).mkdir(exist_ok=True)
        (self.top / kind / name).symlink_to(where)


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sys:
    monkeypatch.setattr(nodes, "CLASS", str(tmp_path))
    return Sys(tmp_path)


def test_disks_and_their_partitions_have_nodes_and_links_by_their_serial(devices: Sys) -> None:
    devices.add("block", "vda", serial="root")
    devices.add("block", "vda1", inside="vda")
    devices.add("block", "vdb", serial="data")
    devices.add("block", "vdb1", inside="vdb")
    devices.add("block", "vdc")
    scsi: Any = {
        "device__vendor": "QEMU    ",
        "device__model": "QEMU HARDDISK   ",
        "device__vpd_pg80": b"\0\x80\0\x04 ab9",
    }
    devices.add("block", "sda", **scsi)
    assert nodes.present("vda") == {
        "sda": [*DISK, 254, 80],
        "disk/by-id/scsi-0QEMU_QEMU_HARDDISK_ab9": "../../sda",
        "vdb": [*DISK, 254, 32],
        "disk/by-id/virtio-data": "../../vdb",
        "vdb1": [*DISK, 254, 48],
        "disk/by-id/virtio-data-part1": "../../vdb1",
        "vdc": [*DISK, 254, 64],
    }


def test_what_the_kernel_makes_up_has_no_node(devices: Sys) -> None:
    for kind, name in (("block", "loop0"), ("block", "zram0"), ("block", "ram1"), ("tty", "ttyS0"), ("misc", "kvm")):
        devices.add(kind, name)
    assert nodes.present("") == {}


def test_ports_have_nodes_and_links_by_their_name_but_for_the_agents(devices: Sys) -> None:
    devices.add("virtio-ports", "vport0p1", name=PORT_NAME)
    devices.add("virtio-ports", "vport1p1", name="my/po rt")
    devices.add("virtio-ports", "vport1p2")
    assert nodes.present("") == {
        "vport1p1": [*PORT, 254, 16],
        "virtio-ports/my_po_rt": "../vport1p1",
        "vport1p2": [*PORT, 254, 32],
    }


def test_a_terminal_has_a_node_unless_the_kernels_console_is_on_it(devices: Sys) -> None:
    devices.add("tty", "hvc0")
    devices.add("tty", "hvc1")
    devices.add("tty", "console", active="ttyS0 hvc0")
    assert list(nodes.present("")) == ["hvc1"]


def test_other_devices_have_nodes_by_the_names_and_modes_that_udev_gives(devices: Sys) -> None:
    devices.add("misc", "hw_random", devname="hwrng")
    devices.add("misc", "fuse")
    devices.add("watchdog", "watchdog0")
    modes = {name: what[0] & 0o777 for name, what in nodes.present("").items()}
    assert modes == {"fuse": 0o666, "hwrng": 0o600, "watchdog0": 0o600}


@pytest.mark.parametrize("name", [".", "..", "../x", "/etc/passwd", "a" * 500, "\x1b[2J", "é", ""])
def test_a_name_stays_in_its_directory_whatever_the_host_calls_a_device(devices: Sys, name: str) -> None:
    devices.add("block", "vda", serial=name)
    devices.add("virtio-ports", "vport1p1", name=name)
    for path in nodes.present(""):
        assert path in ("vda", "vport1p1") or path.rpartition("/")[0] in ("disk/by-id", "virtio-ports")
        assert nodes.is_plain(path.rpartition("/")[2])


def test_a_node_named_with_a_path_is_not_made(devices: Sys) -> None:
    devices.add("block", "vda", devname="../vda")
    devices.add("block", "vdb", devname="mapper/vdb")
    assert nodes.present("") == {}


def test_of_two_disks_with_one_serial_the_first_keeps_the_link(devices: Sys) -> None:
    for name in ("vdb", "vda"):
        devices.add("block", name, serial="same")
    assert nodes.present("")["disk/by-id/virtio-same"] == "../../vda"


def test_a_device_that_goes_while_it_is_looked_at_has_no_node(devices: Sys) -> None:
    (devices.top / "block").mkdir()
    (devices.top / "block" / "vda").symlink_to(devices.top / "gone")
    assert nodes.present("") == {}


def test_there_is_a_bound_to_the_nodes_and_to_what_they_take(devices: Sys) -> None:
    for n in range(200):
        devices.add("block", f"sd{n:03}", serial=f"{n}é" + "x" * 200)
    found = nodes.present("")
    assert len(found) == nodes.MOST
    assert len(str(found)) < 1 << 16


def made(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_symlink() or not path.is_dir())


NULL = [stat.S_IFCHR | 0o640, 6, 1, 3]
WANTED: dict[str, Any] = {"x": NULL, "disk/by-id/x": "../../x"}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    try:
        os.mknod(tmp_path / "try", stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs root that may make device nodes")
    (tmp_path / "try").unlink()
    return tmp_path


def test_nodes_and_links_come_and_go_as_told(top: Path) -> None:
    ours = nodes.Nodes(str(top))
    ours.update(WANTED)
    found = (top / "disk/by-id/x").stat()
    assert (found.st_mode, found.st_gid, found.st_rdev) == (NULL[0], 6, os.makedev(1, 3))
    ours.update({"x": [*NULL[:3], 5]})
    assert made(top) == ["x"]
    assert os.minor((top / "x").stat().st_rdev) == 5
    ours.update({})
    assert made(top) == []


def test_what_commands_made_or_changed_stays(top: Path) -> None:
    ours = nodes.Nodes(str(top))
    (top / "y").write_text("theirs")
    ours.update({**WANTED, "y": NULL})
    (top / "x").unlink()
    (top / "x").write_text("theirs")
    (top / "disk/by-id/x").unlink()
    ours.update({})
    assert made(top) == ["x", "y"]


def test_a_directory_that_commands_put_a_file_in_place_of_is_no_end(top: Path) -> None:
    ours = nodes.Nodes(str(top))
    (top / "disk").write_text("theirs")
    ours.update(WANTED)
    assert made(top) == ["disk", "x"]


@pytest.mark.vm
def test_a_plugged_disk_is_read_and_written_by_its_serial(lab: gavotte.Sandbox, tmp_path: Path) -> None:
    def said(script: str) -> str:
        return lab.run(["sh", "-ec", script], timeout=120).check().stdout.decode().strip()

    image = tmp_path / "disk"
    image.write_bytes(b"from the host".ljust(1 << 20, b"\0"))
    link = "/dev/disk/by-id/virtio-a_b"
    lab.plug(Disk("noded", image, "a/b"))
    lab.plug(Port("nodedport", "its name"))
    try:
        assert said(f"until [ -e {link} ]; do sleep 0.1; done; head -c 13 {link}") == "from the host"
        said(f"printf inside | dd of={link} bs=512 seek=1 conv=sync,fsync 2>/dev/null")
        assert image.read_bytes()[512:518] == b"inside"
        node = said(f"stat -c '%F %a %U %G' $(realpath {link}); realpath {link}").splitlines()
        assert node[0] == "block special file 660 root disk"
        said("until [ -c /dev/virtio-ports/its_name ]; do sleep 0.1; done")
        assert said(f"ls -l /dev | grep -c '{node[1].removeprefix('/dev/')}$'") == "1"
    finally:
        lab.unplug("noded")
        lab.unplug("nodedport")
    said(f"until [ ! -e {node[1]} -a ! -L {link} -a ! -L /dev/virtio-ports/its_name ]; do sleep 0.1; done")
