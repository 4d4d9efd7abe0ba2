"""A whole machine file: what is told of all of it together, and what is left to QEMU."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gavotte.errors import InvalidMachine
from gavotte.qemu.check import check_document
from tests.support.programs import SOURCES
from tests.support.schemas import schema_for


def problems(document: Any) -> list[str]:
    try:
        check_document(document, schema_for())
    except InvalidMachine as e:
        return [str(problem) for problem in e.problems]
    return []


def test_the_issues_example_is_right() -> None:
    document: dict[str, Any] = {
        "machine": {"type": "q35", "accel": "tcg"},
        "memory": {"size": "256M"},
        "smp": {"cpus": 2},
        "objects": [{"qom-type": "rng-random", "id": "r", "filename": "/dev/urandom"}],
        "netdevs": [{"type": "user", "id": "n"}],
        "blockdevs": [{"driver": "null-co", "node-name": "b", "size": 1048576}],
        "devices": [{"driver": "virtio-rng-pci", "rng": "r"}, {"driver": "virtio-blk-pci", "drive": "b"}],
    }
    assert check_document(document, schema_for()) == document


def test_a_file_without_a_machine_type_is_held_against_the_default_one() -> None:
    document: dict[str, Any] = {
        "smp": {"cpus": 300},
        "numa": [{"type": "node", "mem": "128M"}],
        "devices": [{"driver": "virtio-scsi-pci", "id": "s"}, {"driver": "scsi-cd", "bus": "s.1"}],
    }
    told = "\n".join(problems(document))
    assert "smp.cpus: pc-i440fx" in told
    assert "numa[0].mem: pc-i440fx" in told
    assert "devices[1].bus: there is no bus 's.1'; did you mean 's.0'?" in told
    assert problems(document | {"options": [["-M", "q35"]]}) == []


def test_what_was_checked_once_is_right_as_it_is() -> None:
    document: dict[str, Any] = {
        "machine": {"type": "q35", "smm": True},
        "objects": [{"qom-type": "memory-backend-ram", "id": "m", "size": "1G", "host-nodes": "0-1"}],
        "devices": [{"driver": "virtio-rng-pci", "disable-legacy": True, "max-bytes": "1K"}],
    }
    once = check_document(document, schema_for())
    assert once != document
    assert check_document(once, schema_for()) == once


def test_mistakes_everywhere_are_told_together() -> None:
    document = {
        "machin": {},
        "smp": {"cpu": 2},
        "kernel": ["/vmlinuz"],
        "netdevs": {"type": "user", "id": "n"},
        "devices": ["virtio-rng-pci", {"driver": "virtio-rng-pci", "bus": "x"}],
    }
    told = "\n".join(problems(document | {"machine": {"type": "q35"}}))
    for path in ("machin", "smp.cpu", "kernel", "netdevs", "devices[0]", "devices[1].bus"):
        assert f"{path}: " in told


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (
            {"machine": {"type": "q35"}, "devices": [{"driver": "virtio-rng-pci", "bus": "pci.0"}]},
            "devices[0].bus: there is no bus 'pci.0'; did you mean 'pcie.0'?",
        ),
        (
            {
                "machine": {"type": "q35"},
                "devices": [{"driver": "qemu-xhci"}, {"driver": "scsi-cd", "bus": "scsi.0"}],
            },
            "devices[1].bus: there is no bus 'scsi.0'",
        ),
        (
            {
                "objects": [{"qom-type": "memory-backend-ram", "id": "m", "size": "64M"}],
                "devices": [{"driver": "pc-dimm", "memdev": "m"}, {"driver": "pc-dimm", "memdev": "m"}],
            },
            "devices[1].memdev: the object 'm' is in use already, at devices[0].memdev",
        ),
        (
            {"numa": [{"type": "node", "memdev": "m"}]},
            "numa[0].memdev: nothing defines the object 'm'",
        ),
        (
            {"objects": [{"qom-type": "rng-builtin", "id": "r"}] * 2},
            "objects[1].id: the object id 'r' is taken already, at objects[0].id",
        ),
        (
            {
                "objects": [{"qom-type": "rng-builtin", "id": "rng0"}],
                "devices": [{"driver": "virtio-rng-pci", "rng": "rng1"}],
            },
            "devices[0].rng: nothing defines the object 'rng1'; did you mean 'rng0'?",
        ),
        (
            {"blockdevs": [{"driver": "raw", "node-name": "a", "file": {"driver": "null-co", "node-name": "a"}}]},
            "blockdevs[0].file.node-name: the block device id 'a' is taken already, at blockdevs[0].node-name",
        ),
        (
            {"devices": [{"driver": "virtio-rng-pci", "bus": "p"}, {"driver": "pcie-root-port", "id": "p"}]},
            "devices[0].bus: the bus 'p' comes later, from devices[1]: QEMU goes by the order",
        ),
        (
            {
                "devices": [
                    {"driver": "pcie-root-port", "id": "p"},
                    {"driver": "virtio-rng-pci", "bus": "p"},
                    {"driver": "virtio-balloon-pci", "bus": "p"},
                ]
            },
            "devices[2]: the bus is full: pcie-root-port has one slot",
        ),
        (
            {"devices": [{"driver": "virtio-rng-pci", "addr": "1f"}]},
            "devices[0]: the address 1f.0 is taken already, by the machine",
        ),
        (
            {"smp": {"cpus": "1000"}},
            "smp.cpus: pc-q35-7.2 has at most 288 CPUs, not 1000",
        ),
        (
            {"globals": [{"driver": "virtio-rng-pci", "property": "max-byte", "value": "1"}]},
            "globals[0].property: virtio-rng-pci has no property 'max-byte'; did you mean 'max-bytes'?",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(document: dict[str, Any], said: str) -> None:
    if schema_for().machine("pc-q35-7.2") is None:
        pytest.skip("the installed QEMU no longer has the machine type that the texts name")
    assert problems({"machine": {"type": "pc-q35-7.2"}} | document) == [said]


@pytest.mark.parametrize(
    "document",
    [
        {"options": [["-readconfig", "/x"]], "devices": [{"driver": "virtio-blk-pci", "drive": "d", "bus": "b"}]},
        {"options": [["-hda", "/x"]], "devices": [{"driver": "virtio-blk-pci", "drive": "ide0-hd0"}]},
        {"options": [["-object", "iothread,id=t"]], "devices": [{"driver": "virtio-scsi-pci", "iothread": "t"}]},
        {
            "options": [["-object", '{"qom-type":"iothread","id":"t"}']],
            "devices": [{"driver": "virtio-scsi-pci", "iothread": "t"}],
        },
        {"devices": [{"driver": "lsi"}, {"driver": "scsi-cd", "bus": "scsi.0"}]},
        {"devices": [{"driver": "isa-fdc"}, {"driver": "floppy", "bus": "floppy-bus.0"}]},
        {"devices": [{"driver": "intel-iommu", "bus": "main-system-bus"}]},
        {"machine": {"type": "isapc"}, "devices": [{"driver": "isa-debug-exit", "bus": "whatever.3"}]},
        {"devices": [{"driver": "virtio-rng-pci", "bus": "/machine/whatever"}]},
        {"globals": [{"driver": "virtio-pci", "property": "disable-legacy", "value": "on"}]},
    ],
)
def test_what_cannot_be_seen_is_left_to_qemu(document: dict[str, Any]) -> None:
    assert problems({"machine": {"type": "q35"}} | document) == []


def test_words_define_only_what_they_say() -> None:
    document = {
        "options": [["-drive", "if=none,id=a,file=/x"]],
        "devices": [{"driver": "virtio-blk-pci", "drive": "b"}],
    }
    assert problems(document) == ["devices[0].drive: nothing defines the block device 'b'"]


@pytest.mark.parametrize("document", [None, [], "q35", {1: 2}, {"devices": None}, {"devices": [None]}])
def test_what_is_no_machine_file_is_refused(document: Any) -> None:
    assert problems(document)


def test_a_thousand_devices_with_a_mistake_each_are_told_with_suggestions_for_the_first() -> None:
    told = problems({"devices": [{"driver": "virtio-rng-pci", "max-byte": n} for n in range(1000)]})
    assert len([line for line in told if "has no property 'max-byte'" in line]) == 1000
    assert "did you mean" in told[0]
    assert "did you mean" not in told[999]


def test_a_right_machine_is_checked_without_what_suggestions_need() -> None:
    code = (
        f"import sys; sys.path.insert(0, {SOURCES!r}); import gavotte.qemu.check\n"
        "print({'difflib', 'asyncio'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
