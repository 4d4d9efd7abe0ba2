"""What a machine can't do is refused, with the name of the ability, before anything happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import Unsupported, UsageError
from gavotte.hypervisor.devices import Balloon, Rng, Share, Watchdog
from gavotte.hypervisor.interface import Ability, Capabilities, Hypervisor, VmState
from tests.hypervisor.contract.drivers import Driver, story

NEEDS: dict[Ability, Callable[[Hypervisor], Awaitable[Any]]] = {
    Ability.PAUSE: lambda vm: vm.pause(),
    Ability.RESET: lambda vm: vm.reset(),
    Ability.SAVE: lambda vm: vm.save("machine"),
    Ability.CLONE: lambda vm: vm.freeze(),
    Ability.PLUG: lambda vm: vm.plug(Rng("r")),
    Ability.ADD_VCPUS: lambda vm: vm.resize_vcpus(2),
    Ability.ADD_MEMORY: lambda vm: vm.resize_memory(128 << 20),
    Ability.SHARE_VIRTIOFS: lambda vm: vm.plug(Share("s", Path("/"), kind="virtiofs")),
    Ability.BALLOON: lambda vm: vm.plug(Balloon("b")),
}


@pytest.mark.parametrize("ability", NEEDS, ids=lambda ability: ability.name)
@story
async def test_a_missing_ability_is_named_and_nothing_happens(
    driver: Driver, ability: Ability, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driver.running() as vm:
        before = (vm.state, vm.plugged, await vm.memory(), len(await vm.vcpus()))
        monkeypatch.setattr(vm, "capabilities", lambda: Capabilities({ability: "not here"}))
        with pytest.raises(Unsupported, match="not here") as error:
            await NEEDS[ability](vm)
        assert error.value.ability == ability.value
        assert (vm.state, vm.plugged, await vm.memory(), len(await vm.vcpus())) == before


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
@story
async def test_what_a_machine_was_not_made_for_is_refused_with_what_it_lacks(
    driver: Driver, tmp_path: Path, hot: bool
) -> None:
    vm = driver.create(max_vcpus=0, max_memory=0)
    try:
        if hot:
            await vm.start()
            with pytest.raises((Unsupported, UsageError)) as refusal:
                await vm.resize_vcpus(2)
            assert "max_vcpus" in f"{refusal.value} {refusal.value.hint}"
            with pytest.raises((Unsupported, UsageError)) as refusal:
                await vm.resize_memory(128 << 20)
            assert "max_memory" in f"{refusal.value} {refusal.value.hint}"
        with pytest.raises(Unsupported) as error:
            await vm.plug(Share("s", tmp_path, kind="virtiofs"))
        assert "shared_memory" in f"{error.value} {error.value.hint}"
        assert vm.plugged == {}
    finally:
        await vm.cleanup()


@story
async def test_a_start_that_needs_what_is_missing_does_not_happen(driver: Driver, tmp_path: Path) -> None:
    vm = driver.create(devices=(Share("s", tmp_path, kind="virtiofs"),))
    for begin in (vm.start, lambda: vm.load(tmp_path / "none")):
        with pytest.raises(Unsupported, match="shared_memory"):
            await begin()
        assert vm.state is VmState.CREATED
    await vm.cleanup()


@pytest.mark.parametrize(
    ("ability", "changes"),
    [(Ability.WATCHDOG, {"devices": (Watchdog("w"),)}), (Ability.DUMP, {"dump": Path("/")})],
    ids=["device", "dump"],
)
@story
async def test_what_a_machine_is_made_with_is_asked_of_it_before_its_start(
    driver: Driver, ability: Ability, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = driver.create(**changes)
    monkeypatch.setattr(vm, "capabilities", lambda: Capabilities({ability: "not here"}))
    with pytest.raises(Unsupported, match="not here"):
        await vm.start()
    assert vm.state is VmState.CREATED
    await vm.cleanup()


@story
async def test_a_machine_that_cannot_be_loaded_says_so_before_the_file_is_looked_for(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = driver.create()
    monkeypatch.setattr(vm, "capabilities", lambda: Capabilities({Ability.SAVE: "not here"}))
    with pytest.raises(Unsupported, match="not here"):
        await vm.load(tmp_path / "no such file")
    await vm.cleanup()


@story
async def test_capabilities_can_be_asked_for_at_any_time(driver: Driver) -> None:
    vm = driver.create()
    before = vm.capabilities()
    assert Ability.PAUSE in before
    await vm.start()
    assert vm.capabilities() == before
    await vm.stop()
    assert vm.capabilities() == before
