"""What connects devices to this host: what is lent, what stays ours, and what is refused before QEMU sees it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gavotte.errors import HostError, StateError, Unsupported, UsageError
from gavotte.hypervisor.devices import Device, Disk, Nic, Passt, Port, Rng, Share, Stream, Tap, Vsock
from gavotte.hypervisor.qemu.devices.resources import Wiring
from gavotte.hypervisor.qemu.plan import Wire
from gavotte.qemu.fds import FdLedger
from tests.support.limits import fds_left
from tests.support.qcow2 import empty_qcow2


def cold(device: Device, look: Callable[[Wire | None, FdLedger, Wiring], None], wiring: Wiring | None = None) -> None:
    """Wires `device` for a QEMU that is to start, and closes everything after a look."""

    async def main() -> None:
        wired = wiring or Wiring()
        with FdLedger() as ledger:
            try:
                look(await wired.cold(device, ledger), ledger, wired)
            finally:
                wired.close()

    asyncio.run(main())


def hot(device: Device, look: Callable[[Wire, Wiring], None]) -> None:
    """The same for a QEMU that runs."""

    async def main() -> None:
        wired = Wiring()
        try:
            wire = await wired.hot(device)
            assert wire is not None
            look(wire, wired)
        finally:
            wired.close()

    asyncio.run(main())


def inode(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


# --- what is lent -----------------------------------------------------------------------------------------------------


def test_before_the_start_a_port_goes_by_its_number() -> None:
    def look(wire: Wire | None, ledger: FdLedger, wiring: Wiring) -> None:
        assert wire is not None
        (number,) = ledger.numbers
        assert (dict(wire.props), wire.fds) == ({"backend": "socket", "fd": str(number)}, ())
        with socket.socket(fileno=wiring.take_port("p")) as ours, socket.socket(fileno=os.dup(number)) as theirs:
            theirs.send(b"x")
            assert ours.recv(1) == b"x"

    cold(Port("p", "name"), look)


def test_later_a_port_goes_by_name_and_its_end_is_seen_once_it_is_settled() -> None:
    def look(wire: Wire, wiring: Wiring) -> None:
        ((name, number),) = [(fd.name, fd.number) for fd in wire.fds]
        assert wire.props["fd"] == name == "p"
        qemus = os.dup(number)  # as QEMU gets one
        wiring.settle("p")
        with socket.socket(fileno=wiring.take_port("p")) as ours:
            ours.setblocking(True)
            os.close(qemus)
            assert ours.recv(1) == b""

    hot(Port("p", "name"), look)


def test_the_callers_descriptors_stay_the_callers() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = theirs.fileno()

        def look(wire: Wire | None, ledger: FdLedger, wiring: Wiring) -> None:
            assert wire is not None
            assert wire.props == {"fd": str(ledger.numbers[0])}
            assert ledger.numbers[0] != fd
            assert inode(ledger.numbers[0]) == inode(fd)

        cold(Nic("n", Stream(fd)), look)
        assert inode(fd)

        def look_later(wire: Wire, wiring: Wiring) -> None:
            assert wire.props["fd"] == wire.fds[0].name
            assert inode(wire.fds[0].number) == inode(fd)
            wiring.settle("n")

        hot(Nic("n", Stream(fd)), look_later)
        assert inode(fd)


def test_each_queue_of_a_tap_goes_by_a_name_of_its_own() -> None:
    pipes = [*os.pipe(), *os.pipe()]

    def look(wire: Wire, wiring: Wiring) -> None:
        assert wire.props == {"fds": "n.0:n.1", "vhost": True, "vhostfds": "n.vhost0:n.vhost1"}
        assert [inode(fd.number) for fd in wire.fds] == [inode(fd) for fd in pipes]

    try:
        hot(Nic("n", Tap(tuple(pipes[:2]), tuple(pipes[2:]))), look)
    finally:
        for fd in pipes:
            os.close(fd)


def test_a_vsock_that_is_given_is_lent() -> None:
    with open("/dev/null") as file:  # noqa: PTH123  # any descriptor will do

        def look(wire: Wire | None, ledger: FdLedger, wiring: Wiring) -> None:
            assert wire is not None
            assert wire.props == {"vhostfd": str(ledger.numbers[0])}

        cold(Vsock("v", 5, file.fileno()), look)


def test_a_port_is_taken_once_and_none_that_is_not_there() -> None:
    def look(wire: Wire | None, ledger: FdLedger, wiring: Wiring) -> None:
        os.close(wiring.take_port("p"))
        for id in ("p", "q"):
            with pytest.raises(StateError, match=f"no port {id!r} to take"):
                wiring.take_port(id)

    cold(Port("p", "name"), look)


def test_what_was_made_is_freed_when_the_device_is_dropped() -> None:
    async def main() -> None:
        wiring = Wiring()
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            await wiring.hot(Port("p", "name"))
            await wiring.drop("p")
        with pytest.raises(HostError):
            await wiring.hot(Nic("n", Tap((0, 4094))))
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        await wiring.drop("nobody")
        wiring.close()

    asyncio.run(main())


def test_a_device_of_its_own_leads_nowhere() -> None:
    def look(wire: Wire | None, ledger: FdLedger, wiring: Wiring) -> None:
        assert wire is None
        assert ledger.numbers == ()

    cold(Rng("r"), look)


# --- what is refused --------------------------------------------------------------------------------------------------


def check(device: Device, *, hot: bool = False, shared_memory: bool = False) -> None:
    Wiring(shared_memory=shared_memory).check(device, hot=hot)


def test_a_disk_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=rf"disk 'd', {tmp_path}/none: No such file") as caught:
        check(Disk("d", tmp_path / "none"))
    assert caught.value.hint


@pytest.mark.parametrize("read_only", [True, False])
def test_a_directory_is_no_disk(tmp_path: Path, read_only: bool) -> None:
    with pytest.raises(HostError, match=str(tmp_path)) as caught:
        check(Disk("d", tmp_path, read_only=read_only))
    assert "Share" in caught.value.hint


def test_a_fifo_is_no_disk_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(HostError, match="neither a file nor a block device"):
        check(Disk("d", tmp_path / "fifo", read_only=True))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
def test_a_file_that_may_only_be_read_wants_a_read_only_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(512))
    (tmp_path / "disk").chmod(0o400)
    with pytest.raises(HostError, match="Permission denied") as caught:
        check(Disk("d", tmp_path / "disk"))
    assert "read_only=True" in caught.value.hint
    check(Disk("d", tmp_path / "disk", read_only=True))


def test_a_relative_path_is_refused_since_qemu_is_elsewhere() -> None:
    for device in (Disk("d", Path("disk")), Share("s", Path("folder"))):
        with pytest.raises(UsageError) as caught:
            check(device)
        assert caught.value.path == "path"


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    with pytest.raises(HostError, match="not a qcow2 image") as caught:
        check(Disk("d", tmp_path / "disk", format="qcow2"))
    assert "format='raw'" in caught.value.hint


@pytest.mark.parametrize("size", [4, 40, 200, 1 << 16, 3 << 16])
def test_a_truncated_image_is_named(tmp_path: Path, size: int) -> None:
    whole = empty_qcow2(1 << 20)
    (tmp_path / "disk").write_bytes(whole)
    check(Disk("d", tmp_path / "disk", format="qcow2"))
    (tmp_path / "disk").write_bytes(whole[:size])
    with pytest.raises(HostError, match="is truncated"):
        check(Disk("d", tmp_path / "disk", format="qcow2"))


def test_virtiofs_needs_memory_that_it_can_see(tmp_path: Path) -> None:
    share = Share("s", tmp_path, kind="virtiofs")
    with pytest.raises(Unsupported, match="virtiofs") as caught:
        check(share)
    assert "shared_memory=True" in caught.value.hint
    check(share, shared_memory=True)


def test_9p_is_for_the_start_only(tmp_path: Path) -> None:
    check(Share("s", tmp_path))
    with pytest.raises(Unsupported, match="9p in a machine that runs") as caught:
        check(Share("s", tmp_path), hot=True)
    assert "virtiofs" in caught.value.hint


def test_a_tap_has_a_queue_and_vhost_for_all_of_them_or_none() -> None:
    for tap in (Tap(()), Tap((3, 4), (5,))):
        with pytest.raises(UsageError) as caught:
            check(Nic("n", tap))
        assert caught.value.path == "net"


def test_out_of_descriptors_a_device_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(False)
        devices = (Port("p", "name"), Nic("n", Stream(0)), Nic("n", Passt()), Share("s", tmp_path, kind="virtiofs"))
        wiring = Wiring(shared_memory=True)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for device in devices:
            with fds_left(0), pytest.raises(HostError):
                await wiring.hot(device)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert wiring.pids == {}
        wiring.close()

    asyncio.run(main())


def test_a_block_device_of_the_host_has_its_own_driver() -> None:
    devices = [
        path
        for path in sorted(Path("/dev").glob("loop[0-9]*")) + sorted(Path("/dev").glob("vd?"))
        if is_readable_block(path)
    ]
    if not devices:
        pytest.skip("no block device may be opened here")

    def look(wire: Wire | None, ledger: FdLedger, wiring: Wiring) -> None:
        assert wire is not None
        assert wire.props == {"driver": "host_device"}

    cold(Disk("d", devices[0], read_only=True), look)


def is_readable_block(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return path.is_block_device()
