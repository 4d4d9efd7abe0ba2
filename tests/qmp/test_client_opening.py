"""A connection whose first commands are said before QEMU has said anything."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gavotte.errors import OutcomeUnknown, QmpNotSent, QmpProtocolError, QmpRefused
from gavotte.qmp.client import QmpClient
from gavotte.qmp.wire import Words, encode_opening
from tests.support.qmp_server import PATIENCE, QmpServer, Request, Script, echo, run, served

SOON = 0.05  # seconds: a deadline that is meant to pass
ENABLE: Words = ("qmp_capabilities", {"enable": ["oob"]})
OPENING: tuple[Words, ...] = (ENABLE, ("load", {"uri": "fd:7"}), ("cont", None))


async def words() -> str:
    return "exit status 1\nqemu: no such device"


async def read_opening(server: QmpServer) -> list[Request]:
    """What was said, before this end has said anything."""
    requests = [await server.read() for _ in OPENING]
    assert [request.id for request in requests] == ["1", "2", "3"]
    assert [(request.command, request.arguments or None) for request in requests] == list(OPENING)
    assert not any(request.oob for request in requests)
    return requests


async def opened(server: QmpServer) -> None:
    """Greet, and answer all of it."""
    requests = await read_opening(server)
    await server.greet()
    for request in requests:
        await server.reply(request, {})


@asynccontextmanager
async def opening_with(script: Script, **options: Any) -> AsyncIterator[QmpClient]:
    async with (
        served(script) as sock,
        await QmpClient.connect(sock, opening=OPENING, **{"deadline": PATIENCE, **options}) as client,
    ):
        yield client


def run_refused(script: Script, error: type[Exception], match: str, **options: Any) -> None:
    """The connection can't be opened, for which nobody but the caller is told."""

    async def test() -> None:
        async with served(script) as sock:
            with pytest.raises(error, match=match):
                await QmpClient.connect(sock, opening=OPENING, **{"deadline": PATIENCE, **options})
            assert sock.fileno() == -1, "a failed connect must close the socket"

    run(test)


# saying it


def test_all_is_said_before_the_greeting() -> None:
    async def script(server: QmpServer) -> None:
        await opened(server)
        await echo(server, 1)

    async def test() -> None:
        async with opening_with(script) as client:
            assert client.greeting.capabilities == ("oob",)
            assert await client.execute("x", {"a": 1}) == {"a": 1}

    run(test)


def test_it_is_open_when_all_has_been_answered_and_not_before() -> None:
    last = asyncio.Event()

    async def script(server: QmpServer) -> None:
        first, second, third = await read_opening(server)
        await server.greet()
        await server.reply(second, {})  # QEMU answers in order; it needn't be known for sure
        await server.reply(first, {})
        await last.wait()
        await server.reply(third, {})

    async def test() -> None:
        async with served(script) as sock:
            task = asyncio.create_task(QmpClient.connect(sock, opening=OPENING))
            done, _ = await asyncio.wait([task], timeout=SOON)
            assert not done
            last.set()
            await (await task).close()

    run(test)


def test_what_was_said_before_is_not_said_again_and_its_answers_are_taken() -> None:
    async def script(server: QmpServer) -> None:
        await opened(server)
        request = await server.read()
        assert (request.command, request.id) == ("x", "4")
        await server.reply(request, "the next")

    async def test() -> None:
        async with served(script) as sock:
            sock.sendall(encode_opening(OPENING))
            async with await QmpClient.connect(sock, opening=OPENING, said=True) as client:
                assert await client.execute("x") == "the next"

    run(test)


def test_answers_that_lie_ready_are_taken() -> None:
    """QEMU was begun long ago, and has done it all."""
    ready = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await opened(server)
        ready.set()
        await server.read_eof()

    async def test() -> None:
        async with served(script) as sock:
            sock.sendall(encode_opening(OPENING))
            await ready.wait()
            await (await QmpClient.connect(sock, opening=OPENING, said=True)).close()

    run(test)


