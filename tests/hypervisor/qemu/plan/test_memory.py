"""What a machine file says of processors and memory, and of the room to grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import Unsupported, UsageError
from gavotte.hypervisor.interface import MachineConfig, MemoryFile
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.hypervisor.qemu.plan.memory import (
    MemoryPlan,
    growth_of,
    plan_dimm,
    plan_memory,
    plan_vcpus,
)
from gavotte.qemu.binary import find_program
from gavotte.qemu.check import check_step
from gavotte.qemu.props import Json, PropertyMap, Step
from tests.support.binaries import BINARIES
from tests.support.schemas import schema_for
from tests.support.tiny import config_for

MIB = 1 << 20
Q35 = machine_row("x86_64", "q35")


def config(**changes: Any) -> MachineConfig:
    return config_for(Path("/images/vmlinux"), **{"memory": 256 * MIB, **changes})


def test_a_machine_that_does_not_grow_says_nothing_of_growing() -> None:
    assert plan_memory(config(), Q35) == MemoryPlan({"size": "262144K"}, {}, ())
    assert plan_memory(config(max_memory=256 * MIB), Q35) == MemoryPlan({"size": "262144K"}, {}, ())
    assert plan_vcpus(config()) == plan_vcpus(config(max_vcpus=1)) == {"cpus": 1}


def test_room_for_vcpus_is_said_to_qemu() -> None:
    assert plan_vcpus(config(max_vcpus=4)) == {"cpus": 1, "maxcpus": 4}


def test_virtio_mem_has_all_the_room_and_none_of_it_is_asked_for() -> None:
    plan = plan_memory(config(max_memory=1024 * MIB), Q35, "virtio-mem")
    assert plan.memory == {"size": "262144K", "maxmem": "1048576K"}
    ram: PropertyMap = {"qom-type": "memory-backend-ram", "id": "vmem0-ram", "size": 768 * MIB, "reserve": False}
    device = {"driver": "virtio-mem-pci", "id": "vmem0", "memdev": "vmem0-ram"}
    assert plan.recipe == (
        Step("object", ram),
        Step("device", {**device, "block-size": 2 * MIB, "requested-size": 0}),
    )


def test_dimms_get_slots() -> None:
    plan = plan_memory(config(max_memory=1024 * MIB), Q35, "dimm")
    assert plan == MemoryPlan({"size": "262144K", "maxmem": "1048576K", "slots": 16}, {}, ())


def test_shared_memory_is_shared_whether_from_the_start_or_later() -> None:
    plan = plan_memory(config(max_memory=1024 * MIB, shared_memory=True), Q35, "virtio-mem")
    assert plan.machine == {"memory-backend": "ram0"}
    backends = [*(step.props for step in plan.recipe), *(step.props for step in plan_dimm("dimm0", MIB, shared=True))]
    objects = [props for props in backends if "qom-type" in props]
    assert [props["id"] for props in objects] == ["ram0", "vmem0-ram", "dimm0-ram"]
    assert all(props["qom-type"] == "memory-backend-memfd" and props["share"] is True for props in objects)


@pytest.mark.parametrize(
    ("changes", "path"),
    [({"max_memory": 255 * MIB}, "max_memory"), ({"max_memory": 257 * MIB}, "max_memory")],
    ids=["below the start", "between two blocks"],
)
def test_a_bound_that_cannot_be_is_refused_by_its_name(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(UsageError) as error:
        plan_memory(config(**changes), Q35, "virtio-mem")
    assert error.value.path == path


@pytest.mark.parametrize("size", [0, -1, 1, 64 * MIB + 1])
def test_memory_for_which_qemu_would_take_another_size_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match="memory: "):
        plan_memory(config(memory=size, max_memory=0), Q35, "virtio-mem")


@pytest.mark.parametrize("count", [0, -1])
def test_a_machine_without_a_vcpu_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="vcpus: "):
        plan_vcpus(config(vcpus=count))


def test_fewer_vcpus_at_most_than_at_the_start_are_refused() -> None:
    with pytest.raises(UsageError, match="max_vcpus: 1 is less than the 2"):
        plan_vcpus(config(vcpus=2, max_vcpus=1))


def test_room_on_a_machine_that_cannot_grow_is_refused_before_anything_starts() -> None:
    with pytest.raises(Unsupported, match="more memory"):
        plan_memory(config(machine="microvm", max_memory=1024 * MIB), machine_row("x86_64", "microvm"), "")


@pytest.mark.parametrize(
    ("arch", "type", "growth"),
    [
        ("x86_64", "q35", "virtio-mem"),
        ("x86_64", "pc", "virtio-mem"),
        ("x86_64", "microvm", ""),
        ("aarch64", "virt", "virtio-mem"),
        ("ppc64", "pseries", "dimm"),
    ],
)
def test_how_a_machine_grows_depends_on_its_type_and_binary(arch: str, type: str, growth: str) -> None:
    program = find_program(f"qemu-system-{arch}")
    if program is None:
        pytest.skip(f"no emulator for {arch} here: make setup-arches")
    assert growth_of(machine_row(arch, type), schema_for(program)) == growth


@pytest.mark.parametrize("qemu", BINARIES)
def test_qemu_has_the_properties_that_the_plan_names(qemu: Path | None) -> None:
    program = qemu or find_program("qemu-system-x86_64")
    assert program is not None
    schema = schema_for(program)
    plan = plan_memory(config(max_memory=1024 * MIB, shared_memory=True), Q35, "virtio-mem")
    for step in (*plan.recipe, *plan_dimm("dimm0", MIB, shared=False, place={"slot": 0, "addr": 1 << 32})):
        check_step(step, schema)


# --- memory in a file, of templates and their copies ------------------------------------------------------------------


@pytest.mark.parametrize("private", [False, True])
def test_memory_in_a_file_is_the_machines_and_a_copys_writes_stay_its_own(private: bool) -> None:
    file: PropertyMap = {"mem-path": "/proc/self/fd/9", "readonly": private}
    plan = plan_memory(config(memory_file=MemoryFile(7, private), max_memory=1024 * MIB), Q35, "virtio-mem", file)
    assert plan.machine == {"memory-backend": "ram0"}
    ram, room, device = plan.recipe
    backend: dict[str, Json] = {
        "qom-type": "memory-backend-file",
        "id": "ram0",
        "size": 256 * MIB,
        "share": not private,
    }
    assert ram == Step("object", {**backend, **file})
    # what a copy grows by is in no file: QEMU 7.2 would empty it when it loads
    assert room.props["qom-type"] == "memory-backend-ram"
    assert device.props["requested-size"] == 0


def test_a_machine_that_had_its_memory_in_a_file_has_blocks_of_the_same_names_without_one() -> None:
    plan = plan_memory(config(memory_file=MemoryFile(None)), Q35)
    assert plan.machine == {"memory-backend": "ram0"}
    assert plan.recipe == (Step("object", {"qom-type": "memory-backend-ram", "id": "ram0", "size": 256 * MIB}),)


def test_memory_in_a_file_that_others_share_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        plan_memory(config(memory_file=MemoryFile(7), shared_memory=True), Q35, file={"mem-path": "/x"})
    assert error.value.path == "shared_memory"
