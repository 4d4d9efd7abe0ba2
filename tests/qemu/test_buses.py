"""Places on buses: each is somebody's or free, in QEMU's own notation, and what is stored is what is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavotte.errors import StateError, UsageError
from gavotte.qemu.buses import Addresses, Bus, ccw, mmio, pci, pcie_ports, root_ports, scsi, serial_ports
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.plug import cold
from tests.support.programs import with_qemu

BUSES = (
    pcie_ports(3),
    pci("bridge"),
    ccw(size=5),
    scsi("scsi.0", targets=2, luns=2),
    mmio(2),
    serial_ports("ports.0", last=3),
)


def filled(bus: Bus, count: int) -> list[dict[str, Any]]:
    addresses = Addresses((bus,))
    found = []
    for number in range(count):
        addresses, props = addresses.allocate(f"d{number}", bus.kind)
        found.append(dict(props))
    return found


def test_the_twentieth_device_of_a_bridge_is_in_slot_14_hexadecimal() -> None:
    places = filled(pci("bridge"), 31)
    assert places[0] == {"bus": "bridge", "addr": "01"}
    assert places[9]["addr"] == "0a"
    assert places[19]["addr"] == "14"
    assert places[30]["addr"] == "1f"


def test_every_slot_of_a_bridge_is_one_that_qemu_takes() -> None:
    """A decimal address would put the tenth device into slot 16 and have the twentieth refused."""
    places = filled(pci("bridge"), 31)

    async def ask(client: Any) -> Any:
        await client.execute("device_add", {"driver": "pci-bridge", "id": "bridge", "bus": "rp0", "chassis_nr": 9})
        for number, place in enumerate(places):
            await client.execute("device_add", {"driver": "virtio-rng-pci", "id": f"d{number}", **place})
        return [
            await client.execute("qom-get", {"path": f"/machine/peripheral/d{number}", "property": "addr"})
            for number in range(31)
        ]

    with FdLedger() as ledger:
        options = ["-machine", "q35,accel=tcg", *cold(root_ports(1), ledger)]
    assert with_qemu(options, ask) == [slot << 3 for slot in range(1, 32)]


@pytest.mark.parametrize(
    ("bus", "expected"),
    [
        (pcie_ports(20), [{"bus": "rp0", "addr": "00"}, {"bus": "rp10", "addr": "00"}]),
        (ccw(), [{"devno": "fe.0.0000"}, {"devno": "fe.0.000a"}]),
        (ccw(first=0xFFFB, size=20), [{"devno": "fe.0.fffb"}, {"devno": "fe.1.0005"}]),
        (
            scsi("scsi.0", luns=4),
            [{"bus": "scsi.0", "scsi-id": 0, "lun": 0}, {"bus": "scsi.0", "scsi-id": 2, "lun": 2}],
        ),
        (mmio(32), [{"bus": "virtio-mmio-bus.0"}, {"bus": "virtio-mmio-bus.10"}]),
    ],
    ids=["pcie", "ccw", "ccw-second-set", "scsi", "mmio"],
)
def test_the_first_and_the_eleventh_place(bus: Bus, expected: Sequence[dict[str, Any]]) -> None:
    places = filled(bus, 11)
    assert [places[0], places[10]] == expected


def test_a_full_bus_says_so_and_the_next_of_its_kind_is_taken_first() -> None:
    addresses = Addresses((pcie_ports(1), pcie_ports(1, name="more")))
    addresses, first = addresses.allocate("a", "pcie")
    addresses, second = addresses.allocate("b", "pcie")
    assert (first["bus"], second["bus"]) == ("rp0", "more0")
    with pytest.raises(StateError, match="all 2 places for pcie are taken"):
        addresses.allocate("c", "pcie")
    with pytest.raises(StateError, match="all 1 places for rp"):
        addresses.allocate("c", "rp")


def test_a_change_leaves_the_value_before_it_as_it_was() -> None:
    before = Addresses((pcie_ports(1),))
    after, _ = before.allocate("a", "pcie")
    assert not before.taken
    assert after.release("a") == before
    with pytest.raises(TypeError):
        after.taken["b"] = ("rp", 0)  # type: ignore[index]  # that this is refused is what is tested


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda a: a.allocate("a", "pcie"), UsageError),
        (lambda a: a.allocate("b", "no-such"), UsageError),
        (lambda a: a.release("b"), UsageError),
        (lambda a: a.props("b"), UsageError),
        (lambda a: a.reserve("b", "rp", 0), StateError),
        (lambda a: a.reserve("b", "rp", 3), UsageError),
        (lambda a: a.reserve("b", "no-such", 0), UsageError),
        (lambda a: a.with_bus(pcie_ports(1)), UsageError),
        (lambda a: a.without_bus("rp"), StateError),
        (lambda a: a.without_bus("no-such"), UsageError),
    ],
)
def test_what_cannot_be_is_refused(act: Callable[[Addresses], object], error: type[Exception]) -> None:
    addresses, _ = Addresses((pcie_ports(2),)).allocate("a", "pcie")
    with pytest.raises(error):
        act(addresses)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pcie_ports(0),
        lambda: pci("b", last=32),
        lambda: pci("b", first=-1),
        lambda: pci(""),
        lambda: ccw(first=1),
        lambda: scsi("s", targets=257),
        lambda: scsi("s", luns=0),
        lambda: root_ports(241),
        lambda: root_ports(1, slot=31),
    ],
)
def test_a_bus_that_qemu_does_not_have_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        make()


def test_root_ports_are_taken_by_qemu_and_have_places_for_devices() -> None:
    addresses = Addresses((pcie_ports(17),))

    async def ask(client: Any) -> None:
        nonlocal addresses
        for number in range(17):
            addresses, place = addresses.allocate(f"d{number}", "pcie")
            await client.execute("device_add", {"driver": "virtio-rng-pci", "id": f"d{number}", **place})

    with FdLedger() as ledger:
        with_qemu(["-machine", "q35,accel=tcg", *cold(root_ports(17), ledger)], ask)


# --- stored -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(BUSES))))
def test_no_place_is_given_twice_and_all_come_back(wishes: list[tuple[str, Bus]]) -> None:
    """An owner that has a place gives it back, another one takes one."""
    addresses = Addresses(BUSES)
    for owner, bus in wishes:
        if owner in addresses.taken:
            addresses = addresses.release(owner)
            continue
        try:
            addresses, props = addresses.allocate(owner, bus.kind)
        except StateError:
            assert sum(name == bus.name for name, _ in addresses.taken.values()) == bus.size
        else:
            assert addresses.props(owner) == props
        assert len(set(addresses.taken.values())) == len(addresses.taken)
        assert Addresses.from_json(json.loads(json.dumps(addresses.to_json()))) == addresses
    for owner in list(addresses.taken):
        addresses = addresses.release(owner)
    assert addresses == Addresses(BUSES)


GOOD = Addresses((pcie_ports(2),)).reserve("a", "rp", 1).to_json()


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": 2}, "addresses"),
        ({"more": 1}, "addresses"),
        ({"buses": {}}, "addresses"),
        ({"buses": [1]}, r"buses\[0\]"),
        ({"buses": [{**GOOD["buses"][0], "kind": "isa"}]}, r"buses\[0\]\.kind"),
        ({"buses": [{**GOOD["buses"][0], "size": True}]}, r"buses\[0\]"),
        ({"buses": [{**GOOD["buses"][0], "size": -1}]}, r"buses\[0\]\.size"),
        ({"buses": GOOD["buses"] * 2}, "name"),
        ({"taken": {"a": ["rp", 2]}}, r"taken\.a"),
        ({"taken": {"a": ["xx", 1]}}, r"taken\.a"),
        ({"taken": {"a": ["rp", True]}}, r"taken\.a"),
        ({"taken": {"a": 1}}, r"taken\.a"),
        ({"taken": {"a": ["rp", 1], "b": ["rp", 1]}}, r"taken\.b"),
    ],
)
def test_a_stored_state_that_is_none_is_refused_with_its_culprit(change: dict[str, Any], path: str) -> None:
    with pytest.raises(UsageError, match=path):
        Addresses.from_json({**GOOD, **change})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_other_json_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        Addresses.from_json(value)


# --- places that somebody else chose ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bus", BUSES, ids=lambda bus: bus.kind)
def test_a_bus_finds_each_place_by_what_it_gives_for_it(bus: Bus) -> None:
    for place in range(bus.first, bus.first + bus.size):
        assert bus.find(bus.props(place)) == place


@pytest.mark.parametrize(
    ("bus", "props", "place"),
    [
        (pci("pci.0"), {"bus": "pci.0", "addr": "0x1d"}, 0x1D),
        (pci("pci.0"), {"bus": "pci.0", "addr": "1d.3"}, 0x1D),
        (pci("pci.0"), {"bus": "pci.0", "addr": 0x1D * 8}, 0x1D),
        (pci("pci.0"), {"bus": "pci.0", "addr": "nonsense"}, None),
        (pci("pci.0"), {"bus": "pci.0"}, None),
        (pci("pci.0"), {"bus": "pci.1", "addr": "1d"}, None),
        (pci("pci.0", first=28), {"bus": "pci.0", "addr": "05"}, None),
        (pcie_ports(3), {"bus": "rp3"}, None),
        (pcie_ports(3), {"bus": "rp"}, None),
        (pcie_ports(3), {"bus": "rp1x"}, None),
        (pcie_ports(3), {"bus": 1}, None),
        (ccw(first=0x1000, size=4), {"devno": "FE.0.1001"}, 0x1001),
        (ccw(first=0x1000, size=4), {"devno": "fd.0.1001"}, None),
        (ccw(), {"devno": "fe.1.0000"}, 0x10000),
        (scsi("scsi.0"), {"bus": "scsi.0", "scsi-id": 1, "lun": 256}, None),
        (scsi("scsi.0"), {"bus": "scsi.0", "lun": 1}, None),
        (serial_ports("ports.0"), {"bus": "ports.0", "nr": 0}, None),
        (serial_ports("ports.0"), {"nr": 1}, None),
    ],
)
def test_an_address_in_any_of_qemus_notations_is_found(bus: Bus, props: dict[str, Any], place: int | None) -> None:
    assert bus.find(props) == place


def test_a_place_that_a_device_brings_along_is_taken_and_one_elsewhere_is_nobodys() -> None:
    addresses = Addresses((pcie_ports(2), pci("bridge")))
    claimed = addresses.claim("a", {"bus": "rp0"}).claim("b", {"bus": "bridge", "addr": "07"})
    assert claimed.taken == {"a": ("rp", 0), "b": ("bridge", 7)}
    assert claimed.claim("c", {"bus": "pcie.0", "addr": "07"}) == claimed
    with pytest.raises(StateError, match="taken by 'a'"):
        claimed.claim("c", {"bus": "rp0", "addr": "00"})
