"""Another size for a sandbox that runs: what the machine can't take back, the guest has offline."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

import gavotte
from gavotte.errors import UsageError
from gavotte.guest.channel import Channel
from gavotte.hypervisor.fake import FakeVm
from gavotte.hypervisor.interface import Ability, Capabilities, MachineConfig
from gavotte.sandbox.growth import resize
from gavotte.sandbox.spec import make_spec


class Guest:
    """An agent that takes what it is asked to take, of what its machine has."""

    def __init__(self, vm: FakeVm) -> None:
        self.vm, self.online = vm, 0

    async def request(self, _operation: str, cpus: int) -> dict[str, Any]:
        self.online = min(cpus or self.online, len(await self.vm.vcpus()))
        return {"cpus": self.online, "memory": 1 << 20}


def story(sizes: list[int], *, removes: bool, cpus: int = 1) -> list[tuple[int, int]]:
    """What is online, and what the machine has, after each size."""

    async def main() -> list[tuple[int, int]]:
        spec = make_spec(cpus=cpus, max_cpus=4)
        none = Path("/nowhere")
        config = MachineConfig("m", "x86_64", "q35", "tcg", cpus, 64 << 20, none, none, "", max_vcpus=4)
        vm = FakeVm(config)
        await vm.start()
        if not removes:
            vm.capabilities = lambda: Capabilities({Ability.REMOVE_VCPUS: "no"})  # type: ignore[method-assign]  # TCG
        channel = cast(Channel, Guest(vm))
        try:
            return [((await resize(vm, channel, spec, n, None)).cpus, len(await vm.vcpus())) for n in sizes]
        finally:
            await vm.stop()

    return asyncio.run(main())


def test_a_machine_that_can_not_remove_processors_keeps_them_and_the_guest_has_them_offline() -> None:
    assert story([3, 1, 2, 4, 1], removes=False) == [(3, 3), (1, 3), (2, 3), (4, 4), (1, 4)]


def test_a_machine_that_can_remove_processors_does_so() -> None:
    assert story([3, 1, 2], removes=True) == [(3, 3), (1, 1), (2, 2)]


def test_of_those_it_was_started_with_the_machine_keeps_all_and_the_guest_may_have_fewer() -> None:
    assert story([4, 1, 2], removes=True, cpus=2) == [(4, 4), (1, 2), (2, 2)]


@pytest.mark.parametrize("count", [0, -1, 5, True])
def test_a_number_of_processors_that_can_not_be_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 4"):
        story([count], removes=False)


@pytest.mark.vm
def test_processors_go_and_come_back_as_often_as_wanted(lab: gavotte.Sandbox) -> None:
    for count in (3, 1, 2):
        assert lab.resize(cpus=count).cpus == count
        assert lab.run(["nproc"], timeout=60).check().stdout == b"%d\n" % count
    lab.resize(cpus=1)
    assert lab.resize(memory=512 << 20).cpus == 1  # another size of memory brings none back
