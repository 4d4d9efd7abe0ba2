from __future__ import annotations

import asyncio

import pytest

from gavotte.errors import StateError
from gavotte.qmp.events import EventStream
from gavotte.qmp.wire import Event
from tests.support.qmp_server import QmpServer, echo, negotiated, run, scripted


async def read_all(stream: EventStream) -> list[str]:
    return [event.name async for event in stream]


def test_events_reach_every_listener_in_order_by_name_until_the_end() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        await server.event("BEFORE")
        await server.reply(request, {})
        await server.event("STOP")
        await server.event("RESUME")
        await server.event("STOP")

    async def test() -> None:
        async with scripted(script) as client:
            with client.events() as everything, client.events("STOP") as stops, client.events("NONE") as none:
                await client.execute("x")
                got = await asyncio.gather(read_all(everything), read_all(stops), read_all(none))
                assert list(got) == [["BEFORE", "STOP", "RESUME", "STOP"], ["STOP", "STOP"], []]

    run(test)


def test_an_event_has_data_and_a_time() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await echo(server, 1)
        await server.event("STOP", reason="test")

    async def test() -> None:
        async with scripted(script) as client:
            with client.events() as events:
                await client.execute("x")
                assert await anext(events) == Event("STOP", {"reason": "test"}, 1000.25)

    run(test)


def test_a_slow_listener_loses_the_oldest_events_and_knows_how_many() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        for number in range(5000):
            await server.event(f"E{number}")
        await server.reply(request, {})

    async def test() -> None:
        async with scripted(script) as client:
            with client.events(limit=10) as slow, client.events("E7", limit=1) as one:
                await client.execute("x")
                assert (slow.dropped, one.dropped) == (4990, 0)
                assert repr(slow) == "<EventStream all open, 10 waiting, 4990 dropped>"
                assert await read_all(slow) == [f"E{number}" for number in range(4990, 5000)]
                assert await read_all(one) == ["E7"]

    run(test)


def test_several_readers_of_one_stream_share_its_events() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await echo(server, 1)
        for number in range(10):
            await server.event(f"E{number}")

    async def test() -> None:
        async with scripted(script) as client:
            with client.events() as events:
                await client.execute("x")
                shares = await asyncio.gather(*(read_all(events) for _ in range(3)))
        assert sorted(name for share in shares for name in share) == [f"E{number}" for number in range(10)]

    run(test)


def test_leaving_with_ends_the_stream_and_a_stream_after_the_end_is_empty() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read_eof()

    async def test() -> None:
        async with scripted(script) as client:
            with client.events() as events:
                reader = asyncio.create_task(read_all(events))
                await asyncio.sleep(0)
            assert await reader == []
            await client.close()
            with client.events() as events:
                assert await read_all(events) == []

    run(test)


def test_a_stream_read_without_with_says_what_to_write() -> None:
    async def test() -> None:
        async with scripted(negotiated) as client:
            with pytest.raises(StateError, match=r"with client\.events"):
                await anext(client.events())

    run(test)
