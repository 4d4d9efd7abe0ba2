"""Defects of govmm's QMP client: each by its symptom, and gone here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gavotte.errors import OutcomeUnknown, QmpRefused, UsageError
from gavotte.qemu.document import document_to_options
from gavotte.qemu.plug import plug, remove_device
from gavotte.qemu.props import Step
from gavotte.qmp.client import QmpClient
from gavotte.qmp.wire import Decoder, Event
from tests.support.programs import with_qemu
from tests.support.qmp_server import QmpServer, echo, negotiated, run, scripted

PC = ("-machine", "pc")
NONE = ("-machine", "none")


def asked(ask: Callable[[QmpClient], Awaitable[None]], options: tuple[str, ...] = NONE) -> None:
    with_qemu(options, ask)


def test_answers_find_their_commands_in_whatever_order_they_come() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        first, second = await server.read(), await server.read()
        await server.reply(second, 2)
        await server.reply(first, 1)

    async def test() -> None:
        async with scripted(script) as client:
            answers: Any = await asyncio.gather(client.execute("one"), client.execute("two"))
            assert answers == [1, 2]

    run(test)


def test_a_device_that_is_not_let_go_holds_up_no_other_command() -> None:
    async def ask(client: QmpClient) -> None:
        await client.execute("device_add", {"driver": "virtio-rng-pci", "id": "r"})
        going = asyncio.ensure_future(remove_device(client, "r", deadline=0.5))  # no guest runs that would agree
        assert await client.execute("query-status")
        assert not going.done()
        with pytest.raises(OutcomeUnknown, match="not gone"):
            await going
        assert await client.execute("query-status")

    asked(ask, PC)


def test_arguments_that_are_no_json_are_refused_and_the_next_command_is_answered() -> None:
    async def ask(client: QmpClient) -> None:
        bad: Any = {"value": object()}
        with pytest.raises(UsageError):
            await client.execute("balloon", bad)
        assert await client.execute("query-status")

    asked(ask)


def test_a_command_that_is_given_up_blocks_no_other() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read()  # never answered
        await server.reply(await server.read(), "second")

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(OutcomeUnknown):
                await client.execute("one", deadline=0.05)
            assert await client.execute("two") == "second"

    run(test)


def test_an_event_s_microseconds_are_microseconds() -> None:
    line = b'{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 250000}}\n'
    assert Decoder().feed(line) == [Event("STOP", {}, 1.25)]


def test_a_refusal_keeps_its_class() -> None:
    async def ask(client: QmpClient) -> None:
        with pytest.raises(QmpRefused) as refused:
            await client.execute("device_del", {"id": "nobody"})
        assert refused.value.error_class == "DeviceNotFound"

    asked(ask)


def test_an_answer_of_more_than_64_kib_is_read() -> None:
    async def ask(client: QmpClient) -> None:
        schema: Any = await client.execute("query-qmp-schema")
        assert len(repr(schema)) > 1 << 17

    asked(ask)


def test_events_that_nobody_reads_hold_up_no_command() -> None:
    async def ask(client: QmpClient) -> None:
        with client.events(limit=10) as events:
            for _ in range(20):
                await client.execute("cont")
                await client.execute("stop")
            assert events.dropped >= 20

    asked(ask)


def test_a_client_needs_nothing_but_a_socket() -> None:
    async def test() -> None:
        async with scripted(negotiated) as client:
            assert not client.closed

    run(test)


def test_no_event_is_lost_between_two_connections_since_there_is_one() -> None:
    async def ask(client: QmpClient) -> None:
        with client.events("RESUME", "STOP") as events:
            await client.execute("cont")
            await client.execute("stop")
            assert [(await anext(events)).name for _ in range(2)] == ["RESUME", "STOP"]

    asked(ask)


def test_aio_is_said_only_where_it_was_given() -> None:
    disk: dict[str, Any] = {
        "driver": "raw",
        "node-name": "d",
        "file": {"driver": "file", "filename": "/srv/vm/disk.img"},
    }
    (option,) = document_to_options({"blockdevs": [disk]})
    assert "aio" not in option[1]


def test_an_object_goes_when_its_device_is_refused() -> None:
    recipe = (
        Step("object", {"qom-type": "rng-random", "id": "left", "filename": "/dev/urandom"}),
        Step("device", {"driver": "virtio-rng-pci", "id": "r", "rng": "left", "bus": "nowhere"}),
    )

    async def ask(client: QmpClient) -> None:
        with pytest.raises(QmpRefused, match="nowhere"):
            await plug(client, recipe)
        children: Any = await client.execute("qom-list", {"path": "/objects"})
        assert "left" not in {child["name"] for child in children}

    asked(ask, PC)


def test_numbers_stay_integers_and_a_property_takes_any_value() -> None:
    async def exact() -> None:
        async def script(server: QmpServer) -> None:
            await server.negotiate()
            await echo(server, 1)

        async with scripted(script) as client:
            answer: Any = await client.execute("x", {"n": 2**53 + 1})
            assert answer["n"] == 2**53 + 1

    async def ask(client: QmpClient) -> None:
        await client.execute("object-add", {"qom-type": "memory-backend-ram", "id": "m", "size": 1 << 20})
        for name, value in (("dump", False), ("policy", "default")):
            where = {"path": "/objects/m", "property": name}
            await client.execute("qom-set", {**where, "value": value})
            assert await client.execute("qom-get", where) == value

    run(exact)
    asked(ask)
