from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gavotte.errors import InvalidMachine
from gavotte.qemu.binary import QemuBinary, find_qemu
from gavotte.qemu.check import check_document
from gavotte.qemu.schema import creatable, get_schema, load_schema, schema_of
from gavotte.qemu.schema.creatable import learn_creatable
from tests.support.binaries import BINARIES
from tests.support.schemas import schema_for

MADE = ["isa-serial", "pcie-root-port", "virtio-rng-pci"]
PARTS = ["cfi.pflash01", "generic-sdhci", "hpet", "mch"]
THE_MACHINES = ["intel-iommu", "ramfb"]


@pytest.mark.parametrize("names", [[*MADE, *PARTS, *THE_MACHINES], ["hpet", "ramfb"], ["hpet"], ["mch"]])
@pytest.mark.parametrize("qemu", BINARIES)
def test_a_part_of_a_board_is_told_from_what_a_user_can_make(qemu: Path | None, names: list[str]) -> None:
    binary = find_qemu(path=os.fspath(qemu) if qemu else None)
    schema = schema_for(qemu)
    sysbus = schema.types("sys-bus-device")
    busless = [name for name in schema.types("device") if (d := schema.device(name)) and d.parents[0] == "device"]
    right = {**dict.fromkeys(MADE, True), **dict.fromkeys(PARTS, False), **dict.fromkeys(THE_MACHINES)}
    found = asyncio.run(learn_creatable(binary, names, sysbus=sysbus, busless=busless))
    assert found == {name: right[name] for name in names}


def test_what_was_asked_for_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    binary = find_qemu()
    cold = ["mch", "virtio-rng-pci", "no-such-device"]
    first = schema_of(binary, cold=cold)

    async def never(binary: QemuBinary, names: list[str], **_: object) -> dict[str, bool]:
        pytest.fail(f"{names} are asked for again")

    monkeypatch.setattr(creatable, "learn_creatable", never)
    again = asyncio.run(get_schema(binary, cold=cold))
    loaded = load_schema(binary)
    assert loaded
    for schema in (first, again, loaded):
        told = {device.name: device.creatable for name in (*cold, "hpet") if (device := schema.device(name))}
        assert told == {"mch": False, "virtio-rng-pci": True, "hpet": None}


def test_what_gives_no_answer_is_left_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(binary: QemuBinary, words: list[str]) -> str:
        return ""

    monkeypatch.setattr(creatable, "refusal", silent)
    assert asyncio.run(learn_creatable(find_qemu(), ["mch"], sysbus=(), busless=())) == {}


def test_the_check_names_parts_of_boards() -> None:
    schema = schema_for().with_asked("creatable", {**dict.fromkeys(PARTS, False), "virtio-rng-pci": True})
    devices = [{"driver": name} for name in (*PARTS, "virtio-rng-pci")]
    with pytest.raises(InvalidMachine) as refusal:
        check_document({"machine": {"type": "q35"}, "devices": devices}, schema)
    told = [problem.path for problem in refusal.value.problems]
    assert told == [f"devices[{n}].driver" for n in range(len(PARTS))]
