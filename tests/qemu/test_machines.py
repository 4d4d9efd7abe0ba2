"""The rows of machines, and what they don't depend on."""

from __future__ import annotations

import os

import pytest

from gavotte.qemu.machines import ARCHES, MACHINES, canonical_arch, find_machine, host_arch, machines_of


def test_each_row_says_which_processor_each_accelerator_gives() -> None:
    for row in MACHINES:
        assert row.cpus.keys() == {"kvm", "tcg"}
        assert row.cpus["kvm"] == "host"


@pytest.mark.parametrize(
    ("arch", "type", "found"),
    [
        ("x86_64", "pc-q35-7.2", "q35"),
        ("x86_64", "pc-i440fx-9.0", "pc"),
        ("x86_64", "microvm", "microvm"),
        ("aarch64", "virt-9.1", "virt"),
        ("riscv64", "virt", "virt"),
        ("ppc64", "pseries-7.2", "pseries"),
        ("s390x", "s390-ccw-virtio-10.0", "s390-ccw-virtio"),
    ],
)
def test_versioned_types_belong_to_their_row(arch: str, type: str, found: str) -> None:
    row = find_machine(arch, type)
    assert row is not None
    assert (row.arch, row.type) == (arch, found)


@pytest.mark.parametrize(("arch", "type"), [("aarch64", "q35"), ("x86_64", "virt"), ("riscv64", "virt-"), ("vax", "x")])
def test_a_type_of_another_architecture_is_not_found(arch: str, type: str) -> None:
    assert find_machine(arch, type) is None


def test_one_name_is_a_machine_of_its_own_on_each_architecture() -> None:
    arm, riscv = find_machine("aarch64", "virt"), find_machine("riscv64", "virt")
    assert arm is not None and riscv is not None
    assert (arm.serial, riscv.serial) == ("ttyAMA0", "ttyS0")


def test_what_a_machine_type_takes_while_it_runs_is_data() -> None:
    ways = {f"{row.arch}-{row.type}": row.hotplug for row in MACHINES}
    assert ways == {
        "x86_64-q35": "pcie",
        "x86_64-pc": "pci",
        "x86_64-microvm": "",
        "aarch64-virt": "pcie",
        "ppc64-pseries": "pci",
        "s390x-s390-ccw-virtio": "ccw",
        "riscv64-virt": "pcie",
    }


@pytest.mark.parametrize(
    ("name", "arch"), [("ppc64le", "ppc64"), ("ppc64el", "ppc64"), ("amd64", "x86_64"), ("arm64", "aarch64")]
)
def test_the_names_of_kernels_and_of_debian_are_understood(name: str, arch: str) -> None:
    assert canonical_arch(name) == arch
    assert machines_of(name) == machines_of(arch) != ()


def test_only_the_default_architecture_comes_from_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {arch: machines_of(arch) for arch in ARCHES}
    facts = list(os.uname())
    monkeypatch.setattr(os, "uname", lambda: os.uname_result([*facts[:4], "ppc64le"]))
    assert host_arch() == "ppc64"
    assert {arch: machines_of(arch) for arch in ARCHES} == before
