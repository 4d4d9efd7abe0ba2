"""The very binary, started with a machine file: what it refuses, and that nothing else notices."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from gavotte.qemu.binary import find_qemu
from gavotte.qemu.check import check_document
from gavotte.qemu.trial import Trial, try_start
from tests.support.binaries import BINARIES
from tests.support.qcow2 import empty_qcow2
from tests.support.schemas import schema_for

BASE: dict[str, Any] = {"machine": {"type": "q35", "accel": "tcg"}, "nodefaults": True, "memory": {"size": "64M"}}


def tried(qemu: Path | None, **sections: Any) -> Trial:
    checked = check_document(BASE | sections, schema_for(qemu))
    return try_start(checked, find_qemu(path=os.fspath(qemu) if qemu else None))


def refusal(qemu: Path | None, **sections: Any) -> str:
    problem = tried(qemu, **sections).problem
    assert problem
    return str(problem)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "disk.qcow2").write_bytes(empty_qcow2(64 << 20))
    (tmp_path / "disk.raw").write_bytes(bytes(1 << 20))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_machine_that_writes_listens_and_connects_starts_without_any_of_it(qemu: Path | None, here: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # so that nobody else could listen there
    port = listener.getsockname()[1]
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    trial = tried(
        qemu,
        pidfile="pid",
        vncs=[{"vnc": f"127.0.0.1:{port}"}],
        objects=[
            {"qom-type": "memory-backend-file", "id": "m", "size": "64M", "mem-path": "memory", "share": True},
            {"qom-type": "filter-dump", "id": "d", "netdev": "n", "file": "dump"},
        ],
        chardevs=[
            {"backend": "socket", "id": "listens", "path": "socket", "server": True, "wait": True},
            {"backend": "file", "id": "writes", "path": "written"},
            {"backend": "socket", "id": "connects", "host": "127.0.0.1", "port": port},
        ],
        monitors=[{"chardev": "listens", "mode": "control"}],
        netdevs=[{"type": "user", "id": "n", "hostfwd": [{"str": f"tcp:127.0.0.1:{port}-:22"}]}],
        numa=[{"type": "node", "memdev": "m"}],
        blockdevs=[
            {"driver": "qcow2", "node-name": "q", "file": {"driver": "file", "filename": "disk.qcow2"}},
            {"driver": "nbd", "node-name": "far", "server": {"type": "unix", "path": "socket"}},
            {"driver": "raw", "node-name": "r", "file": {"driver": "file", "filename": "disk.raw", "locking": "on"}},
        ],
        devices=[
            {"driver": "isa-serial", "chardev": "writes"},
            {"driver": "virtio-net-pci", "netdev": "n", "romfile": ""},
            {"driver": "virtio-blk-pci", "drive": "q"},
            {"driver": "virtio-blk-pci", "drive": "far"},
            {"driver": "ide-hd", "drive": "r"},
            {"driver": "vhost-vsock-pci", "guest-cid": 4711},
        ],
    )
    assert trial.problem is None
    untried = {"vncs[0]", "objects[0]", "objects[1]", "netdevs[0]", "blockdevs[1]", "devices[5]"}
    assert set(trial.untried) == untried | {f"chardevs[{n}]" for n in range(3)}
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()


@pytest.mark.parametrize("qemu", BINARIES)
def test_what_only_qemu_knows_is_told_at_its_place(qemu: Path | None) -> None:
    qcow2 = {"driver": "qcow2", "node-name": "b", "file": {"driver": "file", "filename": "disk.raw"}}
    assert "blockdevs[1]: " in refusal(qemu, blockdevs=[{"driver": "null-co", "node-name": "a"}, qcow2])
    assert "No such file" in refusal(qemu, blockdevs=[{"driver": "file", "node-name": "b", "filename": "gone"}])
    bridge = {"driver": "pxb", "bus_nr": 5}
    assert refusal(qemu, devices=[{"driver": "virtio-rng-pci"}, bridge]).startswith("devices[1]: QEMU refuses it: pxb")
    disk = {"driver": "ide-hd", "drive": "a", "logical_block_size": 4096}
    assert "devices[0]: " in refusal(qemu, blockdevs=[{"driver": "null-co", "node-name": "a"}], devices=[disk])


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_refusal_that_names_no_option_is_told_of_the_whole(qemu: Path | None) -> None:
    assert refusal(qemu, memory={"size": "256M", "maxmem": "128M", "slots": "2"}).startswith("QEMU refuses it: ")


def test_what_depends_on_a_word_that_is_not_tried_is_not_tried() -> None:
    trial = tried(
        None,
        options=[["-drive", "if=none,id=w,file=disk.raw,format=raw"], ["-cpu", "qemu64,+x2apic"]],
        devices=[{"driver": "virtio-blk-pci", "drive": "w"}, {"driver": "virtio-rng-pci"}],
    )
    assert trial == Trial(None, ("devices[0]", "options[0]"))


def test_a_passed_on_word_is_tried() -> None:
    assert refusal(None, options=[["-cpu", "qemu64,+nosuch"]]).startswith("QEMU refuses it: ")


def test_an_image_that_a_machine_writes_to_can_be_tried(here: Path) -> None:
    import fcntl

    with (here / "disk.qcow2").open("r+b") as image:
        fcntl.lockf(image, fcntl.LOCK_SH, 2, 100)  # as one that reads and writes (QEMU's block/file-posix.c)
        fcntl.lockf(image, fcntl.LOCK_SH, 1, 201)
        node = {"driver": "qcow2", "node-name": "q", "file": {"driver": "file", "filename": "disk.qcow2"}}
        trial = tried(None, blockdevs=[node], devices=[{"driver": "virtio-blk-pci", "drive": "q"}])
    assert trial.problem is None
