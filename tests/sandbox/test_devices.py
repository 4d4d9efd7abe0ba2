"""Devices that callers give: paths in each form, and values in the form that the machine's plan takes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gavotte.compat import override
from gavotte.errors import UsageError
from gavotte.hypervisor.devices import Device, Disk, Nic, Raw, Rng, Share, Throttle, User
from gavotte.qemu.props import Step
from gavotte.sandbox.devices import check_device, check_devices


class Odd(os.PathLike[str]):
    """A path of somebody else's type."""

    @override
    def __fspath__(self) -> str:
        return "/x.img"


@pytest.mark.parametrize("path", ["/x.img", Path("/x.img"), Odd()])
def test_a_path_is_text_or_a_path(path: Any) -> None:
    assert check_device(Disk("d", path)) == Disk("d", Path("/x.img"))
    assert check_device(Share("s", path)) == Share("s", Path("/x.img"))
    assert check_device(Rng("r", path)) == Rng("r", Path("/x.img"))


def test_a_relative_path_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_devices([Disk("d", "x.img"), Share("s", Path("dir"))]) == (
        Disk("d", tmp_path / "x.img"),
        Share("s", tmp_path / "dir"),
    )


@pytest.mark.parametrize(
    "device",
    [
        Disk("d", Path("/x"), "serial", "qcow2", "virtio-scsi", True, True, True, Throttle(5, 6)),
        Nic("n", User(True, ("tcp:127.0.0.1:8022-:22",))),
        Raw("r", {"driver": "x", "a": [1, {"b": None}]}, (Step("object", {"qom-type": "x"}),)),
    ],
)
def test_what_is_right_stays_as_it_is(device: Device) -> None:
    assert check_device(device) == device


def test_a_list_will_do_for_a_tuple() -> None:
    rules: Any = ["tcp:127.0.0.1:8022-:22"]
    assert check_device(Nic("n", User(hostfwd=rules))) == Nic("n", User(hostfwd=tuple(rules)))


def test_what_is_wrong_deep_inside_is_named_by_its_path() -> None:
    wrong: Any = ("a", 5)
    with pytest.raises(UsageError) as caught:
        check_devices([Disk("d", "/x"), Nic("n", User(hostfwd=wrong))])
    assert str(caught.value) == "devices[1].net.hostfwd[1]: 5 is not text"
