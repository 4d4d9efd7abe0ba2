"""The machine in memory: what its script may do, beside the contract that it shares with the real one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import GuestDied, OutcomeUnknown, StateError, UnplugRefused, Unsupported
from gavotte.hypervisor.devices import Port, Rng
from gavotte.hypervisor.events import Ended, GuestPanicked, MemoryChanged, Paused
from gavotte.hypervisor.fake import FakeVm, Script
from gavotte.hypervisor.interface import Ability, Checked, Health, MachineConfig, VmState

MIB = 1 << 20


def machine(script: Script | None = None, **changes: Any) -> FakeVm:
    values: dict[str, Any] = {
        "name": "box",
        "arch": "x86_64",
        "machine": "q35",
        "accel": "tcg",
        "vcpus": 1,
        "memory": 64 * MIB,
        "kernel": Path("/images/vmlinux"),
        "initrd": None,
        "append": "",
        "slots": 4,
        "max_vcpus": 4,
        "max_memory": 1024 * MIB,
    }
    return FakeVm(MachineConfig(**{**values, **changes}), script)


def test_a_guest_prints_when_it_starts_and_when_it_is_told_to() -> None:
    async def main() -> None:
        async with machine(Script(console="login:\n")) as vm:
            assert vm.console == "login:"
            vm.prints("\x1b[31mred\n")
            assert vm.console == "login:\n\N{REPLACEMENT CHARACTER}[31mred"
            vm.prints("x" * 1_000_000)
            assert len(vm.console) < 5000

    asyncio.run(main())


def test_what_a_guest_prints_is_seen_by_who_is_attached_and_what_they_type_is_read() -> None:
    async def main() -> None:
        async with machine(Script(console="login:\n")) as vm:
            with vm.attach_console() as one, vm.attach_console() as two:
                one.setblocking(True)
                assert one.recv(100) == b"login:\n"
                two.close()
                vm.prints("Password:")
                assert one.recv(100) == b"Password:"
                one.sendall(b"secret\n")
                assert vm.typed() == b"secret\n"
                assert vm.typed() == b""
                await vm.stop()
                assert one.recv(100) == b""
        with vm.attach_console() as after:
            after.setblocking(True)
            assert after.recv(100) == b"login:\nPassword:"
            assert after.recv(100) == b""

    asyncio.run(main())


def test_a_guest_takes_what_its_script_lets_it() -> None:
    async def main() -> None:
        async with machine(Script(memory=128 * MIB, vcpus=2)) as vm:
            with vm.events(MemoryChanged) as events:
                assert await vm.resize_vcpus(4) == 2
                assert await vm.resize_memory(512 * MIB) == 192 * MIB
                assert await anext(events) == MemoryChanged("memory", 128 * MIB)
                vm.script.memory = None
                assert await vm.resize_memory(512 * MIB) == 512 * MIB
                assert await vm.resize_memory(64 * MIB) == 64 * MIB

    asyncio.run(main())


def test_a_guest_answers_an_unplug_for_each_device_as_it_is_told() -> None:
    async def main() -> None:
        async with machine(Script(unplug={"a": "accept", "r": "refuse", "i": "ignore"})) as vm:
            for id in ("a", "r", "i"):
                await vm.plug(Rng(id))
            await vm.unplug("a")
            with pytest.raises(UnplugRefused):
                await vm.unplug("r")
            with pytest.raises(OutcomeUnknown):
                await vm.unplug("i", deadline=0.01)
            assert list(vm.plugged) == ["r", "i"]
            vm.script.unplug = "accept"
            await vm.unplug("r")
            await vm.unplug("i")
            assert vm.plugged == {}

    asyncio.run(main())


def test_an_ability_that_the_script_takes_away_is_missing() -> None:
    async def main() -> None:
        async with machine(Script(missing={Ability.PAUSE: "an old one"})) as vm:
            with pytest.raises(Unsupported, match="an old one"):
                await vm.pause()
            assert vm.state is VmState.RUNNING

    asyncio.run(main())


CALLS: dict[str, Callable[[FakeVm], Awaitable[Any]]] = {
    "pause": lambda vm: vm.pause(),
    "save": lambda vm: vm.save("machine"),
    "plug": lambda vm: vm.plug(Rng("s")),
    "unplug": lambda vm: vm.unplug("r"),
    "resize_vcpus": lambda vm: vm.resize_vcpus(2),
    "resize_memory": lambda vm: vm.resize_memory(128 * MIB),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_panic_in_the_middle_of_a_call_is_what_that_call_raises(name: str) -> None:
    async def main() -> None:
        async def panic(what: str) -> None:
            if what == name and vm.state is VmState.RUNNING:
                vm.panics("in the middle")

        vm = machine(Script(during=panic))
        await vm.plug(Rng("r"))
        async with vm:
            with vm.events(GuestPanicked, Ended) as events:
                with pytest.raises(GuestDied, match="in the middle"):
                    await CALLS[name](vm)
                seen = [event async for event in events]
            assert [type(event) for event in seen] == [GuestPanicked, Ended]
            assert vm.state is VmState.STOPPED
            assert list(vm.plugged) == ["r"]

    asyncio.run(main())


def test_a_panic_that_pauses_leaves_the_machine_to_be_looked_at() -> None:
    async def main() -> None:
        async with machine() as vm:
            with vm.events(GuestPanicked, Paused) as events:
                vm.panics("stuck", action="pause")
                assert [type(await anext(events)) for _ in range(2)] == [GuestPanicked, Paused]
            assert await vm.check() == Checked(Health.PANICKED, "stuck")
            with pytest.raises(StateError, match="reset"):
                await vm.resume()
            await vm.reset()
            await vm.resume()
            assert await vm.check() == Checked(Health.RUNNING)

    asyncio.run(main())


def test_calls_take_turns_and_a_stop_ends_the_one_that_hangs() -> None:
    async def main() -> None:
        hanging = asyncio.Event()
        told: list[str] = []

        async def hang(what: str) -> None:
            told.append(what)
            if what == "plug":
                hanging.set()
                await asyncio.Event().wait()

        async with machine(Script(during=hang)) as vm:
            plug = asyncio.ensure_future(vm.plug(Rng("r")))
            await hanging.wait()
            pause = asyncio.ensure_future(vm.pause())
            assert told == ["start", "plug"]
            await vm.stop()
            outcomes = await asyncio.gather(plug, pause, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [StateError, StateError]
            assert told == ["start", "plug"]
            assert vm.plugged == {}

    asyncio.run(main())


def test_a_start_that_fails_is_told_and_leaves_a_stopped_machine() -> None:
    async def main() -> None:
        async def fail(_what: str) -> None:
            raise OSError("no more of anything")

        vm = machine(Script(during=fail), devices=(Port("p", "a.port"),))
        with pytest.raises(OSError, match="no more"):
            await vm.start()
        assert vm.state is VmState.STOPPED
        with pytest.raises(StateError):
            vm.take_port("p")

    asyncio.run(main())


def test_a_port_leads_to_the_scripted_guest() -> None:
    async def main() -> None:
        async with machine(devices=(Port("p", "a.port"),)) as vm:
            with socket.socket(fileno=vm.take_port("p")) as end:
                end.send(b"hello")
                assert vm.far_end("p").recv(10) == b"hello"

    asyncio.run(main())


def test_its_numbers_are_of_no_process_that_a_signal_could_reach() -> None:
    async def main() -> None:
        async with machine() as vm:
            for number in [*(await vm.pids()).values(), *(vcpu.thread for vcpu in await vm.vcpus())]:
                with pytest.raises(ProcessLookupError):
                    os.kill(number, 0)

    asyncio.run(main())
