"""More and less of processors and memory, as QEMU and the guest see it."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte.errors import QmpRefused, StateError, Unsupported, UsageError
from gavotte.faces.loop import call
from gavotte.guest.image import Image
from gavotte.hypervisor.devices import Rng
from gavotte.hypervisor.interface import Capabilities, MachineConfig, Memory
from gavotte.hypervisor.qemu import launch
from gavotte.hypervisor.qemu.operations.resize import read_growth
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_program, find_qemu
from tests.support.programs import DEADLINE
from tests.support.steps import cancel_here, disturbed
from tests.support.tiny import config_for
from tests.support.tiny_kernel import HALTS, write_kernel

MIB = 1 << 20


@asynccontextmanager
async def running(config: MachineConfig, arch: str = "x86_64") -> AsyncIterator[QemuVm]:
    vm = QemuVm(find_qemu(arch), config)
    try:
        await vm.start()
        yield vm
    finally:
        await vm.cleanup()


@pytest.fixture(scope="module", autouse=True)
def loop_thread() -> None:
    """From here on, the loop thread is no test's leftover."""
    call(asyncio.sleep(0))


@pytest.fixture
def dimms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A QEMU without virtio-mem."""
    monkeypatch.setattr(launch, "growth_of", lambda _row, _schema: "dimm")


def seen(box: gavotte.Sandbox, wanted: Callable[[int, int], bool]) -> tuple[int, int]:
    """The guest's processors and its memory in bytes, once they are as wanted; its kernel takes a moment for both."""
    look = (
        "for c in /sys/devices/system/cpu/cpu[1-9]*/online; do [ -e $c ] && echo 1 > $c; done; "
        "nproc; awk '/MemTotal/ {print $2}' /proc/meminfo"
    )
    for _ in range(100):
        cpus, memory = map(int, box.run(["sh", "-c", look]).stdout.split())
        if wanted(cpus, memory << 10):
            return cpus, memory << 10
        box.run(["sleep", "0.2"])
    raise AssertionError(f"{cpus} CPUs, {memory} KiB")


def near(size: int) -> Callable[[int, int], bool]:
    return lambda _cpus, memory: abs(memory - size) < 32 * MIB


# --- virtio-mem -------------------------------------------------------------------------------------------------------


def test_memory_comes_and_goes_in_the_guest_several_times(lab: gavotte.Sandbox) -> None:
    before: Memory = call(lab.vm.memory())
    _, at_first = seen(lab, lambda _cpus, _memory: True)
    for more in (128, 384, 64, 0):
        size = before.base + more * MIB
        assert call(lab.vm.resize_memory(size, deadline=6 * DEADLINE)) == size
        memory = call(lab.vm.memory())
        assert (memory.total, memory.plugged, memory.requested) == (size, more * MIB, more * MIB)
        seen(lab, near(at_first + more * MIB))
    assert call(lab.vm.memory()) == before


def test_what_the_guest_has_not_given_back_in_time_is_not_reported_as_given(lab: gavotte.Sandbox) -> None:
    base = call(lab.vm.memory()).base
    assert call(lab.vm.resize_memory(base + 256 * MIB, deadline=6 * DEADLINE)) == base + 256 * MIB
    try:
        assert base < call(lab.vm.resize_memory(base, deadline=0.02)) <= base + 256 * MIB
        assert call(lab.vm.memory()).requested > 0  # it isn't asked for any longer
    finally:
        assert call(lab.vm.resize_memory(base, deadline=6 * DEADLINE)) == base


async def cancelled_at(work: Coroutine[Any, Any, int], place: int) -> None:
    await disturbed(work, place, cancel_here)


