"""Which modules the agent loads for which devices; the kernel's side of it is seen in test_machine."""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gavotte.guest.agent import devices, nodes, online
from gavotte.guest.agent.loop import Loop

KNOWN = {
    "order": {"net": ["virtio.ko", "net.ko"], "blk": ["virtio.ko", "blk.ko"], "wdt": ["wdt.ko"]},
    "aliases": [
        ["virtio:d00000001v*", "virtio:d00000001v", "net"],
        ["virtio:d00000002v*", "virtio:d00000002v", "blk"],
        ["pci:v00008086d000025ABsv*sd*bc*sc*i*", "pci:v00008086d000025ABsv", "wdt"],
    ],
}
NET = "virtio:d00000001v00001AF4"
WDT = "pci:v00008086d000025ABsv00001AF4sd00001100bc08sc80i00"


def event(modalias: str, action: str = "add") -> bytes:
    fields = [f"{action}@/devices/x", f"ACTION={action}", "SUBSYSTEM=virtio", f"MODALIAS={modalias}", "SEQNUM=1"]
    return b"\0".join(field.encode() for field in fields) + b"\0"


class Watched:
    """Devices whose events a test makes; what they would load is in `loaded`."""

    def __init__(self, here: socket.socket, kernel: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[str] = []
        self.devices, self.loop, self._kernel = devices.Devices(), Loop(), kernel
        self.devices.uevents = here
        here.setblocking(False)
        self.looks: list[Callable[[Any], None]] = []  # that have begun; each ends when it is given a result
        self.shown: list[Any] = []
        self.devices.show = self.shown.append
        monkeypatch.setattr(nodes, "present", lambda _root: {})
        monkeypatch.setattr(self.loop, "aside", self._aside)
        monkeypatch.setattr(devices, "load_files", self.loaded.extend)

    def _aside(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        if work() is not None:
            self.looks.append(done)

    def happen(self, *events: bytes) -> None:
        for one in events:
            self._kernel.send(one)
        self.devices._on_uevents(self.loop)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    (tmp_path / "modules.json").write_text(json.dumps(KNOWN))
    monkeypatch.setattr(devices, "MODULES", str(tmp_path / "modules.json"))
    here, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, kernel:
        watched = Watched(here, kernel, monkeypatch)
        yield watched
        watched.loop._epoll.close()


def test_a_device_that_appears_gets_its_driver_with_what_that_needs(watched: Watched) -> None:
    watched.happen(event(NET))
    assert watched.loaded == ["virtio.ko", "net.ko"]


def test_no_module_is_loaded_twice(watched: Watched) -> None:
    watched.happen(event(NET), event(NET), event("virtio:d00000002v00001AF4"))
    watched.devices.load("net")
    assert watched.loaded == ["virtio.ko", "net.ko", "blk.ko"]


def test_a_pattern_holds_behind_its_literal_beginning_too(watched: Watched) -> None:
    watched.happen(event(WDT.replace("bc08", "xx08")))
    assert watched.loaded == []
    watched.happen(event(WDT))
    assert watched.loaded == ["wdt.ko"]


@pytest.mark.parametrize("said", [b"", b"add@", b"\xff" * 900, event(NET, "remove"), event("*"), event("a" * 5000)])
def test_an_event_of_no_concern_loads_nothing(watched: Watched, said: bytes) -> None:
    watched.happen(said)
    assert watched.loaded == []


def test_after_a_burst_others_have_their_turn_and_nothing_is_missed(watched: Watched) -> None:
    watched.happen(*[event(f"usb:{n}") for n in range(devices.BURST)])
    assert len(watched.loop._resting) == 1
    watched.happen(event(NET))
    assert watched.loaded == ["virtio.ko", "net.ko"]


def test_what_is_remembered_of_events_is_bounded(watched: Watched) -> None:
    for start in range(0, devices.MOST_KNOWN * 2, 50):
        watched.happen(*[event(f"usb:{n}") for n in range(start, start + 50)])
    assert len(watched.devices._known) <= devices.MOST_KNOWN


@pytest.mark.parametrize("action", ["add", "remove", "change"])
def test_a_device_that_comes_or_goes_has_the_nodes_looked_at(watched: Watched, action: str) -> None:
    watched.happen(f"{action}@/devices/x\0ACTION={action}\0SUBSYSTEM=block\0DEVNAME=vdb\0".encode())
    (seen,) = watched.looks
    seen({"answer": {"vdb": [1, 2, 3, 4]}})
    assert watched.shown == [{"vdb": [1, 2, 3, 4]}]


def test_a_flood_of_events_makes_one_look_at_a_time_and_one_after_the_last(watched: Watched) -> None:
    for _ in range(10):
        watched.happen(*[b"change@/x\0SUBSYSTEM=block\0"] * 20)
    assert len(watched.looks) == 1
    watched.looks[0]({"problem": {"code": "os", "message": "it ended without a word"}})
    assert len(watched.looks) == 2
    watched.looks[1]({"answer": {}})
    assert (len(watched.looks), watched.shown) == (2, [{}])


def test_an_image_without_a_list_of_modules_loads_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "MODULES", str(tmp_path / "none"))
    devices.Devices().load("net")


def test_work_aside_gives_its_answer_or_what_went_wrong() -> None:
    loop = Loop()
    said: list[object] = []

    def fail() -> None:
        raise OSError(5, "no device")

    loop.aside(lambda: {"n": 1}, said.append)
    loop.aside(fail, said.append)
    while len(said) < 2:
        assert select.select([loop._epoll], [], [], 10)[0]
        loop.run_once()
    assert {"answer": {"n": 1}} in said
    assert {"problem": {"code": "os", "message": "[Errno 5] no device"}} in said
    loop._epoll.close()
    for _ in said:
        os.wait()


def test_a_switch_takes_the_first_word_that_the_kernel_takes(tmp_path: Path) -> None:
    switch = tmp_path / "state"
    switch.write_text("offline\n")
    online.turn(str(switch), "offline", "online_movable", "online")
    assert switch.read_text() == "online_movable"
    online.turn(str(switch), "offline", "online")
    assert switch.read_text() == "online_movable"
    online.turn(str(tmp_path / "gone"), "0", "1")


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("10000", 3, "11100"),
        ("11111", 1, "10000"),
        ("10110", 2, "11000"),
        ("10000", 9, "11111"),
        ("10010", None, "11111"),
    ],
)
def test_the_lowest_processors_are_online_and_the_others_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, wanted: int | None, after: str
) -> None:
    numbers = (0, 1, 2, 10, 11)  # not in the order of their names
    monkeypatch.setattr(online, "CPUS", str(tmp_path))
    for number, state in zip(numbers, before, strict=True):
        (tmp_path / f"cpu{number}").mkdir()
        if number:  # the first has no switch on a PC
            (tmp_path / f"cpu{number}" / "online").write_text(f"{state}\n")
    online.turn_processors(wanted)
    states = [(tmp_path / f"cpu{number}" / "online").read_text().strip() for number in numbers[1:]]
    assert "1" + "".join(states) == after
