"""One step: what comes back, and what its refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from gavotte.errors import InvalidMachine
from gavotte.qemu.check import check_step
from gavotte.qemu.props import Fd, Kind, Step
from tests.support.schemas import schema_for


def checked(kind: Kind, props: dict[str, Any], *, hot: bool = False) -> Any:
    return check_step(Step(kind, props), schema_for(), hot=hot).props


def refusal(kind: Kind, props: dict[str, Any], *, hot: bool = False, path: str = "") -> str:
    with pytest.raises(InvalidMachine) as raised:
        check_step(Step(kind, props), schema_for(), hot=hot, path=path)
    return str(raised.value)


def test_a_step_keeps_its_kind_and_fds() -> None:
    step = Step("netdev", {"type": "tap", "id": "t", "fd": "tap0"}, (Fd("tap0", 5),))
    assert check_step(step, schema_for()) == step


def test_each_value_of_a_device_gets_its_type() -> None:
    written = {"driver": "virtio-blk-pci", "drive": "d", "num-queues": "2", "disable-legacy": True, "bootindex": "0x1"}
    assert checked("device", written) == {
        "driver": "virtio-blk-pci",
        "drive": "d",
        "num-queues": 2,
        "disable-legacy": "on",
        "bootindex": 1,
    }


@pytest.mark.parametrize("addr", ["05.1", "5", "0x5.0x1", 40, 0, -1])
def test_a_pci_address_stays_as_it_is_written(addr: object) -> None:
    assert checked("device", {"driver": "virtio-rng-pci", "addr": addr})["addr"] == addr


def test_each_value_of_an_object_gets_its_type() -> None:
    written = {"qom-type": "memory-backend-ram", "id": "m", "size": "512M", "share": "on", "host-nodes": "0-2"}
    assert checked("object", written) == written | {"size": 512 << 20, "share": True, "host-nodes": [0, 1, 2]}


def test_each_value_of_a_block_device_gets_its_type_at_any_depth() -> None:
    written = {
        "driver": "qcow2",
        "node-name": "q",
        "file": {"driver": "file", "filename": "/x", "cache": {"direct": "on"}},
        "overlap-check": "all",
        "backing": None,
        "l2-cache-size": "1M",
    }
    given = checked("blockdev", written)
    assert given["file"]["cache"] == {"direct": True}
    assert (given["overlap-check"], given["backing"], given["l2-cache-size"]) == ("all", None, 1 << 20)


def test_each_value_of_a_netdev_gets_its_type() -> None:
    written = {"type": "user", "id": "n", "hostfwd": [{"str": "tcp::0-:22"}], "ipv4": "on", "ipv6-prefixlen": "64"}
    assert checked("netdev", written) == written | {"ipv4": True, "ipv6-prefixlen": 64}


def test_a_chardev_is_flat() -> None:
    written = {"backend": "socket", "id": "c", "path": "/x", "server": "on", "wait": False, "port": 5}
    assert checked("chardev", written) == written | {"server": True, "port": "5"}


def test_an_fsdev_is_checked_by_the_options_parameters() -> None:
    written = {
        "fsdriver": "local",
        "id": "f",
        "path": "/x",
        "security_model": "none",
        "readonly": "on",
        "fmode": "0600",
    }
    assert checked("fsdev", written) == written | {"readonly": True, "fmode": 0o600}
    assert refusal("fsdev", written | {"pat": 1}) == "pat: -fsdev has no parameter 'pat'; did you mean 'path'?"


def test_a_misspelled_property_is_told_the_right_one() -> None:
    assert refusal("device", {"driver": "virtio-blk-pci", "drive": "d", "num-queue": 2}, path="devices[3]") == (
        "devices[3].num-queue: virtio-blk-pci has no property 'num-queue'; did you mean 'num-queues'?"
    )


def test_a_wrong_type_is_told_what_is_wanted_and_what_was_given() -> None:
    assert refusal("device", {"driver": "virtio-rng-pci", "vectors": "many"}) == (
        "vectors: virtio-rng-pci wants an integer from 0 to 4294967295 for 'vectors', not 'many'"
    )
    assert refusal("device", {"driver": "virtio-rng-pci", "disable-legacy": "yes"}) == (
        "disable-legacy: virtio-rng-pci wants one of on, off, auto for 'disable-legacy', not 'yes'"
    )


def test_all_mistakes_are_told_at_once_each_with_its_path() -> None:
    with pytest.raises(InvalidMachine) as raised:
        check_step(
            Step("blockdev", {"driver": "raw", "node-name": "r", "sise": 1, "file": {"driver": "fil", "x": 1}}),
            schema_for(),
            path="blockdevs[0]",
        )
    assert {problem.path for problem in raised.value.problems} == {"blockdevs[0].sise", "blockdevs[0].file.driver"}


@pytest.mark.parametrize(
    ("kind", "props", "said"),
    [
        ("device", {}, "a device needs a 'driver'"),
        ("device", {"driver": "virtio-blk-pci"}, "virtio-blk-pci needs 'drive'"),
        ("device", {"driver": "virtio-rng-pci", "virtio-backend": "x"}, "can't be set"),
        ("object", {"qom-type": "rng-builtin"}, "rng-builtin needs 'id'"),
        ("object", {"id": "x"}, "object needs 'qom-type'"),
        ("netdev", {"type": "user"}, "user needs 'id'"),
        ("blockdev", {"driver": "null-co"}, "needs a 'node-name'"),
        ("blockdev", {"driver": "null-co", "node-name": "n", "size": True}, "wants an integer for 'size', not True"),
        ("blockdev", {"driver": "raw", "node-name": "n", "file": []}, "wants a mapping or text for 'file', not a list"),
        ("netdev", {"type": "user", "id": "n", "hostfwd": "tcp::0-:22"}, "a list for 'hostfwd'"),
        ("chardev", {"id": "c"}, "needs a 'backend'"),
        ("chardev", {"backend": "null"}, "needs an 'id'"),
        ("device", {"driver": 5}, "a device needs a 'driver'"),
        ("object", {"qom-type": 5, "id": "x"}, "no object 5"),
        ("device", {"driver": "virtio-rng-pci", "rng": "nul\0"}, "U+0000"),
    ],
)
def test_a_step_is_refused(kind: Kind, props: dict[str, Any], said: str) -> None:
    assert said in refusal(kind, props)


def test_what_can_only_be_there_from_the_start_is_refused_hot() -> None:
    assert "takes no device while the machine runs" in refusal(
        "device", {"driver": "virtio-rng-pci", "bus": "pcie.0"}, hot=True
    )
    assert "only be there from the start" in refusal(
        "fsdev", {"fsdriver": "local", "id": "f", "path": "/x", "security_model": "none"}, hot=True
    )
    checked("device", {"driver": "virtio-rng-pci", "bus": "port"}, hot=True)


def test_no_depth_ends_the_walk() -> None:
    props: dict[str, Any] = {"driver": "null-co"}
    for _ in range(100_000):
        props = {"driver": "raw", "file": props}
    assert "nested deeper than 64 levels" in refusal("blockdev", props | {"node-name": "n"})


def test_a_map_that_holds_itself_is_refused() -> None:
    props: dict[str, Any] = {"driver": "raw", "node-name": "n"}
    props["file"] = props
    assert "nested deeper" in refusal("blockdev", props)


def test_a_huge_value_makes_a_short_message() -> None:
    assert len(refusal("device", {"driver": "virtio-rng-pci", "max-bytes": "x" * 10_000})) < 300
    assert len(refusal("device", {"driver": "x" * 10_000})) < 300
