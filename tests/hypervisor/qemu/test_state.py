"""What a machine reports by itself: each event from a guest that really does it, in order, and none lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GuestDied, QemuExited
from gavotte.hypervisor.devices import Device, Raw
from gavotte.hypervisor.events import (
    BlockError,
    Ended,
    EventStream,
    GuestPanicked,
    InternalError,
    MemoryChanged,
    Paused,
    Resumed,
    Streams,
    Unplugged,
    VmEvent,
    VmReset,
    VmShutdown,
    WatchdogFired,
)
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.events import translate
from gavotte.hypervisor.qemu.state import Life
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.props import Step
from gavotte.qmp.wire import Event
from tests.support.binaries import BINARIES
from tests.support.programs import DEADLINE
from tests.support.qmp_server import QmpServer, scripted
from tests.support.tiny import FIRE, PANIC, POWER_OFF, RESET, does, machine, say

PVPANIC = Raw("panic", {"driver": "pvpanic"})


async def lived(vm: QemuVm) -> tuple[list[VmEvent], Exception]:
    """All that a machine reports until it ends by itself, and why it says that was."""
    async with asyncio.timeout(DEADLINE):
        with vm.events() as events:
            await vm.start()
            await vm.wait()
            why = await vm.explain_end()
            await vm.stop()
            return [event async for event in events], why


@pytest.mark.parametrize("qemu", BINARIES)
@pytest.mark.parametrize(
    ("code", "device", "expected", "words"),
    [
        (POWER_OFF, PVPANIC, [VmShutdown("guest-shutdown", True)], "ended by itself, guest-shutdown"),
        (RESET, PVPANIC, [VmShutdown("guest-reset", True)], "ended by itself, guest-reset"),
        (PANIC, PVPANIC, [GuestPanicked("poweroff"), VmShutdown("guest-panic", True)], "kernel panicked, guest-panic"),
        (
            FIRE,
            Raw("dog", {"driver": "ib700"}),
            [WatchdogFired("reset"), VmShutdown("guest-reset", True)],
            "didn't wind its watchdog up",
        ),
    ],
    ids=["powers off", "resets", "panics", "watchdog"],
)
def test_what_a_guest_does_is_told_in_order_and_explains_its_end(
    tmp_path: Path, qemu: Path | None, code: bytes, device: Device, expected: list[VmEvent], words: str
) -> None:
    async def main() -> None:
        events, why = await lived(machine(does(tmp_path, code), device, qemu=qemu))
        assert isinstance(why, GuestDied)
        assert words in str(why)
        assert events == [Resumed(), *expected, Ended(str(why))]

    asyncio.run(main())


def test_what_the_kernel_said_when_it_panicked_is_in_the_reason_without_its_control_characters(tmp_path: Path) -> None:
    async def main() -> None:
        kernel = does(tmp_path, say("Kernel panic - not syncing: no \x1b[31minit\r\n"), RESET)
        events, why = await lived(machine(kernel))
        assert events[-1] == Ended(str(why))
        assert "panicked (no " in str(why)
        assert "\x1b" not in str(why)

    asyncio.run(main())


def test_a_panic_that_nobody_listened_to_is_not_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        vm = machine(does(tmp_path, PANIC), PVPANIC)
        await vm.start()  # it panics as soon as its firmware is done
        assert await vm.wait(DEADLINE)
        assert "kernel panicked" in str(await vm.explain_end())
        assert vm.life.panic == GuestPanicked("poweroff")
        with vm.events(GuestPanicked, Ended) as late:
            await vm.stop()
            assert [type(event) async for event in late] == [Ended]

    asyncio.run(main())


@pytest.mark.parametrize("qemu", BINARIES)
def test_a_disk_that_fails_pauses_the_machine_and_says_which(tmp_path: Path, qemu: Path | None) -> None:
    bad = Step(
        "blockdev",
        {
            "driver": "blkdebug",
            "node-name": "bad",
            "image": {"driver": "null-co", "size": 1 << 20, "read-zeroes": True},
            "inject-error": [{"event": "none", "iotype": "read", "errno": 28}],
        },
    )
    disk = Raw("disk", {"driver": "virtio-blk-pci", "drive": "bad", "rerror": "stop"}, backends=(bad,))

    async def main() -> None:
        vm = machine(reads_its_disk(tmp_path), disk, qemu=qemu)
        with vm.events(BlockError, Paused) as events:
            await vm.start()
            async with asyncio.timeout(DEADLINE):
                error, paused = await anext(events), await anext(events)
            assert isinstance(error, BlockError)
            assert (error.node, error.operation, error.action, error.nospace) == ("bad", "read", "stop", True)
            assert paused == Paused()
            assert vm.state is VmState.PAUSED
            assert "io-error" in (await vm.check()).why
            await vm.stop()

    asyncio.run(main())


def reads_its_disk(folder: Path) -> Path:
    """A Linux of the oldest boot protocol, whose code runs in real mode and so may ask the firmware (int 0x13)."""
    image = bytearray(4096)
    image[0x1F1] = 4  # sectors of setup code, behind the first
    code = bytes.fromhex("b80102 bb0010 b90100 ba8000 cd13 f4ebfd")
    image[512 : 512 + len(code)] = code
    path = folder / "reader"
    path.write_bytes(image)
    return path


def test_an_end_that_somebody_else_made_is_told_apart(tmp_path: Path) -> None:
    async def main() -> None:
        vm = machine(does(tmp_path))
        await vm.start()
        await vm.quit()  # as another client of its monitor would
        assert await vm.wait(DEADLINE)
        why = await vm.explain_end()
        assert isinstance(why, QemuExited)
        assert "told to end (host-qmp-quit), and not by Gavotte" in str(why)
        await vm.stop()

    asyncio.run(main())


def test_pauses_by_others_are_followed(tmp_path: Path) -> None:
    async def main() -> None:
        vm = machine(does(tmp_path))
        await vm.start()
        await vm.qmp.stop()
        seen = [vm.state]
        await vm.qmp.cont()
        assert [*seen, vm.state] == [VmState.PAUSED, VmState.RUNNING]
        await vm.stop()

    asyncio.run(main())


def test_a_device_that_goes_is_reported(tmp_path: Path) -> None:
    usb = (Raw("usb", {"driver": "qemu-xhci"}), Raw("keys", {"driver": "usb-kbd", "bus": "usb.0"}))

    async def main() -> None:
        vm = machine(does(tmp_path), *usb)
        await vm.start()
        with vm.events(Unplugged) as events:
            await vm.qmp.device_add(driver="usb-mouse", id="mouse", bus="usb.0")
            await vm.qmp.device_del(id="mouse")
            async with asyncio.timeout(DEADLINE):
                assert await anext(events) == Unplugged("mouse")
        await vm.stop()

    asyncio.run(main())


def test_an_internal_error_is_found_behind_a_stop() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        await server.event("STOP")
        await server.reply(request, {})
        request = await server.read()
        assert request.command == "query-status"
        await server.reply(request, {"status": "internal-error", "running": False})
        await server.read_eof()

    async def main() -> None:
        life = Life()
        async with scripted(script) as client:
            with EventStream(life.streams, (), 8) as events:
                life.follow(client)
                await client.execute("go")
                async with asyncio.timeout(DEADLINE):
                    assert [await anext(events), await anext(events)] == [Paused(), InternalError()]
        life.close("")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("RESET", {"guest": False, "reason": "host-qmp-system-reset"}, VmReset("host-qmp-system-reset", False)),
        ("GUEST_PANICKED", {"action": "pause", "info": {"type": "s390", "core": 1}}, None),
        ("MEMORY_DEVICE_SIZE_CHANGE", {"id": "vmem0", "size": 1 << 30}, MemoryChanged("vmem0", 1 << 30)),
        ("DEVICE_DELETED", {"path": "/machine/peripheral/x/virtio-backend"}, None),
        ("RTC_CHANGE", {"offset": 1}, None),
        ("SHUTDOWN", {}, VmShutdown("", False)),
        ("BLOCK_IO_ERROR", {"qom-path": 5, "nospace": "yes"}, BlockError("", "", "", "", "", False)),
    ],
)
def test_an_event_is_translated_whatever_it_lacks(name: str, data: Any, expected: VmEvent | None) -> None:
    if name == "GUEST_PANICKED":
        expected = GuestPanicked("pause", {"type": "s390", "core": 1})
    assert translate(Event(name, data, 0.0)) == expected


def test_a_slow_reader_loses_the_oldest_and_knows_how_many() -> None:
    async def main() -> None:
        streams = Streams()
        with EventStream(streams, (Paused, Ended), 2) as events:
            for event in (Paused(), Resumed(), Paused(), Paused(), Ended("over")):
                streams.offer(event)
            streams.offer(Paused())  # after the end: no more
            assert [event async for event in events] == [Paused(), Ended("over")]
            assert events.dropped == 2

    asyncio.run(main())


def test_who_listens_after_the_end_is_told_of_the_end_alone() -> None:
    async def main() -> None:
        streams = Streams()
        streams.offer(Ended("over"))
        with EventStream(streams, (), 8) as events:
            assert [event async for event in events] == [Ended("over")]

    asyncio.run(main())
