"""Random machines: what the check says of each, and what QEMU does with it.

A machine is put together from pieces that fit, and then one thing in it is changed: a key, a word, a number, a
reference, an order. Each run has the same ones, by their numbers.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine, UsageError
from gavotte.qemu.check import check_document
from tests.support.binaries import BINARIES
from tests.support.schemas import schema_for
from tests.support.trials import start

MACHINES = 120  # of each binary; a tenth of a second each
BASE: dict[str, Any] = {
    "machine": {"type": "q35", "accel": "tcg"},
    "nodefaults": True,
    "memory": {"size": "128M"},
    "chardevs": [{"backend": "null", "id": "nothing"}],
    "devices": [{"driver": "virtio-mouse-pci"}],
}

# Pieces that fit together, whichever are taken: what they define has names of their own.
PIECES: list[dict[str, Any]] = [
    {"smp": {"cpus": 2, "maxcpus": 8, "sockets": 2, "cores": 2, "threads": 2}},
    {"smp": {"cpus": 4, "cores": 2}},
    {"cpu": {"model": "qemu64", "vmx": True}},
    {"rtc": {"base": "utc", "clock": "vm", "driftfix": "slew"}},
    {"boot": {"menu": True, "strict": False, "splash-time": 100, "reboot-timeout": 5}},
    {"action": {"panic": "none", "reboot": "shutdown", "shutdown": "pause", "watchdog": "reset"}},
    {"compat": {"deprecated-input": "accept", "deprecated-output": "hide"}},
    {"name": {"guest": "x", "debug-threads": True}},
    {"uuid": "c7a5fdbd-edaf-9455-926a-d65c16db1809"},
    {"overcommit": {"cpu-pm": False}},
    {"fw_cfg": [{"name": "opt/one", "string": "x"}, {"name": "opt/two", "string": "y"}]},
    {"smbios": [{"type": 1, "serial": "x", "family": "y"}, {"type": 3, "asset": "z"}]},
    {"audiodevs": [{"driver": "none", "id": "sound"}], "devices": [{"driver": "AC97", "audiodev": "sound"}]},
    {
        "chardevs": [{"backend": "ringbuf", "id": "ring", "size": 4096}],
        "monitors": [{"chardev": "ring", "mode": "readline"}],
    },
    {"chardevs": [{"backend": "null", "id": "line"}], "devices": [{"driver": "isa-serial", "chardev": "line"}]},
    {
        "fsdevs": [{"fsdriver": "synth", "id": "fs"}],
        "devices": [{"driver": "virtio-9p-pci", "fsdev": "fs", "mount_tag": "t"}],
    },
    {
        "objects": [{"qom-type": "rng-builtin", "id": "source"}],
        "devices": [{"driver": "virtio-rng-pci", "rng": "source", "max-bytes": 9}],
    },
    {
        "netdevs": [{"type": "hubport", "id": "net", "hubid": 0}],
        "devices": [{"driver": "e1000", "netdev": "net", "romfile": "", "mac": "52:54:00:12:34:56"}],
    },
    {
        "memory": {"size": "128M", "slots": 2, "maxmem": "1G"},
        "objects": [
            {"qom-type": "memory-backend-ram", "id": "ram", "size": 128 << 20},
            {"qom-type": "memory-backend-ram", "id": "more", "size": 128 << 20},
        ],
        "numa": [{"type": "node", "nodeid": 0, "memdev": "ram"}],
        "devices": [{"driver": "pc-dimm", "memdev": "more", "node": 0}],
    },
    {
        "blockdevs": [{"driver": "null-co", "node-name": "disk", "size": 1 << 20}],
        "objects": [{"qom-type": "iothread", "id": "thread"}],
        "devices": [{"driver": "virtio-blk-pci", "drive": "disk", "iothread": "thread", "bootindex": 1, "addr": "8"}],
    },
    {
        "blockdevs": [{"driver": "raw", "node-name": "raw", "file": {"driver": "null-co", "size": 1 << 20}}],
        "devices": [
            {"driver": "virtio-scsi-pci", "id": "scsi"},
            {"driver": "scsi-hd", "bus": "scsi.0", "drive": "raw", "scsi-id": 3, "lun": 0, "bootindex": 2},
            {"driver": "scsi-cd", "bus": "scsi.0", "scsi-id": 4, "lun": 0},
        ],
    },
    {"devices": [{"driver": "ich9-ahci", "id": "ahci"}, {"driver": "ide-cd", "bus": "ahci.2", "unit": 0}]},
    {"devices": [{"driver": "qemu-xhci", "id": "usb"}, {"driver": "usb-tablet", "bus": "usb.0", "port": "1"}]},
    {
        "devices": [
            {"driver": "pcie-root-port", "id": "first", "chassis": 1, "port": 1, "addr": "6.0", "multifunction": True},
            {"driver": "pcie-root-port", "id": "next", "chassis": 2, "port": 2, "addr": "6.1"},
            {"driver": "virtio-balloon-pci", "bus": "first", "deflate-on-oom": True},
        ]
    },
    {
        "devices": [
            {"driver": "virtio-serial-pci", "id": "serial", "max_ports": 4},
            {"driver": "virtserialport", "bus": "serial.0", "nr": 2, "name": "a"},
        ]
    },
    {
        "devices": [
            {"driver": "pcie-pci-bridge", "id": "bridge"},
            {"driver": "virtio-keyboard-pci", "bus": "bridge", "addr": "3"},
        ]
    },
]

# What isn't changed: sizes, since what is too much depends on the host, and names of files. QEMU takes numbers as a
# device's id, and some versions two sound back ends of one id; the check takes neither. Whether a sound card needs a
# back end's name isn't told by any binary.
LEFT_ALONE = frozenset({"audiodev", "audiodevs", "id", "maxmem", "romfile", "size", "slots"})


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Gives each container with a key of it, all the way down."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def misspelt(rng: random.Random, word: str) -> str:
    at = rng.randrange(len(word))
    return word[:at] + rng.choice("xqz") + word[at:]


def change(rng: random.Random, document: dict[str, Any]) -> None:
    """Changes one thing: a key, a word, a value, what is there, how often, or in which order."""
    leaves = [(at, key) for at, key in places(document) if isinstance(at, dict) and isinstance(at[key], str | int)]
    at, key = rng.choice([(at, key) for at, key in leaves if key not in LEFT_ALONE])
    match rng.randrange(6):
        case 0:
            at[misspelt(rng, key)] = at.pop(key)
        case 1 if isinstance(at[key], str) and at[key]:
            at[key] = misspelt(rng, at[key])
        case 1 | 2:
            at[key] = rng.choice([-2, 2**64 - 1, 2**31, "many", [1], {"a": 1}])
        case 3:
            del at[key]
        case 4:
            name, entries = rng.choice([(name, each) for name, each in document.items() if isinstance(each, list)])
            if name not in LEFT_ALONE:
                entries.insert(rng.randrange(len(entries) + 1), copy.deepcopy(rng.choice(entries)))
        case 5:
            rng.shuffle(document["devices"])


def machine(number: int) -> dict[str, Any]:
    rng = random.Random(number)
    document = copy.deepcopy(BASE)
    for piece in rng.sample(PIECES, rng.randrange(2, 7)):
        for name, entry in copy.deepcopy(piece).items():
            if isinstance(entry, list):
                document.setdefault(name, []).extend(entry)
            else:
                document[name] = entry
    if number % 5:
        change(rng, document)
    return document


def verdicts(qemu: Path | None, number: int) -> tuple[str, str]:
    """Gives what the check says of a machine, and what QEMU does: both empty where all is well."""
    document, said = machine(number), ""
    try:
        document = check_document(document, schema_for(qemu))
    except InvalidMachine as error:
        said = str(error)
    try:
        ended = start(qemu, document)
    except UsageError as error:
        return str(error), str(error)  # what no option can say is told beside the rest
    return said, ended.stderr if ended.returncode else ""


@pytest.mark.parametrize("qemu", BINARIES)
def test_the_check_says_of_random_machines_what_qemu_says(qemu: Path | None) -> None:
    schema_for(qemu)
    with ThreadPoolExecutor(2) as several:
        found = list(several.map(lambda number: verdicts(qemu, number), range(MACHINES)))
    assert [(number, *told) for number, told in enumerate(found) if bool(told[0]) != bool(told[1])] == []
    refused = sum(bool(said) for said, _ in found)
    assert MACHINES / 4 < refused < MACHINES * 3 / 4  # both are tried
