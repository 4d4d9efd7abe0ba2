"""A QEMU that something else started: seen, plugged into and left as it was."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import HostError, QmpNotSent, UsageError
from gavotte.qemu.adopt import adopt, binary_of, check_process, overview, server_pid, statistics
from gavotte.qemu.binary import find_qemu
from tests.support.adoptable import Foreign, foreign_qemu

pytestmark = pytest.mark.usefixtures("run_directory")


@pytest.fixture(scope="module")
def qemu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    with foreign_qemu(tmp_path_factory.mktemp("adopt")) as started:
        yield started


def test_it_is_told_what_it_is_made_of(qemu: Foreign) -> None:
    async def look() -> dict[str, Any]:
        async with adopt(qemu.socket) as client:
            return await overview(client)

    found = asyncio.run(look())
    assert found["name"] == "foreign\x1b[31m"
    assert found["status"]["status"] == "prelaunch"
    assert found["machine"].startswith("pc-q35-")
    assert found["memory"]["base-memory"] == 64 << 20
    assert [cpu["cpu-index"] for cpu in found["vcpus"]] == [0, 1]
    assert all(Path(f"/proc/{qemu.pid}/task/{cpu['thread-id']}").exists() for cpu in found["vcpus"])
    tree = {device["id"]: device for device in found["devices"]}
    assert tree["rp0"]["bus"] == "pcie.0"
    assert [(child["id"], child["driver"]) for child in tree["rp0"]["devices"]] == [("scsi", "virtio-scsi-pci")]
    assert [child["id"] for child in tree["rp0"]["devices"][0]["devices"]] == ["hd"]
    assert [node["node-name"] for node in found["blocks"]] == ["node"]
    assert {chardev["label"] for chardev in found["chardevs"]} >= {"nothing", "qmp"}
    assert [netdev["id"] for netdev in found["netdevs"]] == ["net"]
    assert {"qom-type": "iothread", "id": "io"} in found["objects"]


def test_it_lives_on_after_each_visit(qemu: Foreign) -> None:
    async def visit() -> None:
        async with adopt(qemu.socket) as client:
            await client.execute("query-status")

    for _ in range(3):
        asyncio.run(visit())
    with pytest.raises(RuntimeError, match="of ours"):
        asyncio.run(failing(qemu.socket))
    assert qemu.process.poll() is None


async def failing(path: str) -> None:
    async with adopt(path):
        raise RuntimeError("of ours")


def test_it_counts(qemu: Foreign) -> None:
    async def look() -> dict[str, Any]:
        async with adopt(qemu.socket) as client:
            return await statistics(client)

    found = asyncio.run(look())
    assert {node["node-name"] for node in found["blocks"]} == {"node"}
    assert found["balloon"] is None


def test_the_process_behind_the_socket_is_found_and_fits_its_binary(qemu: Foreign) -> None:
    assert server_pid(qemu.socket) == qemu.pid
    assert binary_of(qemu.pid) == find_qemu()
    assert check_process(qemu.pid)["devices"][2]["driver"] == "scsi-hd"


def test_a_process_that_runs_something_else_is_no_qemu() -> None:
    with pytest.raises(UsageError):
        check_process(os.getpid())
    with pytest.raises(HostError, match="can't tell what process"):
        binary_of(2**22 + 1)


def test_a_second_client_is_told_why_nobody_greets_it(qemu: Foreign) -> None:
    async def both() -> None:
        async with adopt(qemu.socket), adopt(qemu.socket, deadline=0.3):
            raise AssertionError("two clients are served")

    with pytest.raises(QmpNotSent) as caught:
        asyncio.run(both())
    assert "one client" in caught.value.hint


@contextmanager
def silent(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(path))
        yield


def test_where_nobody_listens_the_path_is_told(tmp_path: Path) -> None:
    async def visit(path: Path) -> None:
        async with adopt(os.fspath(path), deadline=0.3):
            raise AssertionError("there is nobody")

    with silent(tmp_path / "socket"), pytest.raises(QmpNotSent, match="Connection refused"):
        asyncio.run(visit(tmp_path / "socket"))
    with pytest.raises(UsageError, match="nothing: No such file"):
        asyncio.run(visit(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="nothing: No such file"):
        server_pid(os.fspath(tmp_path / "nothing"))


def test_a_socket_s_path_may_be_longer_than_an_address(qemu: Foreign, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    path = os.fspath(folder / "qmp")
    Path(path).symlink_to(qemu.socket)

    async def visit() -> None:
        async with adopt(path) as client:
            await client.execute("query-status")

    asyncio.run(visit())
    assert server_pid(path) == qemu.pid


def test_where_as_many_wait_as_the_kernel_queues_it_is_told_as_busy(tmp_path: Path) -> None:
    async def visit(path: Path) -> None:
        async with adopt(os.fspath(path), deadline=0.3):
            raise AssertionError("there is no room")

    path = tmp_path / "full"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(os.fspath(path))
        server.listen(0)
        first.connect(os.fspath(path))
        with pytest.raises(QmpNotSent, match="busy"):
            asyncio.run(visit(path))


def test_a_program_that_is_no_qemu_is_not_started_to_learn_from_it() -> None:
    with pytest.raises(UsageError, match="no QEMU by its name"):
        binary_of(os.getpid())
