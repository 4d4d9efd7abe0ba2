from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gavotte.errors import HostError, QemuError
from gavotte.qemu.binary import QemuBinary, find_program, find_qemu
from gavotte.qemu.schema import Schema, learn, learn_schema, probe
from tests.support.binaries import BINARIES
from tests.support.fake_qemu import a_qemu
from tests.support.orphans import children_of
from tests.support.schemas import schema_for

FOREIGN = {"aarch64": "virt", "ppc64": "pseries", "riscv64": "virt", "s390x": "s390-ccw-virtio"}


def learnt(binary: QemuBinary) -> Schema:
    return asyncio.run(learn_schema(binary))


# --- real binaries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qemu", BINARIES)
def test_every_device_type_is_learnt_or_is_known_to_end_the_process(qemu: Path | None) -> None:
    schema = schema_for(qemu)
    types = [schema.device(name) for name in schema.devices]
    untold = {device.name for device in types if device and device.properties is None}
    assert len(types) > 400
    assert untold <= {"virtio-gpu-gl-pci", "virtio-vga-gl"}  # Debian's build of 7.2 has no such display
    assert sum(len(device.properties or ()) for device in types if device) > 50_000


@pytest.mark.parametrize("qemu", BINARIES)
def test_the_types_that_are_known_are_those_that_the_binary_lists(qemu: Path | None) -> None:
    async def listed(implements: str) -> list[str]:
        async with probe.asked(find_qemu(path=os.fspath(qemu) if qemu else None)) as client:
            found = await client.execute("qom-list-types", {"implements": implements})
            assert isinstance(found, list)
            return sorted(str(entry["name"]) for entry in found if isinstance(entry, dict))

    schema = schema_for(qemu)
    assert list(schema.devices) == asyncio.run(listed("device"))
    assert list(schema.objects) == asyncio.run(listed("user-creatable"))
    assert list(schema.types("conventional-pci-device")) == asyncio.run(listed("conventional-pci-device"))


@pytest.mark.parametrize("qemu", BINARIES)
def test_an_option_takes_json_exactly_if_a_start_with_json_says_so(qemu: Path | None) -> None:
    schema = schema_for(qemu)
    assert {option for option in learn._MAYBE_JSON if schema.takes_json(option)} == {
        "audiodev", "blockdev", "device", "display", "netdev", "object",
    }  # fmt: skip


@pytest.mark.parametrize("arch", FOREIGN)
def test_a_binary_for_another_architecture_is_learnt(arch: str) -> None:
    if find_program(f"qemu-system-{arch}") is None:
        pytest.skip(f"qemu-system-{arch} isn't installed: make setup-arches")
    schema = learnt(find_qemu(arch))
    assert schema.target == arch
    assert schema.machine(FOREIGN[arch])
    assert schema.cpus
    assert all(model.type in schema.devices for model in schema.cpus if model.type)
    device = schema.device("virtio-blk-ccw" if arch == "s390x" else "virtio-blk-pci")
    assert device
    assert device.properties
    assert "drive" in device.properties


# --- types that can't be introspected -------------------------------------------------------------------------------

DEVICES = [f"device-{number:02}" for number in range(30)]


def untold(schema: Schema) -> set[str]:
    devices = (schema.device(name) for name in schema.devices)
    return {device.name for device in devices if device and device.properties is None}


@pytest.mark.parametrize(
    "bombs", [["device-00"], ["device-29"], ["device-07", "device-08"], ["device-01", "device-15", "device-28"], []]
)
def test_the_types_that_end_the_process_are_found_and_all_others_learnt(bombs: list[str], tmp_path: Path) -> None:
    schema = learnt(a_qemu(tmp_path, devices=DEVICES, ends=bombs))
    assert list(schema.devices) == DEVICES
    assert untold(schema) == set(bombs)


def test_a_type_that_hangs_the_process_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "_ANSWER", 2.0)
    schema = learnt(a_qemu(tmp_path, devices=DEVICES, hangs=["device-03"], ends=["device-05"]))
    assert untold(schema) == {"device-03", "device-05"}


# --- what is no QEMU ------------------------------------------------------------------------------------------------


def failure(binary: QemuBinary) -> QemuError:
    with pytest.raises(QemuError, match="can't learn what") as caught:
        learnt(binary)
    assert str(binary.path) in str(caught.value)
    assert f"{binary.path} -machine none" in caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", ["true", "false", "cat"])
def test_a_program_that_is_no_qemu_is_said_to_be_none(name: str) -> None:
    path = find_program(name)
    assert path
    assert "exit status" in str(failure(QemuBinary.from_path(path)))


def test_a_file_that_is_no_program_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "qemu"
    path.write_bytes(b"\x7fELF and no more")
    path.chmod(0o755)
    with pytest.raises((QemuError, HostError), match="qemu"):
        learnt(QemuBinary.from_path(path))


@pytest.mark.parametrize("question", ["query-qmp-schema", "qom-list-types", "query-machines"])
def test_a_binary_that_ends_at_a_general_question_is_reported_with_its_last_words(
    question: str, tmp_path: Path
) -> None:
    error = failure(a_qemu(tmp_path, devices=DEVICES, ends=[question]))
    assert f"{question} was too much" in str(error)


def test_a_binary_that_ends_at_every_type_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "_LOST", 4)
    assert "4 processes ended" in str(failure(a_qemu(tmp_path, devices=DEVICES, ends=DEVICES)))


def test_a_binary_that_hangs_before_its_greeting_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_GREETING", 0.5)
    monkeypatch.setattr(probe, "_REFUSAL", 0.5)
    path = tmp_path / "qemu"
    path.write_text("#!/bin/sh\nexec sleep 60\n")
    path.chmod(0o755)
    assert "no QMP greeting within 0.5 s" in str(failure(QemuBinary.from_path(path)))


def test_a_binary_that_answers_too_slowly_as_a_whole_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learn, "_ALL", 1.0)
    error = failure(a_qemu(tmp_path, devices=DEVICES, hangs=["device-03"]))
    assert "longer than 1 s" in str(error)


def test_a_learner_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(learn_schema(a_qemu(tmp_path, devices=DEVICES, hangs=["query-machines"])))
        while not children_of(os.getpid()):
            await asyncio.wait([task], timeout=0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
