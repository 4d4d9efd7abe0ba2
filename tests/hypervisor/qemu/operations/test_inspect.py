"""What is seen of a machine from outside: its threads, where they run, what is counted; on a real QEMU."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import gavotte
from gavotte.errors import GavotteError, HostError, QemuExited, StateError, UsageError
from gavotte.faces.loop import call
from gavotte.hypervisor.devices import Balloon, Device, Disk, Nic, Stream, Tap, User
from gavotte.hypervisor.interface import Health, MachineConfig, VmState
from gavotte.hypervisor.qemu.operations import inspect
from gavotte.hypervisor.qemu.operations.inspect import host_cpus
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.fds import socketpair
from tests.support.limits import fds_left
from tests.support.programs import DEADLINE
from tests.support.tiny_kernel import HALTS, write_kernel

TUN = Path("/dev/net/tun")


@asynccontextmanager
async def machine(folder: Path, devices: Sequence[Device] = (), **changes: Any) -> AsyncIterator[QemuVm]:
    """A machine that stands still."""
    kernel = write_kernel(folder, HALTS)
    config = MachineConfig("seen", "x86_64", "q35", "tcg", 2, 64 << 20, kernel, None, "", tuple(devices), **changes)
    vm = QemuVm(find_qemu("x86_64"), config)
    try:
        async with asyncio.timeout(3 * DEADLINE):
            await vm.start()
            yield vm
    finally:
        await vm.cleanup()


# --- processes and threads --------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_kernel(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as vm:
            pids = await vm.pids()
            assert list(pids) == ["qemu"]
            assert Path(f"/proc/{pids['qemu']}/exe").samefile(vm.binary.path)
            for vcpu in await vm.vcpus():
                task = Path(f"/proc/{pids['qemu']}/task/{vcpu.thread}")
                assert (task / "comm").read_text() == f"CPU {vcpu.index}/TCG\n"
                assert vcpu.cpus == os.sched_getaffinity(vcpu.thread)
                assert any(line.endswith(f":{vcpu.cgroup}") for line in (task / "cgroup").read_text().splitlines())

    asyncio.run(main())


def test_after_its_death_there_is_an_error_and_never_pid_0(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as vm:
            os.kill(vm.process.pid, signal.SIGKILL)
            assert await vm.wait(DEADLINE)
            for asked in (vm.pids(), vm.vcpus(), vm.pin_vcpu(0, frozenset({0})), vm.statistics()):
                with pytest.raises(StateError, match="SIGKILL"):
                    await asked
            assert isinstance(await vm.explain_end(), QemuExited)

    asyncio.run(main())


def test_without_free_fds_a_question_is_the_hosts_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as vm:
            with fds_left(0):
                assert (await vm.check()).health is Health.RUNNING
                for asked in (vm.vcpus(), vm.pin_vcpu(0, frozenset({0})), vm.statistics()):
                    with pytest.raises(HostError, match="Too many open files"):
                        await asked
                with pytest.raises(HostError, match="Too many open files"):
                    vm.attach_console()

    asyncio.run(main())


def test_a_death_while_it_is_asked_is_told_as_such(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as vm:
            os.kill(vm.process.pid, signal.SIGSTOP)
            asking = [asyncio.ensure_future(asked) for asked in (vm.vcpus(), vm.statistics())]
            await asyncio.wait(asking, timeout=0.1)
            os.kill(vm.process.pid, signal.SIGKILL)
            for outcome in await asyncio.gather(*asking, return_exceptions=True):
                assert isinstance(outcome, GavotteError)

    asyncio.run(main())


def test_a_vcpu_that_came_later_is_seen_and_can_be_bound(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path, max_vcpus=3) as vm:
            assert await vm.resize_vcpus(3) == 3
            where = frozenset({max(host_cpus() & os.sched_getaffinity(0))})
            await vm.pin_vcpu(2, where)
            assert [vcpu.cpus == where for vcpu in await vm.vcpus()][2]

    asyncio.run(main())


def test_processors_of_a_host_that_lacks_some_are_told_by_their_numbers(tmp_path: Path) -> None:
    """Kata indexes the list of processors by the number of one of them: on a host whose numbers have a gap, it fails
    or binds to another."""

    async def main() -> None:
        async with machine(tmp_path) as vm:
            with pytest.MonkeyPatch.context() as patch:
                (tmp_path / "online").write_text("0-1,4,6-7\n")
                patch.setattr(inspect, "_ONLINE", tmp_path / "online")
                assert host_cpus() == {0, 1, 4, 6, 7}
                for missing in (2, 3, 5, 8):
                    with pytest.raises(UsageError, match=rf"cpus: .* {missing}$") as error:
                        await vm.pin_vcpu(0, frozenset({0, missing}))
                    assert "0, 1, 4, 6, 7" in error.value.hint

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/user.slice/box\n", "/user.slice/box"),
        ("4:memory:/m\n3:cpu,cpuacct:/c\n1:name=systemd:/s\n", "/c"),
        ("3:cpu,cpuacct:/c\n0::/unified\n", "/c"),
        ("4:memory:/m\n0::/unified\n", "/unified"),
        ("0::/with:colon\n", "/with:colon"),
        ("", ""),
    ],
    ids=["v2", "v1", "both", "both-without-cpu", "colon", "none"],
)
def test_a_cgroup_is_read_in_either_spelling(text: str, path: str) -> None:
    assert inspect._cgroup(text) == path


# --- what is counted --------------------------------------------------------------------------------------------------


def test_a_disk_has_the_counters_of_its_front_end_and_of_each_node_below(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))

    async def main() -> None:
        path = tmp_path / "disk"
        devices = [Disk("d", path, read_only=True), Disk("s", path, bus="virtio-scsi", read_only=True)]
        async with machine(tmp_path, devices) as vm:
            block = (await vm.statistics())["block"]
            assert list(block) == ["d", "s"]
            for counted in block.values():
                assert counted["wr_bytes"] == 0
                assert counted["rd_bytes"] >= 0
                assert counted["nodes"]
                assert all("wr_highest_offset" in node for node in counted["nodes"].values())

    asyncio.run(main())


def test_what_a_guest_reads_is_counted_for_the_disk_that_it_reads(lab: gavotte.Sandbox, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    call(lab.vm.plug(Disk("counted", disk, serial="counted")))
    try:
        before = call(lab.vm.statistics())["block"]
        # The guest may take a moment to see it
        find = 'for b in /sys/block/vd*; do grep -q counted $b/serial && mknod /dev/c b $(tr : " " < $b/dev); done'
        script = f"until {find}; [ -b /dev/c ]; do sleep 0.1; done"
        assert (
            lab.run(["sh", "-c", f"{script}; dd if=/dev/c of=/dev/null bs=64k; rm /dev/c"], timeout=60).returncode == 0
        )
        after = call(lab.vm.statistics())["block"]
        assert after["counted"]["rd_bytes"] - before["counted"]["rd_bytes"] >= 1 << 20
    finally:
        call(lab.vm.unplug("counted"))


def test_nics_without_counters_have_none(tmp_path: Path) -> None:
    ours, theirs = socketpair()

    async def main() -> None:
        async with machine(tmp_path, [Nic("u", User(restrict=True)), Nic("s", Stream(theirs.fileno()))]) as vm:
            assert (await vm.statistics())["net"] == {"u": {}, "s": {}}

    with ours, theirs:
        asyncio.run(main())


@pytest.mark.skipif(not TUN.exists() or os.geteuid() != 0, reason="a tap needs root and /dev/net/tun")
def test_a_tap_has_the_counters_of_its_interface(tmp_path: Path) -> None:
    tap = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # linux/if_tun.h: TUNSETIFF with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR
        fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"gvseen%d", 0x5002))

        async def main() -> None:
            async with machine(tmp_path, [Nic("t", Tap((tap,)))]) as vm:
                counted = (await vm.statistics())["net"]["t"]
                assert counted["interface"].startswith("gvseen")
                assert counted["rx_bytes"] >= 0
                assert counted["tx_dropped"] >= 0

        asyncio.run(main())
    finally:
        os.close(tap)


def test_a_balloon_tells_what_the_guest_has(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path, [Balloon("b", statistics=1)]) as vm:
            assert (await vm.statistics())["balloon"] == {"actual": 64 << 20}

    asyncio.run(main())


def test_a_guests_own_account_of_its_memory_is_told_once_it_reports(lab: gavotte.Sandbox) -> None:
    call(lab.vm.plug(Balloon("b", statistics=1)))
    try:
        counted = call(reported(lab.vm))
        assert counted["actual"] > 0
        assert 0 < counted["guest"]["stat-free-memory"] < counted["guest"]["stat-total-memory"]
    finally:
        call(lab.vm.unplug("b"))


async def reported(vm: QemuVm) -> Any:
    """The balloon's statistics when the guest has reported for the first time."""
    async with asyncio.timeout(3 * DEADLINE):
        while "guest" not in (counted := (await vm.statistics())["balloon"]):  # noqa: ASYNC110  # there is no event
            await asyncio.sleep(0.1)
        return counted


def test_the_processors_time_of_each_vcpu_is_that_of_its_thread(lab: gavotte.Sandbox) -> None:
    counted = call(lab.vm.statistics())["vcpu"]
    assert list(counted) == [vcpu.index for vcpu in call(lab.vm.vcpus())]
    for vcpu in counted.values():
        assert vcpu["seconds"] == vcpu["user"] + vcpu["system"]
    assert counted[0]["seconds"] > 0


def test_an_accelerator_that_counts_nothing_has_nothing_to_tell(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as vm:
            assert vm.state is VmState.RUNNING
            assert (await vm.statistics())["accel"] is None

    asyncio.run(main())
