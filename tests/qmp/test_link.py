from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing

import pytest

from gavotte.errors import OutcomeUnknown, QmpNotSent, UsageError
from tests.support.qmp_server import QmpServer, echo, run, scripted

SOON = 0.05  # seconds: a deadline that is meant to pass
BULK = {"text": "x" * 1_000_000}  # more than a socket holds


def test_a_server_that_stops_reading_holds_up_the_callers_and_not_their_deadlines() -> None:
    read_on = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate(oob=False)
        await read_on.wait()
        bulk = await server.read()
        assert (bulk.command, bulk.arguments) == ("bulk", BULK)
        await server.reply(bulk, "too late")
        request = await server.read()
        assert request.command == "after", "what was not sent must not come later"
        await server.reply(request, "here")

    async def test() -> None:
        async with scripted(script) as client:
            bulk = asyncio.create_task(client.execute("bulk", BULK, deadline=2 * SOON))
            await asyncio.sleep(0)
            waiting = [client.execute("never", BULK, deadline=SOON) for _ in range(20)]
            for result in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(result, QmpNotSent)
            with pytest.raises(OutcomeUnknown):  # half of it has left, so the other half must follow
                await bulk
            after = asyncio.create_task(client.execute("after"))
            read_on.set()
            assert await after == "here"

    run(test)


def test_a_full_socket_lets_commands_wait_until_there_is_room() -> None:
    read_on = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate(oob=False)
        await read_on.wait()
        await echo(server, 999)

    async def test() -> None:
        async with scripted(script) as client:
            # Small ones, so that the socket is full between two commands.
            waiting = [asyncio.create_task(client.execute("x", {"n": n})) for n in range(1000)]
            await asyncio.sleep(SOON)
            waiting[900].cancel()
            read_on.set()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(results.pop(900), asyncio.CancelledError)
            assert results == [{"n": n} for n in range(1000) if n != 900]

    run(test)


def test_what_is_told_as_not_sent_never_arrives_and_what_is_told_as_unknown_does() -> None:
    read_on = asyncio.Event()
    arrived: list[int] = []

    async def script(server: QmpServer) -> None:
        await server.negotiate(oob=False)
        await read_on.wait()
        while (request := await server.read()).command != "last":
            arrived.append(request.arguments["n"])
            await server.reply(request, "late")
        await server.reply(request, {})

    async def test() -> None:
        async with scripted(script) as client:
            fill = [client.execute("x", {"n": n}, deadline=5 * SOON) for n in range(1000)]
            results = await asyncio.gather(*fill, return_exceptions=True)
            assert {type(result) for result in results} == {OutcomeUnknown, QmpNotSent}
            read_on.set()
            await client.execute("last")
            assert arrived == [n for n, result in enumerate(results) if isinstance(result, OutcomeUnknown)]

    run(test)


def test_a_close_ends_a_half_sent_command_and_those_behind_it() -> None:
    closed = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await closed.wait()

    async def test() -> None:
        async with scripted(script) as client:
            first = asyncio.create_task(client.execute("first", BULK))
            second = asyncio.create_task(client.execute("second", BULK))
            await asyncio.sleep(SOON)
            await client.close()
            closed.set()
            with pytest.raises(OutcomeUnknown, match="first is unknown: it was closed on this side"):
                await first
            with pytest.raises(QmpNotSent, match="second was not sent: it was closed on this side"):
                await second

    run(test)


def test_a_server_that_reads_no_more_and_keeps_the_line_open_meets_the_deadline() -> None:
    over = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        server.sock.shutdown(socket.SHUT_RD)
        await server.reply(request, {})
        await over.wait()

    async def test() -> None:
        async with scripted(script) as client:
            await client.execute("last")
            with pytest.raises(QmpNotSent):
                await client.execute("x", deadline=SOON)
            over.set()

    run(test)


@asynccontextmanager
async def files(number: int) -> AsyncIterator[list[int]]:
    """Different files, by their fds."""
    with ExitStack() as stack:
        yield [stack.enter_context(tempfile.TemporaryFile()).fileno() for _ in range(number)]


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def test_fds_arrive_with_their_own_command_one_such_command_at_a_time() -> None:
    seen: dict[str, list[int]] = {}

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        for _ in range(6):
            request = await server.read()
            seen[request.arguments["name"]] = [inode(fd) for fd in request.fds]
            close_all(request.fds)
            with pytest.raises(BlockingIOError):  # nothing further has come, though six are waiting
                server.sock.recv(1)
            await server.reply(request, {})

    async def test() -> None:
        async with scripted(script) as client, files(6) as fds:
            await asyncio.gather(*(client.execute("getfd", {"name": str(fd)}, fds=[fd]) for fd in fds))
            assert seen == {str(fd): [inode(fd)] for fd in fds}

    run(test)


def test_other_commands_overtake_those_that_wait_with_fds() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        first = await server.read()
        plain = await server.read()
        assert (first.arguments, plain.command) == ({"name": "1"}, "plain")
        await server.reply(plain, {})
        await server.reply(first, {})
        second = await server.read()
        assert second.arguments == {"name": "2"}
        await server.reply(second, {})
        close_all(first.fds + second.fds)

    async def test() -> None:
        async with scripted(script) as client, files(2) as [one, two], asyncio.TaskGroup() as group:
            group.create_task(client.execute("getfd", {"name": "1"}, fds=[one]))
            group.create_task(client.execute("getfd", {"name": "2"}, fds=[two]))
            group.create_task(client.execute("plain"))

    run(test)


def test_an_abandoned_command_with_fds_still_blocks_the_next_until_it_is_answered() -> None:
    go_on = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        first = await server.read()
        await go_on.wait()
        await server.refuse(first, "late")
        third = await server.read()
        assert third.arguments == {"name": "3"}
        await server.reply(third, {})
        close_all(first.fds + third.fds)

    async def test() -> None:
        async with scripted(script) as client, files(1) as fds:
            with pytest.raises(OutcomeUnknown):
                await client.execute("getfd", {"name": "1"}, fds=fds, deadline=SOON)
            with pytest.raises(QmpNotSent):
                await client.execute("getfd", {"name": "2"}, fds=fds, deadline=SOON)
            go_on.set()
            await client.execute("getfd", {"name": "3"}, fds=fds)

    run(test)


def test_fds_wait_behind_a_command_that_is_half_sent() -> None:
    read_on = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await read_on.wait()
        bulk = await server.read()
        assert bulk.fds == []
        request = await server.read()
        assert len(request.fds) == 2
        close_all(request.fds)
        await server.reply(request, {})
        await server.reply(bulk, {})

    async def test() -> None:
        async with scripted(script) as client, files(2) as fds, asyncio.TaskGroup() as group:
            group.create_task(client.execute("bulk", BULK))
            await asyncio.sleep(0)
            group.create_task(client.execute("add-fd", fds=fds))
            await asyncio.sleep(SOON)
            read_on.set()

    run(test)


def test_fds_that_cannot_be_sent_are_told_and_leave_the_client_usable() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        close_all(request.fds)
        await server.reply(request, len(request.fds))

    async def test() -> None:
        async with scripted(script) as client, files(1) as fds:
            with closing(socket.socket()) as sock:
                gone = sock.fileno()
            with pytest.raises(QmpNotSent, match="getfd was not sent: Bad file descriptor"):
                await client.execute("getfd", fds=[gone])
            with pytest.raises(UsageError, match="QEMU takes 16 fds with one command, not 17"):
                await client.execute("getfd", fds=fds * 17)
            assert await client.execute("getfd", fds=fds * 16) == 16
            assert inode(fds[0])  # still open, still ours

    run(test)
