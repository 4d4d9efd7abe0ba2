"""What no binary tells, as rows: each mistake is named at its place, and QEMU refuses it too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine, QemuNotFound
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.check import check_document
from gavotte.qemu.document import document_to_argv
from gavotte.qemu.imports import import_argv
from tests.support.binaries import BINARIES
from tests.support.schemas import schema_for
from tests.support.trials import start

NODE = {"driver": "null-co", "node-name": "b"}
DISK = {"driver": "virtio-blk-pci", "drive": "b", "share-rw": True}
SYNTH = {"fsdriver": "synth", "id": "f"}
NULL = {"backend": "null", "id": "c"}
SCSI = {"driver": "virtio-scsi-pci", "id": "s"}
AHCI = {"driver": "ich9-ahci", "id": "a"}
RAM = {"qom-type": "memory-backend-ram", "id": "m", "size": 128 << 20}
DIMM = {"driver": "pc-dimm", "memdev": "m"}
NUMA = {"type": "node", "memdev": "m"}
ROOM = {"size": "128M", "slots": 2, "maxmem": "1G"}
PORT = {"driver": "pcie-root-port", "id": "p", "chassis": 1}


def devices(*maps: dict[str, Any]) -> dict[str, Any]:
    return {"blockdevs": [NODE], "devices": list(maps)}


# The path of each mistake, and a machine with it and no other.
BAD: list[tuple[str, dict[str, Any]]] = [
    ("machine.accel", {"machine": {"type": "q35", "accel": "tgc"}}),
    ("machine.accel", {"machine": {"type": "q35", "accel": "xen2:tgc"}}),
    ("accels", {"machine": {"type": "q35", "accel": "tcg"}, "accels": [{"accel": "tcg"}]}),
    ("accels", {"accels": [{"accel": "tcg"}], "options": [["-enable-kvm"]]}),
    ("accels[0].accel", {"accels": [{"accel": "kvm:tcg"}]}),
    ("accels[0].bogus", {"accels": [{"accel": "tcg", "bogus": 1}]}),
    ("accels[0].thread", {"accels": [{"accel": "tcg", "thread": "many"}]}),
    ("accels[0].tb-size", {"accels": [{"accel": "tcg", "tb-size": "big"}]}),
    ("cpu.model", {"accels": [{"accel": "tcg"}], "cpu": {"model": "host"}}),
    ("smp", {"smp": {"cpus": 4, "cores": 3}}),
    ("smp", {"smp": {"cpus": 4, "sockets": 2, "cores": 4, "threads": 1}}),
    ("smp", {"smp": {"cpus": 4, "maxcpus": 6, "threads": 4}}),
    ("smp.maxcpus", {"smp": {"cpus": 8, "maxcpus": 4}}),
    ("memory", {"memory": {"size": "128M", "slots": 2}}),
    ("monitors[0].mode", {"chardevs": [NULL], "monitors": [{"chardev": "c", "mode": "qmp"}]}),
    ("monitors[0]", {"monitors": [{"mode": "control"}]}),
    ("action.panic", {"action": {"panic": "explode"}}),
    ("action.panik", {"action": {"panik": "none"}}),
    ("compat.deprecated-input", {"compat": {"deprecated-input": "maybe"}}),
    ("compat.deprecated", {"compat": {"deprecated": "accept"}}),
    ("audiodevs[0].driver", {"audiodevs": [{"driver": "alza", "id": "a"}]}),
    ("audiodevs[0]", {"audiodevs": [{"driver": "none"}]}),
    ("tpmdevs[0].type", {"tpmdevs": [{"type": "emulater", "id": "t"}]}),
    ("tpmdevs[0].chardev", {"chardevs": [NULL], "tpmdevs": [{"type": "passthrough", "id": "t", "chardev": "c"}]}),
    ("tpmdevs[0]", {"tpmdevs": [{"type": "emulator", "id": "t"}]}),
    ("smbios[0].serail", {"smbios": [{"type": 1, "serail": "x"}]}),
    ("smbios[0].type", {"smbios": [{"type": 99, "serial": "x"}]}),
    ("smbios[0]", {"smbios": [{"serial": "x"}]}),
    ("acpitable[0]", {"acpitable": [{"sig": "ABCD"}]}),
    ("acpitable[0].bogus", {"acpitable": [{"sig": "ABCD", "data": "/etc/hosts", "bogus": 1}]}),
    ("rtc.clock", {"rtc": {"clock": "sun"}}),
    ("rtc.base", {"rtc": {"base": "now"}}),
    ("sandbox.spawn", {"sandbox": {"enable": True, "spawn": "maybe"}}),
    ("boot.splash-time", {"boot": {"splash-time": 70000}}),
    ("uuid", {"uuid": "4711"}),
    ("vga", {"vga": "stdvga"}),
    ("seed", {"seed": "random"}),
    ("fw_cfg[0]", {"fw_cfg": [{"string": "x"}]}),
    ("fw_cfg[0]", {"fw_cfg": [{"name": "opt/x", "string": "x", "file": "/etc/hosts"}]}),
    ("fw_cfg[1].name", {"fw_cfg": [{"name": "opt/x", "string": "x"}, {"name": "opt/x", "string": "y"}]}),
    ("option-roms[0]", {"option-roms": [{"bootindex": 1}]}),
    ("fsdevs[0]", {"fsdevs": [{"fsdriver": "local", "id": "f", "security_model": "none"}]}),
    ("fsdevs[0]", {"fsdevs": [{"fsdriver": "local", "id": "f", "path": "/"}]}),
    ("chardevs[0]", {"chardevs": [{"backend": "socket", "id": "c"}]}),
    ("chardevs[0]", {"chardevs": [{"backend": "socket", "id": "c", "path": "/x", "host": "localhost", "port": 1}]}),
    ("chardevs[0]", {"chardevs": [{"backend": "socket", "id": "c", "host": "localhost"}]}),
    ("chardevs[0]", {"chardevs": [{"backend": "udp", "id": "c", "host": "localhost"}]}),
    ("chardevs[0]", {"chardevs": [{"backend": "file", "id": "c"}]}),
    ("options[0]", {"options": [["-serial", "nothing"]]}),
    ("options[0]", {"options": [["-machine", "q35,kernel_irqchip"]]}),
    ("machine.kernel_irqchip", {"machine": {"type": "q35", "accel": "kvm", "kernel_irqchip": "maybe"}}),
    ("options[0]", {"options": [["-serial", "chardev:nothing"]]}),
    ("numa[0].node-id", {"numa": [{"type": "cpu", "node-id": 3, "socket-id": 0}]}),
    ("numa[1].dst", {"objects": [RAM], "numa": [NUMA, {"type": "dist", "src": 0, "dst": 4, "val": 20}]}),
    ("numa[1].nodeid", {"objects": [RAM], "numa": [NUMA | {"nodeid": 0}, {"type": "node", "nodeid": 0}]}),
    ("smp.threads", {"smp": {"cpus": 2, "threads": -2}}),
    ("machine.accel", {"machine": {"type": "q35", "accel": ["tcg"]}}),
    ("machine.tpye", {"machine": {"tpye": "q35", "accel": "tcg"}}),
    ("devices[0].id", devices(PORT | {"id": "port"})),
    ("devices[1].bus", devices({"driver": "virtio-balloon-pci"}, {"driver": "virtio-rng-pci", "bus": "uzb.0"})),
    ("devices[0].max-bytes", devices({"driver": "virtio-rng-pci", "max-bytes": -2})),
    ("devices[0]", devices({"driver": "virtio-rng-device"})),
    ("devices[0]", devices({"driver": "sd-card"})),
    ("devices[0]", devices({"driver": "nvme-ns", "drive": "b"})),
    ("devices[0]", devices({"driver": "virtio-rng-pci", "addr": "0.3"})),
    ("numa", {"numa": [{"type": "node"}]}),
    ("numa", {"objects": [RAM], "numa": [NUMA], "memory": {"size": "256M"}}),
    ("monitors[0].chardev", {"monitors": [{"chardev": 5}]}),
    ("devices[1].port", devices({"driver": "qemu-xhci"}, {"driver": "usb-tablet", "port": "x1"})),
    ("numa[0].mem", {"numa": [{"type": "node", "mem": "128M"}]}),
    ("fsdevs[0].fsdriver", {"fsdevs": [{"fsdriver": "handle", "id": "f"}]}),
    ("devices[0].node", {"memory": ROOM, "objects": [RAM], "devices": [DIMM | {"node": 5}]}),
    ("devices[0].numa_node", devices({"driver": "pxb-pcie", "bus_nr": 5, "numa_node": 3})),
    (
        "devices[0]",
        {"fsdevs": [SYNTH], "devices": [{"driver": "virtio-9p-pci", "fsdev": "f"}]},
    ),
    ("smp.clusters", {"smp": {"cpus": 2, "clusters": 2}}),
    ("numa[0].nodeid", {"objects": [RAM], "numa": [NUMA | {"nodeid": 128}]}),
    (
        "numa[1].val",
        {"objects": [RAM], "numa": [NUMA | {"nodeid": 0}, {"type": "dist", "src": 0, "dst": 0, "val": 9}]},
    ),
    ("smbios[0].uuid", {"smbios": [{"type": 1, "uuid": "nope"}]}),
    ("smbios[0].max-speed", {"smbios": [{"type": 4, "max-speed": 70000}]}),
    ("boot.order", {"boot": {"order": "cx"}}),
    ("boot.once", {"boot": {"once": "cc"}}),
    ("devices[0].index", {"chardevs": [NULL], "devices": [{"driver": "isa-serial", "chardev": "c", "index": 4}]}),
    ("devices[1].nsid", devices({"driver": "nvme", "serial": "n"}, {"driver": "nvme-ns", "drive": "b", "nsid": 257})),
    ("devices[0]", devices({"driver": "vfio-pci"})),
    ("devices[0].guest-cid", devices({"driver": "vhost-vsock-pci", "guest-cid": 2})),
    ("devices[0].guest-cid", devices({"driver": "vhost-vsock-pci", "guest-cid": 2**32})),
    ("devices[0]", devices({"driver": "nvme"})),
    ("devices[0].romfile", devices(PORT | {"romfile": "/usr/share/seabios/vgabios-stdvga.bin"})),
    ("devices[0].romfile", devices({"driver": "pcie-pci-bridge", "romfile": "/usr/share/seabios/vgabios-stdvga.bin"})),
    (
        "devices[1].bootindex",
        devices(*[DISK | {"bootindex": 1}] * 2),
    ),
    ("devices[1].scsi-id", devices(SCSI, {"driver": "scsi-cd", "bus": "s.0", "scsi-id": 256})),
    ("devices[1].lun", devices(SCSI, {"driver": "scsi-cd", "bus": "s.0", "scsi-id": 1, "lun": 16384})),
    ("devices[1].scsi-id", devices({"driver": "lsi", "id": "s"}, {"driver": "scsi-cd", "bus": "s.0", "scsi-id": 8})),
    ("devices[1].bus", devices(SCSI, {"driver": "scsi-cd", "bus": "s.1"})),
    ("devices[1].bus", devices(AHCI, {"driver": "ide-cd", "bus": "a.6"})),
    ("devices[0]", devices({"driver": "ide-cd", "bus": "ide.0", "unit": 1})),
    ("devices[2]", devices(AHCI, {"driver": "ide-cd", "bus": "a.1"}, {"driver": "ide-cd", "bus": "a.1"})),
    ("devices[1]", devices(PORT | {"addr": "4.1"}, PORT | {"id": "q", "chassis": 2, "addr": "4.0"})),
]

# What is unusual, and right.
GOOD: dict[str, dict[str, Any]] = {
    "a list of accelerators": {"machine": {"type": "q35", "accel": "none-such:tcg"}},
    "several accelerators": {"accels": [{"accel": "none-such"}, {"accel": "tcg", "thread": "single", "tb-size": 32}]},
    "a topology that is worked out": {"smp": {"cpus": 2, "maxcpus": 12, "cores": 3}},
    "a topology without a sum": {"smp": {"sockets": 2, "cores": 2}},
    "ranges of processors": {
        "objects": [RAM],
        "smp": {"cpus": 4},
        "numa": [{"type": "node", "memdev": "m", "cpus": ["0-1", "2", 3]}],
    },
    "a bridge without a ROM": devices(PORT | {"romfile": ""}),
    "two values that are unset": devices(*[DISK] * 2),
    "an empty machine with a memory device": {"memory": ROOM, "objects": [RAM], "devices": [DIMM | {"node": 0}]},
    "two disks on one bus": {"machine": {"type": "pc"}, "devices": [{"driver": "ide-cd", "bus": "ide.1"}] * 2},
    "tables": {
        "smbios": [{"type": 1, "serial": "x"}, {"type": 11, "value": ["a", "b"]}],
        "acpitable": [{"data": "/etc/hostname"}],
    },
    "words": {"uuid": "c7a5fdbd-edaf-9455-926a-d65c16db1809", "vga": "std", "seed": "0x10"},
    "options": {
        "options": [
            ["-machine", "q35,usb=off"],
            ["-serial", "mon:null"],
            ["-parallel", "none"],
            ["-boot", "order=c,menu=on"],
            ["-display", "none"],
        ]
    },
    "buses with names of their own": devices(
        {"driver": "nvme", "id": "n", "serial": "x"},
        {"driver": "nvme-ns", "bus": "n", "drive": "b"},
        {"driver": "sdhci-pci", "id": "s"},
        {"driver": "sd-card", "bus": "sd-bus"},
        {"driver": "isa-fdc", "id": "f"},
        {"driver": "floppy", "bus": "f.0"},
        {"driver": "tpci200"},
        {"driver": "ipoctal232"},
    ),
    "settings": {
        "action": {"panic": "none", "reboot": "shutdown"},
        "compat": {"deprecated-input": "accept", "unstable-output": "hide"},
        "rtc": {"base": "2006-06-17T16:01:21", "driftfix": "slew"},
        "audiodevs": [{"driver": "none", "id": "a"}],
    },
}


def told(qemu: Path | None, document: dict[str, Any]) -> list[str]:
    try:
        check_document({"machine": {"type": "q35"}, **document}, schema_for(qemu))
    except InvalidMachine as error:
        return [problem.path for problem in error.problems]
    return []


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
@pytest.mark.parametrize("qemu", BINARIES)
def test_what_a_row_forbids_is_named_and_qemu_refuses_it(qemu: Path | None, case: tuple[str, dict[str, Any]]) -> None:
    path, document = case
    assert told(qemu, document) == [path]
    assert start(qemu, document).returncode != 0


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("qemu", BINARIES)
def test_what_the_rows_allow_starts(qemu: Path | None, name: str) -> None:
    assert told(qemu, GOOD[name]) == []
    ended = start(qemu, GOOD[name])
    assert ended.returncode == 0, ended.stderr


def test_accelerators_beside_each_other_that_are_none_are_all_named() -> None:
    document = {"machine": {"type": "q35", "accel": "tcg"}, "accels": [{"accel": "kvm:tcg", "bogus": 1}]}
    assert told(None, document) == ["accels[0].bogus", "accels", "accels[0].accel"]


def test_devices_on_the_channels_of_s390x_have_addresses_of_their_own() -> None:
    try:
        schema = schema_for(find_qemu("s390x").path)
    except QemuNotFound:
        pytest.skip("there is no QEMU for s390x")
    document: dict[str, Any] = {
        "machine": {"type": "s390-ccw-virtio"},
        "devices": [
            {"driver": "virtio-rng-ccw", "devno": "fe.0.0001"},
            {"driver": "virtio-balloon-ccw", "devno": "fe.0.0001"},
            {"driver": "virtio-rng-ccw", "devno": "fe.4.0001"},
            {"driver": "virtio-rng-ccw", "devno": "fe.0.1"},
            {"driver": "virtio-rng-ccw", "bus": "pci.0"},
        ],
    }
    with pytest.raises(InvalidMachine) as refusal:
        check_document(document, schema)
    paths = {problem.path for problem in refusal.value.problems}
    assert paths == {"devices[1].devno", "devices[2].devno", "devices[3].devno", "devices[4].bus"}


@pytest.mark.parametrize(
    "words",
    [
        ["-smp", "12", "-numa", "node,cpus=0-3,cpus=8-11", "-numa", "node,cpus=4-7"],
        ["-spice", "port=5901,disable-ticketing=on,tls-channel=main,tls-channel=inputs,plaintext-channel=record"],
    ],
)
def test_what_is_given_several_times_is_imported_checked_and_printed_as_it_was(words: list[str]) -> None:
    schema = schema_for()
    if words[0] == "-spice" and schema.option("spice") is None:
        pytest.skip("this QEMU has no -spice")
    document = import_argv(["qemu-system-x86_64", "-machine", "pc-i440fx-4.0", *words])
    argv = document_to_argv(check_document(document, schema))
    assert [word for word in argv if word not in ("-machine", "pc-i440fx-4.0")] == words
