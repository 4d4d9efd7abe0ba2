"""What check refuses, QEMU refuses, and what check passes, QEMU starts: the same documents through both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine
from gavotte.qemu.check import check_document
from gavotte.qemu.check.rules import DEVICES
from tests.support.binaries import BINARIES
from tests.support.schemas import schema_for
from tests.support.trials import start

NODE = {"driver": "null-co", "node-name": "b"}
NETDEV = {"type": "hubport", "id": "n", "hubid": 0}
PORT = {"driver": "pcie-root-port", "id": "p", "chassis": 1}
NIC = {"driver": "e1000", "romfile": ""}  # an unpacked QEMU has no ROM of its own
RNG = {"driver": "virtio-rng-pci"}


def devices(*maps: dict[str, Any]) -> dict[str, Any]:
    return {"blockdevs": [NODE], "netdevs": [NETDEV], "devices": list(maps)}


# What people write: text where QEMU wants a type, each in its own way.
GOOD: dict[str, dict[str, Any]] = {
    "bools": devices(RNG | {"any_layout": "yes", "disable-modern": "off", "disable-legacy": True}),
    "numbers": devices(RNG | {"max-bytes": "0x10", "period": "100", "vectors": 2}),
    "sizes": devices({"driver": "virtio-blk-pci", "drive": "b", "physical_block_size": "4K", "serial": 5}),
    "words": devices(PORT | {"x-speed": 16, "port": "3"}),
    "slots": devices(RNG | {"addr": "05.1"}, RNG | {"addr": 8}),
    "functions": devices(RNG | {"addr": "5", "multifunction": "on"}, RNG | {"addr": "5.1"}),
    "a port's slot": devices(PORT, RNG | {"bus": "p"}),
    "buses of devices": devices(
        {"driver": "virtio-serial-pci", "id": "s", "max_ports": "3"},
        {"driver": "virtconsole", "bus": "s.0"},
        {"driver": "virtserialport", "bus": "s.0", "nr": "2"},
        {"driver": "virtserialport", "bus": "s.0"},
        {"driver": "qemu-xhci", "id": "x"},
        {"driver": "usb-tablet", "bus": "x.0", "port": "1"},
        {"driver": "virtio-scsi-pci"},
        {"driver": "scsi-hd", "bus": "scsi.0", "drive": "b", "scsi-id": 1, "lun": 0},
    ),
    "a bridge": devices(
        {"driver": "pcie-pci-bridge", "id": "pp"}, RNG | {"bus": "pp"}, RNG | {"bus": "pp", "addr": "1f"}
    ),
    "a full root": devices(*[RNG] * 29),
    "a disk for two": devices(*[{"driver": "virtio-blk-pci", "drive": "b", "share-rw": "on"}] * 2),
    "a console for two": {
        "chardevs": [{"backend": "null", "id": "c", "mux": "on"}],
        "devices": [{"driver": "isa-serial", "chardev": "c"}] * 2,
    },
    "objects": {
        "machine": {"type": "q35", "memory-backend": "m"},
        "memory": {"size": "64M", "slots": "2", "maxmem": "1G"},
        "objects": [
            {"qom-type": "memory-backend-ram", "id": "m", "size": "64M", "share": "on"},
            {"qom-type": "memory-backend-ram", "id": "d", "size": "0.25G", "host-nodes": "0", "policy": "bind"},
            {"qom-type": "iothread", "id": "t", "poll-max-ns": "0"},
            {"qom-type": "rng-random", "id": "r", "filename": "/dev/urandom"},
        ],
        "blockdevs": [NODE],
        "devices": [
            {"driver": "pc-dimm", "memdev": "d"},
            {"driver": "virtio-blk-pci", "drive": "b", "iothread": "t"},
            RNG | {"rng": "r"},
        ],
    },
    "nested nodes": {
        "blockdevs": [
            {"driver": "raw", "node-name": "r", "size": "1M", "file": {"driver": "null-co", "size": "2M"}},
            {"driver": "raw", "node-name": "s", "read-only": "on", "cache": {"direct": "on"}, "file": "r"},
        ],
        "devices": [{"driver": "virtio-blk-pci", "drive": "s"}],
    },
    "a network": {
        "netdevs": [{"type": "user", "id": "u", "restrict": "y", "ipv6": "off", "hostfwd": []}],
        "devices": [
            {"driver": "virtio-net-pci", "netdev": "u", "mac": "52:54:00:12:34:56", "mq": "off", "romfile": ""}
        ],
    },
    "sections": {
        "machine": {"type": "q35", "dump_guest_core": "off", "smm": True, "hpet": False},
        "cpu": {"model": "qemu64", "vmx": True, "lahf_lm": "on", "tsc-freq": "1G"},
        "smp": {"cpus": "2", "maxcpus": 4},
        "memory": {"size": 64},
        "rtc": {"base": "utc", "clock": "vm"},
        "boot": {"menu": True, "strict": "off"},
        "name": {"guest": "x", "debug-threads": "on"},
        "objects": [{"qom-type": "memory-backend-ram", "id": "m", "size": "64M"}],
        "numa": [{"type": "node", "cpus": "0-1", "memdev": "m"}],
        "fw_cfg": [{"name": "opt/org.example", "string": "x"}],
        "globals": [{"driver": "virtio-rng-pci", "property": "max-bytes", "value": "1K"}],
        "chardevs": [{"backend": "ringbuf", "id": "c", "size": "64K"}],
        "monitors": [{"chardev": "c", "mode": "readline"}],
    },
    "ids from words": {
        "options": [["-drive", "if=none,id=w,driver=null-co"], ["-device", "pcie-root-port,id=q,chassis=7"]],
        "devices": [{"driver": "virtio-blk-pci", "drive": "w", "bus": "q"}],
    },
}

# Each with the path of the one thing that is wrong with it.
BAD: dict[str, dict[str, Any]] = {
    "machine.type": {"machine": {"type": "q53"}},
    "machine.hpett": {"machine": {"type": "q35", "hpett": True}},
    "machine.hpet": {"machine": {"type": "q35", "hpet": "maybe"}},
    "machine.memory-backend": {"machine": {"type": "q35", "memory-backend": "m"}},
    "cpu.model": {"cpu": {"model": "qemu65"}},
    "cpu.vmxx": {"cpu": {"model": "qemu64", "vmxx": True}},
    "cpu.vmx": {"cpu": {"model": "qemu64", "vmx": "maybe"}},
    "smp.cpu": {"smp": {"cpu": 2}},
    "smp.cpus": {"smp": {"cpus": 100_000}},
    "memory.size": {"memory": {"size": "lots"}},
    "rtc.bass": {"rtc": {"bass": "utc"}},
    "boot.menu": {"boot": {"menu": "maybe"}},
    "numa[0].nodid": {
        "objects": [{"qom-type": "memory-backend-ram", "id": "m", "size": 128 << 20}],
        "numa": [{"type": "node", "memdev": "m", "nodid": 0}],
    },
    "objects[0].qom-type": {"objects": [{"qom-type": "rng-randon", "id": "r"}]},
    "objects[0].id": {"objects": [{"qom-type": "rng-builtin", "id": "9"}]},
    "objects[0]": {"objects": [{"qom-type": "rng-builtin"}]},
    "objects[1].id": {"objects": [{"qom-type": "rng-builtin", "id": "r"}] * 2},
    "objects[0].size": {"objects": [{"qom-type": "memory-backend-ram", "id": "m", "size": "1X"}]},
    "objects[0].policy": {"objects": [{"qom-type": "memory-backend-ram", "id": "m", "size": "1M", "policy": "worst"}]},
    "objects[0].chardev": {"objects": [{"qom-type": "rng-egd", "id": "r", "chardev": "c"}]},
    "netdevs[0].type": {"netdevs": [{"type": "usr", "id": "n"}]},
    "netdevs[0].hostfwd": {"netdevs": [{"type": "user", "id": "n", "hostfwd": {"str": "tcp::0-:22"}}]},
    "netdevs[1].id": {"netdevs": [NETDEV, NETDEV]},
    "blockdevs[0]": {"blockdevs": [{"driver": "null-co"}]},
    "blockdevs[0].node-name": {"blockdevs": [{"driver": "null-co", "node-name": "n" * 32}]},
    "blockdevs[0].file.sise": {
        "blockdevs": [{"driver": "raw", "node-name": "r", "file": {"driver": "null-co", "sise": 1}}]
    },
    "blockdevs[0].file": {"blockdevs": [{"driver": "raw", "node-name": "r", "file": "gone"}]},
    "blockdevs[1].node-name": {"blockdevs": [NODE, NODE]},
    "chardevs[0].backend": {"chardevs": [{"backend": "nul", "id": "c"}]},
    "chardevs[0].waite": {"chardevs": [{"backend": "null", "id": "c", "waite": True}]},
    "chardevs[0].server": {"chardevs": [{"backend": "null", "id": "c", "server": "maybe"}]},
    "monitors[0].chardev": {"monitors": [{"chardev": "c", "mode": "control"}]},
    "fw_cfg[0].strin": {"fw_cfg": [{"name": "opt/x", "string": "x", "strin": "y"}]},
    "display.type": {"display": {"type": "screen"}},
    "devices[0].driver": devices({"driver": "virtio-rng-pcie"}),
    "devices[0].max-byte": devices(RNG | {"max-byte": 1}),
    "devices[0].max-bytes": devices(RNG | {"max-bytes": "many"}),
    "devices[0].vectors": devices(RNG | {"vectors": 2**32}),
    "devices[0].disable-legacy": devices(RNG | {"disable-legacy": "yes"}),
    "devices[0].any_layout": devices(RNG | {"any_layout": 1}),
    "devices[0].addr": devices(RNG | {"addr": "32"}),
    "devices[0].rng": devices(RNG | {"rng": "r"}),
    "devices[0].bus": devices(RNG | {"bus": "pcie.1"}),
    "devices[0].mac": devices(NIC | {"mac": "52:54:00"}),
    "devices[0].id": devices(RNG | {"id": ""}),
    "devices[0]": devices({"driver": "virtio-blk-pci"}),
    "devices[1].id": devices(RNG | {"id": "d"}, RNG | {"id": "d"}),
    "devices[1].netdev": devices(*[NIC | {"netdev": "n"}] * 2),
    "devices[1].drive": devices(*[{"driver": "virtio-blk-pci", "drive": "b"}] * 2),
    "devices[1]": devices(PORT, PORT | {"id": "q"}),
    "devices[0].bus ": devices(RNG | {"bus": "p"}, PORT),
    "devices[0].bus  ": devices(RNG | {"bus": "ide.0"}),
    "devices[0] ": devices({"driver": "usb-tablet"}),
    "devices[1] ": devices(RNG | {"addr": "5"}, RNG | {"addr": "5.0"}),
    "devices[1]  ": devices(RNG | {"addr": "5"}, RNG | {"addr": "5.1"}),
    "devices[30]": devices(*[RNG] * 31),
    "devices[2]": devices(
        {"driver": "virtio-serial-pci", "id": "s", "max_ports": 2}, *[{"driver": "virtserialport", "bus": "s.0"}] * 2
    ),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("qemu", BINARIES)
def test_what_check_passes_starts(qemu: Path | None, name: str) -> None:
    checked = check_document({"machine": {"type": "q35"}} | GOOD[name], schema_for(qemu))
    ended = start(qemu, checked)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("path", BAD)
@pytest.mark.parametrize("qemu", BINARIES)
def test_what_check_refuses_qemu_refuses(qemu: Path | None, path: str) -> None:
    with pytest.raises(InvalidMachine) as refusal:
        check_document({"machine": {"type": "q35"}} | BAD[path], schema_for(qemu))
    assert [problem.path for problem in refusal.value.problems] == [path.rstrip()]
    assert start(qemu, BAD[path]).returncode != 0


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_device_that_needs_a_back_end_does_not_start_without(qemu: Path | None) -> None:
    schema = schema_for(qemu)
    started = []
    for stem, rule in DEVICES.items():
        driver = next((name for name in (f"{stem}-pci", stem) if name in schema.devices), None)
        if driver is None or not rule.needs:
            continue
        document = devices(
            {"driver": "virtio-scsi-pci"}, {"driver": "qemu-xhci"}, {"driver": "usb-ccid"}, {"driver": driver}
        )
        with pytest.raises(InvalidMachine, match=f"{driver} needs '{rule.needs[0].split('|')[0]}'"):
            check_document(document, schema)
        ended = start(qemu, document)
        if ended.returncode == 0 or "bus found" in ended.stderr:
            started.append((driver, ended.stderr))
    assert not started
