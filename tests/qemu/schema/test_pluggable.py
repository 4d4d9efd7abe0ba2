from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gavotte.qemu.binary import QemuBinary, find_qemu
from gavotte.qemu.schema import get_schema, load_schema, pluggable, schema_of
from gavotte.qemu.schema.pluggable import learn_pluggable
from tests.support.binaries import BINARIES
from tests.support.fake_qemu import a_qemu

PLUGGABLE = ["max-x86_64-cpu", "nvme", "pc-dimm", "scsi-hd", "usb-tablet", "virtio-blk-pci", "virtserialport"]
FIXED = ["hpet", "ICH9-LPC", "mch"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_class_is_pluggable_if_its_refusal_names_our_bus(qemu: Path | None) -> None:
    binary = find_qemu(path=os.fspath(qemu) if qemu else None)
    found = asyncio.run(learn_pluggable(binary, [*PLUGGABLE, *FIXED]))
    assert found == {**dict.fromkeys(PLUGGABLE, True), **dict.fromkeys(FIXED, False)}


def test_what_is_asked_for_is_remembered_and_a_sysbus_device_is_left_to_its_machine(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = find_qemu()
    hot = ["virtio-blk-pci", "mch", "hpet", "no-such-device"]
    first = schema_of(binary, hot=hot)

    async def never(binary: QemuBinary, names: list[str]) -> dict[str, bool]:
        pytest.fail(f"{names} are asked for again")

    monkeypatch.setattr(pluggable, "learn_pluggable", never)
    again = asyncio.run(get_schema(binary, hot=hot))
    loaded = load_schema(binary)
    assert loaded
    for schema in (first, again, loaded):
        told = {device.name: device.pluggable for name in (*hot, "nvme") if (device := schema.device(name))}
        assert told == {"virtio-blk-pci": True, "mch": False, "hpet": None, "nvme": None}
        assert schema.unsure(["hpet", "mch", "nvme", "no-such-device"]) == ["nvme"]


def test_a_type_that_ends_the_process_leaves_the_rest_unknown(tmp_path: Path) -> None:
    binary = a_qemu(tmp_path, devices=["a", "b"], ends=["device_add"])
    assert asyncio.run(learn_pluggable(binary, ["a", "b"])) == {}