def test_a_cancelled_growth_is_not_asked_for_any_longer(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(config_for(write_kernel(tmp_path, HALTS), max_memory=256 * MIB)) as vm:
            for place in itertools.count(1):
                growing = vm.resize_memory(256 * MIB, deadline=0.1)
                try:
                    await asyncio.create_task(cancelled_at(growing, place))
                except asyncio.CancelledError:
                    assert (await vm.memory()).requested == 0
                else:
                    break
            assert place > 5
            assert await vm.resize_memory(32 * MIB) == 32 * MIB

    asyncio.run(main())


def test_a_paused_machine_is_not_resized_and_says_what_to_do(tmp_path: Path) -> None:
    async def main() -> None:
        config = config_for(write_kernel(tmp_path, HALTS), max_memory=256 * MIB, max_vcpus=2)
        async with running(config) as vm:
            await vm.pause()
            for change in (vm.resize_memory(64 * MIB), vm.resize_vcpus(2)):
                with pytest.raises(StateError) as error:
                    await change
                assert error.value.hint == "resume it first"
            assert (await vm.memory()).total == 32 * MIB

    asyncio.run(main())


@pytest.mark.parametrize("size", [32 * MIB - 1, 32 * MIB + 1, 33 * MIB, 258 * MIB, 1 << 63])
def test_a_size_that_cannot_be_is_refused_with_what_can(size: int, tmp_path: Path) -> None:
    async def main() -> None:
        async with running(config_for(write_kernel(tmp_path, HALTS), max_memory=256 * MIB)) as vm:
            with pytest.raises(UsageError) as error:
                await vm.resize_memory(size)
            assert "M" in error.value.problem
            assert error.value.hint
            assert (await vm.memory()).requested == 0

    asyncio.run(main())


# --- processors, DIMMs, and a machine that is saved with them ---------------------------------------------------------


def test_a_machine_that_grew_is_saved_and_loaded_as_it_is_and_its_guest_goes_on(
    image: Image, dimms: None, tmp_path: Path
) -> None:
    """All in one boot: vCPUs and DIMMs come, a DIMM goes, a file and a counter survive."""
    del image, dimms
    count = (
        "mknod /dev/ttyS0 c 4 64; echo survives > /run/file; "
        "(i=0; while :; do i=$((i+1)); echo count $i $(nproc) $(cat /run/file) > /dev/ttyS0; sleep 0.1; done)"
        " > /dev/null 2>&1 &"
    )
    with gavotte.Sandbox(accel="tcg", cold=True, machine="pc", slots=2, max_cpus=3, max_memory="1G") as box:
        vm = box.vm
        base = call(vm.memory()).base
        _, at_first = seen(box, lambda _cpus, _memory: True)
        assert call(vm.resize_vcpus(2)) == 2
        assert call(vm.resize_vcpus(3)) == 3
        assert call(vm.resize_memory(base + 256 * MIB)) == base + 256 * MIB
        assert call(vm.resize_memory(base + 384 * MIB)) == base + 384 * MIB
        seen(box, lambda cpus, memory: cpus == 3 and memory > at_first + 352 * MIB)
        assert call(vm.resize_memory(base + 256 * MIB, deadline=3 * DEADLINE)) == base + 256 * MIB
        seen(box, lambda _cpus, memory: memory < at_first + 288 * MIB)
        with pytest.raises(Unsupported, match="emulator"):
            call(vm.resize_vcpus(1))
        call(vm.plug(Rng("more")))
        box.run(["sh", "-c", count]).check()
        call(vm.save(tmp_path / "machine"))
        assert box.run(["cat", "/run/file"]).stdout == b"survives\n"
        binary, config = vm.binary, vm.config

    async def load() -> None:
        other = QemuVm(binary, config)
        try:
            await other.load(tmp_path / "machine")
            async with asyncio.timeout(3 * DEADLINE):
                with other.attach_console() as console:
                    console.setblocking(False)
                    text = b""
                    while b"survives" not in text:
                        piece = await asyncio.get_running_loop().sock_recv(console, 4096)
                        assert piece, await other.explain_end()
                        text += piece
            assert b" 3 survives" in text
            assert other.plugged == {"more": Rng("more")}
            memory = await other.memory()
            assert (memory.total, memory.plugged) == (base + 256 * MIB, 256 * MIB)
            assert await other.resize_memory(base + 384 * MIB) == base + 384 * MIB
        finally:
            await other.cleanup()

    call(load())


def test_a_processor_that_the_guest_lets_go_is_gone(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under TCG nothing may come after it, so the machine ends here."""
    del image
    with gavotte.Sandbox(accel="tcg", cold=True, max_cpus=3) as box:
        vm = box.vm
        assert call(vm.resize_vcpus(3)) == 3
        seen(box, lambda cpus, _memory: cpus == 3)
        monkeypatch.setattr(vm, "capabilities", Capabilities)
        assert call(vm.resize_vcpus(1, deadline=3 * DEADLINE)) == 1
        assert len(call(vm.qmp.query_cpus_fast())) == 1
        call(vm.stop(force=True))


def test_dimms_that_a_guest_keeps_are_reported_as_there(dimms: None, tmp_path: Path) -> None:
    async def main() -> None:
        config = config_for(write_kernel(tmp_path, HALTS), memory=128 * MIB, max_memory=1024 * MIB)
        async with running(config) as vm:
            assert (await vm.memory()).block == 128 * MIB
            assert await vm.resize_memory(256 * MIB) == 256 * MIB
            assert await vm.resize_memory(768 * MIB) == 768 * MIB
            assert await vm.resize_memory(640 * MIB, deadline=0.3) == 768 * MIB  # no DIMM is that small but the first
            assert await vm.resize_memory(128 * MIB, deadline=0.3) == 768 * MIB
            with pytest.raises(UsageError, match="steps of 128M"):
                await vm.resize_memory(800 * MIB)
            steps = await read_growth(vm.monitor, config)
            assert [step.props["id"] for step in steps] == ["dimm0-ram", "dimm0", "dimm1-ram", "dimm1"]
            assert {step.props["slot"] for step in steps if step.kind == "device"} == {0, 1}

    asyncio.run(main())


def test_when_the_slots_are_full_qemu_says_so_and_nothing_is_left(dimms: None, tmp_path: Path) -> None:
    async def main() -> None:
        config = config_for(write_kernel(tmp_path, HALTS), memory=128 * MIB, max_memory=4096 * MIB)
        async with running(config) as vm:
            for number in range(2, 18):
                await vm.resize_memory(number * 128 * MIB)
            with pytest.raises(QmpRefused, match="slot") as error:
                await vm.resize_memory(18 * 128 * MIB)
            assert "larger steps" in error.value.hint
            assert (await vm.memory()).total == 17 * 128 * MIB

    asyncio.run(main())


# --- other architectures, by what QEMU says of them -------------------------------------------------------------------


def write_elf(folder: Path, machine: int) -> Path:
    """A kernel of no instructions, for firmware that wants to be given one: an ELF file, 64 bits, big endian."""
    header = b"\x7fELF\x02\x02\x01" + bytes(9)
    header += struct.pack(">HHIQQQIHHHHHH", 2, machine, 1, 0x10000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    path = folder / "kernel"
    path.write_bytes(header + struct.pack(">IIQQQQQQ", 1, 5, 0, 0x10000, 0x10000, 120, 120, 0x10000))
    return path


@pytest.mark.parametrize(
    ("arch", "machine", "elf", "driver"),
    [("ppc64", "pseries", 21, "spapr-cpu-core"), ("s390x", "s390-ccw-virtio", 22, "s390x-cpu")],
)
def test_processors_are_added_by_what_qemu_says_of_their_places(
    arch: str, machine: str, elf: int, driver: str, tmp_path: Path
) -> None:
    if find_program(f"qemu-system-{arch}") is None:
        pytest.skip(f"no emulator for {arch} here: make setup-arches")

    async def main() -> None:
        kernel = write_elf(tmp_path, elf)
        config = config_for(kernel, arch=arch, machine=machine, memory=256 * MIB, max_vcpus=3)
        async with running(config, arch) as vm:
            assert await vm.resize_vcpus(3) == 3
            steps = await read_growth(vm.monitor, vm.config)
            assert [(step.props["id"], step.props["core-id"]) for step in steps] == [("vcpu1", 1), ("vcpu2", 2)]
            assert all(str(step.props["driver"]).endswith(driver) for step in steps)
            with pytest.raises(Unsupported):
                await vm.resize_vcpus(1)

    asyncio.run(main())


def test_a_pseries_grows_by_dimms(tmp_path: Path) -> None:
    if find_program("qemu-system-ppc64") is None:
        pytest.skip("no emulator for ppc64 here: make setup-arches")

    async def main() -> None:
        changes = {"arch": "ppc64", "machine": "pseries", "memory": 256 * MIB, "max_memory": 1024 * MIB}
        async with running(config_for(write_elf(tmp_path, 21), **changes), "ppc64") as vm:
            assert await vm.resize_memory(512 * MIB) == 512 * MIB
            memory = Memory(base=256 * MIB, plugged=256 * MIB, requested=256 * MIB, limit=1024 * MIB, block=256 * MIB)
            assert await vm.memory() == memory

    asyncio.run(main())
