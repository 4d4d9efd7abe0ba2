"""The record of a kept machine: what is written is read again, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.errors import HostError, StateError, StateTooNew, UsageError
from gavotte.hypervisor.devices import (
    Balloon,
    Console,
    Device,
    Disk,
    Nic,
    Passt,
    Port,
    PvPanic,
    Raw,
    Rng,
    Share,
    Stream,
    Tap,
    Throttle,
    User,
    VmGenId,
    Vsock,
    Watchdog,
)
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu.devices.table import Table
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.hypervisor.qemu.record import (
    STATE,
    VERSION,
    Pending,
    Record,
    Running,
    read_record,
    write_record,
)
from gavotte.hypervisor.serialization import device_from_json, device_to_json, from_json, to_json
from gavotte.qemu.props import Fd, Recipe, Step

DEVICES: list[Device] = [
    Disk("disk", Path("/disk"), "serial", format="qcow2", discard=True, throttle=Throttle(iops=100)),
    Nic("user", User(hostfwd=("tcp:127.0.0.1:8022-:22",))),
    Nic("passt", Passt(("--ipv4-only",)), mac="52:54:00:00:00:01"),
    Share("share", Path("/share"), kind="virtiofs"),
    Port("port", "org.test"),
    Console("terminal"),
    Rng("entropy", max_bytes=1024, period=1000),
    Balloon("balloon", statistics=2),
    Watchdog("dog", action="inject-nmi"),
    VmGenId("generation"),
    PvPanic("panic"),
    Vsock("vsock", 3),
    Raw("raw", {"driver": "edu", "dma_mask": 255, "deep": {"a": [1, None, "x"]}}),
]


def config(**changes: Any) -> MachineConfig:
    return MachineConfig(
        **{
            "name": "box",
            "arch": "x86_64",
            "machine": "q35",
            "accel": "tcg",
            "vcpus": 1,
            "memory": 64 << 20,
            "kernel": Path("/kernel"),
            "initrd": None,
            "append": "",
            "slots": 2,
            **changes,
        }
    )


def record(**changes: Any) -> Record:
    plain = config()
    table = Table.for_machine(plain, machine_row("x86_64", "q35"))
    return replace(Record(Path("/usr/bin/qemu"), "identity", plain, table), **changes)


def damaged(directory: Path, **members: object) -> Path:
    """A directory whose record has these members in the place of its own."""
    write_record(record(), directory)
    value = json.loads((directory / STATE).read_text())
    (directory / STATE).write_text(json.dumps({**value, **members}))
    return directory


# devices


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: type(device).__name__)
def test_a_device_is_the_same_after_json(device: Device) -> None:
    assert device_from_json(json.loads(json.dumps(device_to_json(device)))) == device


def test_a_configuration_is_the_same_after_json() -> None:
    whole = config(devices=tuple(DEVICES), initrd=Path("/initrd"), dump=Path("/dump"), shared_memory=True)
    assert from_json(json.loads(json.dumps(to_json(whole, MachineConfig))), MachineConfig, "") == whole


def test_descriptors_are_not_carried_to_another_process() -> None:
    """There, the same numbers are other files."""
    assert device_from_json(device_to_json(Nic("tap", Tap((7, 8), (9, 10))))) == Nic("tap", Tap((-1, -1), (-1, -1)))
    assert device_from_json(device_to_json(Nic("stream", Stream(7)))) == Nic("stream", Stream(-1))
    assert device_from_json(device_to_json(Vsock("vsock", 3, fd=7))) == Vsock("vsock", 3, fd=-1)
    recipe = (Step("netdev", {"id": "tap", "fds": "tap.0"}, (Fd("tap.0", 7),)),)
    assert from_json(to_json(recipe, Recipe), Recipe, "") == (Step("netdev", recipe[0].props, (Fd("tap.0", -1),)),)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], "device"),
        ({"id": "x"}, "device.type"),
        ({"type": "Gadget", "id": "x"}, "device.type"),
        ({"type": ["Disk"], "id": "x"}, "device.type"),
        ({"type": "Rng"}, "device.id"),
        ({"type": "Rng", "id": 7}, "device.id"),
        ({"type": "Rng", "id": "x", "colour": "red"}, "device.colour"),
        ({"type": "Rng", "id": "x", "max_bytes": True}, "device.max_bytes"),
        ({"type": "Rng", "id": "x", "max_bytes": 1.5}, "device.max_bytes"),
        ({"type": "Rng", "id": "x", "filename": "a\0b"}, "device.filename"),
        ({"type": "Disk", "id": "x", "path": "/d", "format": "vmdk"}, "device.format"),
        ({"type": "Disk", "id": "x", "path": "/d", "format": ["raw"]}, "device.format"),
        ({"type": "Disk", "id": "x", "path": "/d", "read_only": 1}, "device.read_only"),
        ({"type": "Disk", "id": "x", "path": "/d", "throttle": {"iops": "many"}}, "device.throttle.iops"),
        ({"type": "Nic", "id": "x", "net": {"type": "User", "hostfwd": ["a", 1]}}, "device.net.hostfwd[1]"),
        ({"type": "Nic", "id": "x", "net": {"type": "User", "hostfwd": "a"}}, "device.net.hostfwd"),
        ({"type": "Raw", "id": "x", "props": []}, "device.props"),
        (
            {"type": "Raw", "id": "x", "props": {}, "backends": [{"kind": "cat", "props": {}}]},
            "device.backends[0].kind",
        ),
    ],
)
def test_what_is_no_device_names_the_culprit(value: object, path: str) -> None:
    with pytest.raises(UsageError) as caught:
        device_from_json(value)
    assert caught.value.path == path


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "id", "net", "x"]), inner),
    max_leaves=8,
)


@given(json_values)
def test_whatever_is_read_as_a_device_is_a_usage_error_at_worst(value: object) -> None:
    try:
        device_from_json(value)
    except UsageError as error:
        assert error.path.startswith("device")


# the file


def test_a_record_is_read_as_it_was_written_and_is_for_its_user_alone(tmp_path: Path) -> None:
    table = record().table
    recipe = (Step("device", {"driver": "edu", "id": "raw"}),)
    whole = record(
        qemu=Running("qemu", "qemu-system-x86_64", 7, 1234),
        helpers=(Running("share", "virtiofsd", 8, 1235),),
        pending=Pending("unplug", "raw", recipe, table),
        saving=True,
    )
    write_record(record(), tmp_path)
    write_record(whole, tmp_path)
    assert read_record(tmp_path) == whole
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    assert (tmp_path / STATE).stat().st_mode & 0o7777 == 0o600


def test_a_record_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    write_record(record(), tmp_path)
    (tmp_path / f"{STATE}.new").mkdir()
    with pytest.raises(HostError, match=f"can't write .*{STATE}"):
        write_record(record(saving=True), tmp_path)
    assert not read_record(tmp_path).saving


def test_a_draft_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("...")
    (tmp_path / f"{STATE}.new").symlink_to(tmp_path / "precious")
    with pytest.raises(HostError):
        write_record(record(), tmp_path)
    assert (tmp_path / "precious").read_text() == "..."


def test_a_later_version_is_refused_with_both_versions_named(tmp_path: Path) -> None:
    damaged(tmp_path, version=VERSION + 6, config="of another form")
    with pytest.raises(StateTooNew, match=rf"version {VERSION + 6}; .* up to {VERSION}$") as caught:
        read_record(tmp_path)
    assert (caught.value.found, caught.value.known) == (VERSION + 6, VERSION)
    assert "later" in caught.value.hint


@pytest.mark.parametrize("version", [None, "1", True, 0, -1, 1.0])
def test_what_is_no_version_is_damage(tmp_path: Path, version: object) -> None:
    with pytest.raises(UsageError, match=r"^state\.json: version: .* is not a version"):
        read_record(damaged(tmp_path, version=version))


def test_a_record_cut_off_anywhere_is_damaged_and_says_what_to_do(tmp_path: Path) -> None:
    write_record(record(), tmp_path)
    whole = (tmp_path / STATE).read_bytes()
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        (tmp_path / STATE).write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"^state\.json: it is damaged") as caught:
            read_record(tmp_path)
        assert "gavotte rm" in caught.value.hint


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[]", b"7", b"[" * 100_000, b" " * ((16 << 20) + 1)])
def test_what_is_no_record_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / STATE).write_bytes(data)
    with pytest.raises(UsageError, match=r"^state\.json: "):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"config": {}}, "config.name"),
        ({"qemu": {"id": "qemu", "program": "q", "pid": "7", "started": 1}}, "qemu.pid"),
        ({"helpers": [{"id": "x"}]}, "helpers[0].program"),
        ({"pending": {"change": "move", "id": "x", "recipe": [], "table": {}}}, "pending.change"),
        ({"table": []}, "table"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_damage_inside_is_named_by_its_path(tmp_path: Path, members: dict[str, object], path: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_record(damaged(tmp_path, **members))
    assert caught.value.path.startswith(f"state.json: {path}")
    assert caught.value.hint


def test_a_pending_plug_of_a_device_that_its_table_lacks_is_damage(tmp_path: Path) -> None:
    write_record(record(pending=Pending("plug", "ghost", (), record().table)), tmp_path)
    with pytest.raises(UsageError, match=r"^state\.json: pending\.id"):
        read_record(tmp_path)


def test_a_directory_without_a_record_says_that_nothing_was_kept(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no kept machine") as caught:
        read_record(tmp_path)
    assert "keep=True" in caught.value.hint
