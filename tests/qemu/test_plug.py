"""One recipe, cold and hot, with the real QEMU: done, undone, rolled back."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import InvalidMachine, OutcomeUnknown, QmpNotSent, QmpRefused, UnplugRefused, UsageError
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.buses import Addresses, pcie_ports, root_ports
from gavotte.qemu.fds import FdLedger
from gavotte.qemu.plug import cold, plug, remove_device, unplug
from gavotte.qemu.plug.chardev import chardev_backends
from gavotte.qemu.props import Fd, Recipe, Step
from gavotte.qmp.client import QmpClient
from tests.support.conformance import BOARD, machine
from tests.support.programs import DEADLINE
from tests.support.qmp_server import QmpServer, run, scripted
from tests.support.schemas import schema_for

GUEST_ERROR = "DEVICE_UNPLUG_GUEST_ERROR"

SMALL = {name: value for name, value in BOARD.items() if name not in ("audiodevs", "fsdevs", "smp")}

DISK: Recipe = (
    Step("object", {"qom-type": "iothread", "id": "io"}),
    Step("blockdev", {"driver": "null-co", "node-name": "node", "size": 1 << 20, "read-zeroes": True}),
    Step("device", {"driver": "usb-storage", "id": "disk", "drive": "node"}),
)
USB: Recipe = (Step("device", {"driver": "qemu-xhci", "id": "usb"}),)


def with_machine(ask: Callable[[QmpClient], Awaitable[None]], recipe: Recipe = USB) -> None:
    schema_for()  # learnt on a loop of its own

    async def main() -> None:
        async with asyncio.timeout(3 * DEADLINE), machine(find_qemu().path, SMALL, recipe) as client:
            await ask(client)

    asyncio.run(main())


async def names(client: QmpClient) -> dict[str, set[str]]:
    """What is there, of each kind."""

    async def listed(command: str, key: str, arguments: dict[str, Any] | None = None) -> set[str]:
        listing: Any = await client.execute(command, arguments)
        return {entry[key] for entry in listing if entry.get("type") != "string"}

    return {
        "object": await listed("qom-list", "name", {"path": "/objects"}),
        "chardev": await listed("query-chardev", "label") - {"qmp", "compat_monitor0"},
        "blockdev": await listed("query-named-block-nodes", "node-name"),
        "device": await listed("qom-list", "name", {"path": "/machine/peripheral"}),
    }


# --- done and undone --------------------------------------------------------------------------------------------------


def test_what_is_plugged_is_there_and_what_is_unplugged_is_gone() -> None:
    async def ask(client: QmpClient) -> None:
        before = await names(client)
        assert len(await plug(client, DISK, schema_for())) == 3
        during = await names(client)
        assert during["device"] - before["device"] == {"disk"}
        assert during["blockdev"] == {"node"}
        await unplug(client, DISK, deadline=DEADLINE)
        assert await names(client) == before

    with_machine(ask)


def test_a_recipe_that_is_gone_in_part_is_taken_back_like_a_whole_one() -> None:
    async def ask(client: QmpClient) -> None:
        before = await names(client)
        network = Step("netdev", {"type": "user", "id": "net"})
        serial = Step("chardev", {"backend": "null", "id": "line"})
        recipe = (network, serial, *DISK)
        commands: list[tuple[str, dict[str, Any]]] = [
            ("netdev_del", {"id": "net"}),
            ("chardev-remove", {"id": "line"}),
            ("object-del", {"id": "io"}),
        ]
        for command, arguments in commands:
            await plug(client, recipe, schema_for())
            await client.execute(command, arguments)
            await unplug(client, recipe, deadline=DEADLINE)
            assert await names(client) == before
        await unplug(client, recipe, deadline=DEADLINE)

    with_machine(ask)


def test_a_back_end_in_use_elsewhere_is_no_success() -> None:
    async def ask(client: QmpClient) -> None:
        await plug(client, DISK)
        with pytest.raises(QmpRefused, match=r"step 1 \(blockdev 'node'\)"):
            await unplug(client, DISK[:2], deadline=DEADLINE)
        await unplug(client, DISK, deadline=DEADLINE)

    with_machine(ask)


def test_an_fsdev_stays_when_its_device_goes() -> None:
    async def ask(client: QmpClient) -> None:
        recipe = (Step("fsdev", {"fsdriver": "local", "id": "f", "path": "/"}), *DISK)
        await plug(client, DISK)
        await unplug(client, recipe, deadline=DEADLINE)
        assert "disk" not in (await names(client))["device"]

    with_machine(ask)


def test_the_same_recipe_is_the_same_cold() -> None:
    async def ask(client: QmpClient) -> None:
        found = await names(client)
        assert found["device"] == {"usb", "disk"}
        assert found["object"] >= {"io"}
        assert found["blockdev"] == {"node"}
        await unplug(client, DISK, deadline=DEADLINE)

    with_machine(ask, (*USB, *DISK))


def test_a_step_that_fails_has_all_before_it_undone_and_is_named_with_qemus_words() -> None:
    async def ask(client: QmpClient) -> None:
        before = await names(client)
        bad = (*DISK, Step("device", {"driver": "no-such", "id": "hd"}))
        with pytest.raises(
            QmpRefused, match=r"step 3 \(device 'hd'\): QEMU refused device_add: 'no-such' is not"
        ) as caught:
            await plug(client, bad, deadline=DEADLINE)
        assert caught.value.message.endswith("the steps before it were undone")
        assert caught.value.error_class == "GenericError"
        assert await names(client) == before

    with_machine(ask)


def test_what_cannot_be_undone_is_told() -> None:
    async def ask(client: QmpClient) -> None:
        stuck = (*DISK[:2], Step("device", {"driver": "virtio-blk-pci", "id": "stuck", "drive": "node", "bus": "rp0"}))
        bad = (*stuck, Step("object", {"qom-type": "no-such", "id": "x"}))
        with pytest.raises(QmpRefused, match=r"step 3 \(object 'x'\)") as caught:
            await plug(client, bad, deadline=2.0)
        assert "couldn't be undone: step 2 (device 'stuck')" in caught.value.message
        assert "step 1 (blockdev 'node')" in caught.value.message
        assert (await names(client))["device"] >= {"stuck"}

    with_machine(ask, root_ports(1))


def test_a_schema_finds_mistakes_before_anything_happens() -> None:
    async def ask(client: QmpClient) -> None:
        before = await names(client)
        with pytest.raises(InvalidMachine, match=r"recipe\[3\]\.num-queue"):
            bad = Step("device", {"driver": "virtio-blk-pci", "id": "b", "drive": "node", "num-queue": 2})
            await plug(client, (*DISK, bad), schema_for())
        assert await names(client) == before

    with_machine(ask)


def test_all_steps_that_cannot_be_are_told_at_once() -> None:
    async def ask(client: QmpClient) -> None:
        recipe = (
            Step("fsdev", {"fsdriver": "local", "id": "f", "path": "/"}),
            Step("device", {"driver": "usb-kbd", "id": "k", "poort": 1, "msos-desc": "x"}),
            Step("netdev", {"type": "user"}),
        )
        with pytest.raises(InvalidMachine) as caught:
            await plug(client, recipe, schema_for())
        paths = [problem.path for problem in caught.value.problems]
        assert paths == ["recipe[0]", "recipe[1].poort", "recipe[1].msos-desc", "recipe[2]"]

    with_machine(ask)


@pytest.mark.parametrize(
    ("step", "path"),
    [
        (Step("fsdev", {"fsdriver": "local", "id": "f", "path": "/"}), r"recipe\[1\]: .*fsdev"),
        (Step("device", {"driver": "usb-kbd"}), r"recipe\[1\]: without 'id'"),
        (Step("blockdev", {"driver": "null-co"}), r"recipe\[1\]: without 'node-name'"),
        (
            Step("chardev", {"backend": "socket", "id": "c", "path": "/s", "server": True, "wait": True}),
            r"recipe\[1\]\.wait: .*stand still",
        ),
        (Step("chardev", {"backend": "socket", "id": "c"}), r"recipe\[1\]\.backend: .*'path'"),
        (Step("netdev", {"type": "tap", "id": "n"}, (Fd("tap0", 0),)), r"recipe\[1\]: .*'tap0' is lent"),
    ],
)
def test_what_cannot_be_hot_is_refused_before_anything_is_sent(step: Step, path: str) -> None:
    async def nothing(server: QmpServer) -> None:
        await server.negotiate()
        await server.read_eof()

    async def test() -> None:
        async with scripted(nothing) as client:
            with pytest.raises(UsageError, match=path):
                await plug(client, (Step("object", {"qom-type": "iothread", "id": "io"}), step))
            await client.close()

    run(test)


# --- removal ----------------------------------------------------------------------------------------------------------


def test_a_device_that_no_guest_lets_go_is_unknown_at_the_deadline_also_when_asked_again() -> None:
    async def ask(client: QmpClient) -> None:
        step = Step("device", {"driver": "virtio-rng-pci", "id": "rng", "bus": "rp0"})
        await plug(client, (step,))
        for _ in range(2):
            with pytest.raises(OutcomeUnknown, match="'rng' is not gone after 0.2 s") as caught:
                await remove_device(client, "rng", deadline=0.2)
            assert caught.value.hint

    with_machine(ask, root_ports(1))


def test_a_device_that_is_not_there_is_an_error_to_remove_but_none_to_unplug() -> None:
    async def ask(client: QmpClient) -> None:
        with pytest.raises(QmpRefused) as caught:
            await remove_device(client, "nobody", deadline=DEADLINE)
        assert caught.value.error_class == "DeviceNotFound"
        await plug(client, DISK)
        await remove_device(client, "disk", deadline=DEADLINE)
        await unplug(client, DISK, deadline=DEADLINE)

    with_machine(ask)


def removal(*events: tuple[str, str], refusal: str = "") -> Callable[[QmpServer], Awaitable[None]]:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        assert (request.command, request.arguments) == ("device_del", {"id": "d"})
        if refusal:
            await server.refuse(request, refusal)
        else:
            await server.reply(request, {})
        for name, device in events:
            await server.event(name, device=device, path=f"/machine/peripheral/{device}")
        await server.read_eof()

    return script


def removed(script: Callable[[QmpServer], Awaitable[None]], deadline: float = DEADLINE) -> None:
    async def test() -> None:
        async with scripted(script) as client:
            try:
                await remove_device(client, "d", deadline=deadline)
            finally:
                await client.close()

    run(test)


def test_the_removal_of_another_device_is_not_taken_for_it() -> None:
    removed(removal(("DEVICE_DELETED", "other"), (GUEST_ERROR, "other"), ("DEVICE_DELETED", "d")))
    with pytest.raises(OutcomeUnknown):
        removed(removal(("DEVICE_DELETED", "other")), deadline=0.2)


def test_a_guest_that_refuses_is_told_from_qemu_that_refuses() -> None:
    with pytest.raises(UnplugRefused, match="the guest doesn't let 'd' go") as caught:
        removed(removal((GUEST_ERROR, "d")))
    assert not isinstance(caught.value, QmpRefused)


def test_a_removal_that_is_pending_already_is_waited_for() -> None:
    removed(removal(("DEVICE_DELETED", "d"), refusal="Device d is already in the process of unplug"))


def test_another_refusal_of_the_removal_is_one() -> None:
    with pytest.raises(QmpRefused, match="not hotpluggable"):
        removed(removal(refusal="Device 'd' is not hotpluggable"))


def test_a_connection_that_ends_while_a_device_goes_leaves_it_unknown() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.reply(await server.read(), {})

    with pytest.raises(OutcomeUnknown, match="connection ended"):
        removed(script)


def test_a_connection_that_ends_while_plugging_is_unknown_and_says_what_is_left() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.reply(await server.read(), {})
        await server.read()

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(OutcomeUnknown, match=r"step 1 .*couldn't be undone: .*step 0 \(object 'io'\)"):
                await plug(client, DISK)
            with pytest.raises(QmpNotSent, match=r"step 0"):
                await plug(client, DISK)

    run(test)


def test_a_step_without_an_answer_is_undone_too() -> None:
    """It may have had its effect, and the connection is there to ask."""
    seen = []

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        for _ in range(3):
            request = await server.read()
            seen.append(request.command)
            if request.command == "netdev_del":
                await server.refuse(request, "not there")
            elif request.command != "netdev_add":
                await server.reply(request, {})
        await server.reply(await server.read(), {})

    async def test() -> None:
        async with scripted(script) as client:
            task = asyncio.create_task(plug(client, (DISK[0], Step("netdev", {"type": "user", "id": "n"}))))
            while "netdev_add" not in seen:
                await asyncio.wait([task], timeout=0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert seen == ["object-add", "netdev_add", "netdev_del"]

    run(test)


# --- descriptors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hot", [False, True])
def test_a_socket_is_lent_by_name(hot: bool) -> None:
    ours, theirs = socket.socketpair()
    step = Step("chardev", {"backend": "socket", "id": "c", "fd": "line"}, (Fd("line", theirs.fileno()),))

    async def ask(client: QmpClient) -> None:
        if hot:
            await plug(client, (step,))
        assert (await names(client))["chardev"] == {"c"}
        await unplug(client, (step,))
        theirs.close()
        assert ours.recv(1) == b"", "QEMU still holds it"

    with ours, theirs:
        ours.settimeout(DEADLINE)
        with_machine(ask, () if hot else (step,))


@pytest.mark.parametrize("hot", [False, True])
def test_a_file_is_lent_as_the_member_of_a_set(hot: bool, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 20))
    fd = os.open(path, os.O_RDWR)
    path.unlink()
    props = {"driver": "file", "node-name": "n", "filename": "/dev/fdset/disk"}
    step = Step("blockdev", props, (Fd("disk", fd),))

    async def ask(client: QmpClient) -> None:
        if hot:
            await plug(client, (step,))
        assert (await names(client))["blockdev"] == {"n"}
        await client.execute("cont")  # or QEMU keeps what was removed (monitor_fdset_cleanup)
        await unplug(client, (step,))
        assert await client.execute("query-fdsets") == []

    try:
        with_machine(ask, () if hot else (step,))
    finally:
        os.close(fd)


def test_a_descriptor_that_no_command_took_is_closed_again() -> None:
    ours, theirs = socket.socketpair()
    step = Step("netdev", {"type": "tap", "id": "n", "fds": "line", "vhost": "what"}, (Fd("line", theirs.fileno()),))

    async def ask(client: QmpClient) -> None:
        with pytest.raises(QmpRefused, match="step 0"):
            await plug(client, (step,))
        theirs.close()
        assert ours.recv(1) == b"", "QEMU still holds it"

    with ours, theirs:
        ours.settimeout(DEADLINE)
        with_machine(ask)


def test_several_descriptors_of_one_key_are_numbered_each() -> None:
    with FdLedger() as ledger, socket.socket() as one, socket.socket() as two:
        fds = (Fd("one", one.fileno()), Fd("two", two.fileno()))
        argv = cold((Step("netdev", {"type": "tap", "id": "n", "fds": "one:two"}, fds),), ledger)
        numbers = ":".join(map(str, ledger.numbers))
        assert argv == ["-netdev", f'{{"type":"tap","id":"n","fds":"{numbers}"}}']


# --- places -----------------------------------------------------------------------------------------------------------


def test_a_place_is_free_again_when_the_plugging_failed() -> None:
    async def ask(client: QmpClient) -> None:
        addresses = Addresses((pcie_ports(1),))
        for id, driver in (("bad", "no-such-device"), ("good", "virtio-rng-pci")):
            taken, place = addresses.allocate(id, "pcie")
            try:
                await plug(client, (Step("device", {"driver": driver, "id": id, **place}),))
            except QmpRefused:
                continue
            addresses = taken
        assert dict(addresses.taken) == {"good": ("rp", 0)}

    with_machine(ask, root_ports(1))


# --- chardevs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "props",
    [
        {"backend": "null"},
        {"backend": "ringbuf", "size": 4096},
        {"backend": "file", "path": "{tmp}/out", "append": True, "logfile": "{tmp}/log"},
        {"backend": "pipe", "path": "{tmp}/pipe"},
        {"backend": "pty"},
        {"backend": "vc", "cols": 80, "rows": 25},
        {"backend": "udp", "host": "127.0.0.1", "port": 5555, "localaddr": "127.0.0.1", "localport": 0},
        {"backend": "socket", "path": "{tmp}/s", "server": True, "wait": False, "telnet": True},
        {
            "backend": "socket",
            "host": "127.0.0.1",
            "port": 0,
            "server": True,
            "wait": False,
            "ipv4": True,
            "delay": False,
        },
        {"backend": "serial", "path": "/dev/ptmx"},
        {"backend": "null", "mux": True},
    ],
    ids=lambda props: "-".join(map(str, list(props.values())[:1])) + str(len(props)),
)
def test_a_flat_chardev_is_the_same_hot_and_cold(props: dict[str, Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    props = {
        key: value.replace("{tmp}", str(tmp_path)) if isinstance(value, str) else value for key, value in props.items()
    }
    steps = [Step("chardev", {**props, "id": id}) for id in ("cold", "hot")]
    if props["backend"] == "socket" and "path" in props:
        steps[1] = Step("chardev", {**steps[1].props, "path": f"{props['path']}2"})

    async def ask(client: QmpClient) -> None:
        hot = (steps[1],)
        await plug(client, hot, schema_for())
        listing: Any = await client.execute("query-chardev")
        kinds = {entry["label"]: entry["filename"].split(":")[0] for entry in listing}
        assert kinds["hot"] == kinds["cold"]
        assert ("hot-base" in kinds) == ("cold-base" in kinds)
        if "mux" in props:
            return  # QEMU takes a multiplexer for busy at all times, and so removes none
        await unplug(client, hot)
        assert not {label for label in kinds if label.startswith("hot")} & (await names(client))["chardev"]

    with_machine(ask, (steps[0],))


def test_a_chardev_without_wait_does_not_stop_the_monitor() -> None:
    backend: Any = chardev_backends({"id": "c", "backend": "socket", "path": "/s", "server": "on"})["c"]
    assert backend["data"]["wait"] is False
    assert chardev_backends({"id": "c", "backend": "socket", "path": "/s"})["c"] == {
        "type": "socket",
        "data": {"addr": {"type": "unix", "data": {"path": "/s"}}, "server": False},
    }