def test_commands_can_be_sent_out_of_band_afterwards() -> None:
    async def script(server: QmpServer) -> None:
        await opened(server)
        held = await server.read()
        urgent = await server.read()
        assert (held.oob, urgent.command, urgent.oob) == (False, "urgent", True)
        await server.reply(urgent, "first")
        await server.reply(held, "second")

    async def test() -> None:
        async with opening_with(script) as client:
            assert repr(client) == "<QmpClient open, 0 unanswered, oob>"
            held = asyncio.create_task(client.execute("held"))
            await asyncio.sleep(0)
            assert await client.execute("urgent", oob=True) == "first"
            assert await held == "second"

    run(test)


def test_no_more_than_qemu_holds_are_let_out_afterwards() -> None:
    async def script(server: QmpServer) -> None:
        await opened(server)
        first = [await server.read() for _ in range(7)]
        urgent = await server.read()
        assert urgent.oob, "an eighth in-band command would have QEMU read no further"
        await server.reply(urgent, {})
        for request in first:
            await server.reply(request, {})
        await echo(server, 3)

    async def test() -> None:
        async with opening_with(script) as client:
            tasks = [asyncio.create_task(client.execute("x")) for _ in range(10)]
            await asyncio.sleep(0)
            await client.execute("urgent", oob=True)
            await asyncio.gather(*tasks)

    run(test)


# events of that time


async def names(client: QmpClient) -> list[str]:
    with client.events() as events:
        return [event.name async for event in events]


def test_events_that_came_before_anybody_listened_are_for_the_first_who_does() -> None:
    async def script(server: QmpServer) -> None:
        requests = await read_opening(server)
        await server.event("BEFORE_GREETING")
        await server.greet()
        for request in requests:
            await server.reply(request, {})
            await server.event(f"AFTER_{request.id}")
        await server.event("LATER")

    async def test() -> None:
        async with opening_with(script) as client:
            await client.wait_closed()
            early = ["BEFORE_GREETING", "AFTER_1", "AFTER_2", "AFTER_3", "LATER"]
            assert await names(client) == early
            assert await names(client) == []

    run(test)


def test_who_listens_second_gets_what_comes_from_then_on() -> None:
    async def script(server: QmpServer) -> None:
        await opened(server)
        await server.event("EARLY")
        request = await server.read()
        await server.event("NOW")
        await server.reply(request, {})

    async def test() -> None:
        async with opening_with(script) as client:
            with client.events() as first, client.events() as second:
                await client.execute("x")
                assert [event.name async for event in first] == ["EARLY", "NOW"]
                assert [event.name async for event in second] == ["NOW"]

    run(test)


def test_the_first_listener_hears_by_the_names_that_it_asked_for() -> None:
    async def script(server: QmpServer) -> None:
        await server.event("MIGRATION", status="active")
        await server.event("RESUME")
        await opened(server)

    async def test() -> None:
        async with opening_with(script) as client:
            await client.wait_closed()
            with client.events("MIGRATION") as events:
                assert [event.data async for event in events] == [{"status": "active"}]
            assert await names(client) == []

    run(test)


def test_of_a_flood_before_anybody_listens_the_last_are_kept() -> None:
    async def script(server: QmpServer) -> None:
        await opened(server)
        for number in range(1000):
            await server.event(f"E{number}")

    async def test() -> None:
        async with opening_with(script) as client:
            await client.wait_closed()
            assert await names(client) == [f"E{number}" for number in range(1000 - 64, 1000)]

    run(test)


def test_a_connection_that_was_not_opened_so_keeps_no_events() -> None:
    async def script(server: QmpServer) -> None:
        await server.event("EARLY")
        await server.negotiate()
        await server.event("LATER")

    async def test() -> None:
        async with served(script) as sock, await QmpClient.connect(sock) as client:
            await client.wait_closed()
            assert await names(client) == []

    run(test)


