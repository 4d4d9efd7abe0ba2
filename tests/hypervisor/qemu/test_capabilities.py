"""What a machine says it can do, against what its binary, type and configuration allow."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import Unsupported
from gavotte.hypervisor.interface import Ability, Capabilities, MachineConfig, MemoryFile
from gavotte.hypervisor.qemu import capabilities
from gavotte.hypervisor.qemu.capabilities import capabilities_of
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_program, find_qemu
from gavotte.qemu.machines import MACHINES, Machine
from tests.support.binaries import QEMU10
from tests.support.schemas import schema_for
from tests.support.tiny import config_for

ROOMY = {"accel": "kvm", "slots": 4, "max_vcpus": 4, "max_memory": 1 << 30, "shared_memory": True}

# Everywhere, when there is room and vsock.
COMMON = {
    Ability.PAUSE,
    Ability.RESET,
    Ability.SAVE,
    Ability.SHARE_9P,
    Ability.SHARE_VIRTIOFS,
    Ability.VSOCK,
    Ability.WATCHDOG,
    Ability.BALLOON,
    Ability.DUMP,
    Ability.STATISTICS,
}
MEMORY = {Ability.ADD_MEMORY, Ability.REMOVE_MEMORY}
VCPUS = {Ability.ADD_VCPUS, Ability.REMOVE_VCPUS}
SHARED = {Ability.CLONE}  # what a machine with shared memory can't

# Beside these, with the QEMU 7.2 of this project.
MORE = {
    "q35": {Ability.PLUG, *MEMORY, *VCPUS, Ability.VMGENID, Ability.PVPANIC},
    "pc": {Ability.PLUG, *MEMORY, *VCPUS, Ability.VMGENID, Ability.PVPANIC},
    "microvm": {Ability.PVPANIC},
    "aarch64-virt": {Ability.PLUG, *MEMORY, Ability.PVPANIC},
    "pseries": {Ability.PLUG, *MEMORY, *VCPUS, Ability.PVPANIC},
    "s390-ccw-virtio": {Ability.PLUG, Ability.ADD_VCPUS},
    "riscv64-virt": {Ability.PLUG, Ability.PVPANIC},
}


def config(row: Machine, **changes: Any) -> MachineConfig:
    return config_for(Path("/images/vmlinux"), arch=row.arch, machine=row.type, **{**ROOMY, **changes})


def found(row: Machine, qemu: Path | None = None, **changes: Any) -> Capabilities:
    program = qemu or find_program(f"qemu-system-{row.arch}")
    if program is None:
        pytest.skip(f"no emulator for {row.arch} here: make setup-arches")
    return capabilities_of(config(row, **changes), row, schema_for(program))


@pytest.fixture(autouse=True)
def vsock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has vsock."""
    monkeypatch.setattr(capabilities, "VSOCK", Path("/dev/null"))


@pytest.mark.parametrize("row", MACHINES, ids=lambda row: f"{row.arch}-{row.type}")
def test_each_machine_type_has_what_it_has(row: Machine) -> None:
    able = found(row)
    name = row.type if row.type in MORE else f"{row.arch}-{row.type}"
    assert {ability for ability in Ability if ability in able} == COMMON | MORE[name]
    assert all(able.missing.values())


@pytest.mark.parametrize("row", MACHINES, ids=lambda row: f"{row.arch}-{row.type}")
def test_copies_are_made_of_machines_that_were_seen_to_work_so(row: Machine) -> None:
    able = found(row, shared_memory=False)
    assert (Ability.CLONE in able) == ((row.arch, row.type) == ("x86_64", "q35"))
    private = found(row, shared_memory=False, memory_file=MemoryFile(3, private=True))
    assert "empty the file" in private.missing[Ability.BALLOON]


@pytest.mark.skipif(QEMU10 is None, reason="QEMU 10 isn't unpacked beside: make setup-qemu10")
def test_another_version_is_asked_and_not_guessed() -> None:
    assert set(found(MACHINES[0], QEMU10).missing) == SHARED
    assert set(found(MACHINES[0], QEMU10, shared_memory=False).missing) == {Ability.SHARE_VIRTIOFS}


@pytest.mark.parametrize(
    ("without", "missing", "hint"),
    [
        ({"slots": 0}, {Ability.PLUG}, "give it slots"),
        ({"max_vcpus": 1}, VCPUS, "give it max_vcpus"),
        ({"max_memory": 0}, MEMORY, "give it max_memory"),
        ({"shared_memory": False}, {Ability.SHARE_VIRTIOFS}, "give it shared_memory"),
    ],
)
def test_what_a_machine_was_made_without_is_missing_with_the_way_out(
    without: dict[str, Any], missing: set[Ability], hint: str
) -> None:
    able = found(MACHINES[0], **without)
    assert set(able.missing) == missing | (set() if "shared_memory" in without else SHARED)
    for ability in missing:
        with pytest.raises(Unsupported, match=hint) as refused:
            able.require(Ability.PAUSE, ability)
        assert refused.value.ability == ability.value


def test_a_host_without_vsock_has_no_vsock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "VSOCK", Path("/no/such/device"))
    assert set(found(MACHINES[0]).missing) == {Ability.VSOCK} | SHARED


def test_a_versioned_machine_type_is_that_machine() -> None:
    versioned = replace(config(MACHINES[0]), machine="pc-q35-7.2")
    able = capabilities_of(versioned, machine_row("x86_64", "pc-q35-7.2"), schema_for())
    assert Ability.ADD_VCPUS in able


def test_it_is_known_before_the_start_also_of_a_binary_that_was_never_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))

    async def main() -> Capabilities:
        vm = QemuVm(find_qemu(), config(MACHINES[0]))
        able = vm.capabilities()
        assert vm.capabilities() == able
        await vm.stop()
        return able

    assert Ability.PLUG in asyncio.run(main())