# what goes wrong


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_one_that_is_refused_is_told_in_qemus_words(refused: int) -> None:
    async def script(server: QmpServer) -> None:
        requests = await read_opening(server)
        await server.greet()
        for number, request in enumerate(requests):
            if number == refused:
                await server.refuse(request, "no such state")
            else:
                await server.reply(request, {})

    run_refused(script, QmpRefused, f"refused {OPENING[refused][0]}: no such state")


def test_of_several_that_are_refused_the_first_is_told() -> None:
    async def script(server: QmpServer) -> None:
        requests = await read_opening(server)
        await server.greet()
        for request in requests:
            await server.refuse(request, f"number {request.id}")

    run_refused(script, QmpRefused, "refused qmp_capabilities: number 1")


def test_a_greeting_that_never_comes_meets_the_deadline() -> None:
    async def script(server: QmpServer) -> None:
        await read_opening(server)
        await server.read_eof()

    run_refused(script, QmpNotSent, r"no QMP greeting within 0\.05 s", deadline=SOON)


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_an_answer_that_never_comes_meets_the_deadline_and_is_named(answered: int) -> None:
    async def script(server: QmpServer) -> None:
        requests = await read_opening(server)
        await server.greet()
        for request in requests[:answered]:
            await server.reply(request, {})
        await server.read_eof()

    command = OPENING[answered][0]
    run_refused(script, OutcomeUnknown, rf"{command} is unknown: no answer within 0\.5 s", deadline=0.5)


def test_an_end_before_the_greeting_says_qemus_last_words() -> None:
    async def script(server: QmpServer) -> None:
        await read_opening(server)

    run_refused(script, QmpNotSent, "(?s)before QEMU's greeting: .*no such device", last_words=words)


def test_an_end_before_all_is_said_says_qemus_last_words() -> None:
    async def script(server: QmpServer) -> None:
        server.close()

    run_refused(script, QmpNotSent, "(?s)before QEMU's greeting: .*no such device", last_words=words)


def test_an_end_between_the_answers_says_qemus_last_words() -> None:
    async def script(server: QmpServer) -> None:
        first, *_ = await read_opening(server)
        await server.greet()
        await server.reply(first, {})

    run_refused(script, OutcomeUnknown, "(?s)load is unknown: .*no such device", last_words=words)


@pytest.mark.parametrize("line", [b"SSH-2.0\r\n", b'{"return": {}, "id": "4"}\n'], ids=["no QMP", "nobody's answer"])
def test_what_no_qemu_says_is_a_protocol_error(line: bytes) -> None:
    async def script(server: QmpServer) -> None:
        await read_opening(server)
        await server.write(line)

    run_refused(script, QmpProtocolError, "SSH-2.0|'4', which is no")


@pytest.mark.parametrize("greeted", [False, True])
def test_a_cancelled_one_closes_the_socket_and_leaves_no_error_that_nobody_saw(greeted: bool) -> None:
    there = asyncio.Event()

    async def script(server: QmpServer) -> None:
        requests = await read_opening(server)
        if greeted:
            await server.greet()
            await server.refuse(requests[-1], "no")
        there.set()
        await server.read_eof()

    async def test() -> None:
        async with served(script) as sock:
            task = asyncio.create_task(QmpClient.connect(sock, opening=OPENING))
            await there.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sock.fileno() == -1

    run(test)


@pytest.mark.parametrize("said", [False, True])
def test_a_qemu_that_has_gone_before_it_is_spoken_to_is_told_with_its_last_words(
    said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        with pytest.raises(QmpNotSent, match="no such device"):
            await QmpClient.connect(ours, opening=OPENING, said=said, last_words=words)
        assert ours.fileno() == -1

    run(test)
    gc.collect()
    assert not caplog.records, "an error was never looked at"
