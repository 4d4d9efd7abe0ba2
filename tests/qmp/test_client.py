from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gavotte.errors import OutcomeUnknown, QmpNotSent, QmpProtocolError, QmpRefused, UsageError
from gavotte.qmp.client import Deadline, QmpClient
from gavotte.qmp.wire import MAX_LINE
from tests.support.qmp_server import QmpServer, Script, echo, negotiated, run, scripted, served

SOON = 0.05  # seconds: a deadline that is meant to pass
LATE = 0.5  # the same where something comes before it passes
BULK = {"text": "x" * 1_000_000}  # more than a socket holds


async def words() -> str:
    return "exit status 1\nqemu: no such device\nargv: qemu -device nonsense"


# Connecting


@pytest.mark.parametrize("oob", [True, False])
def test_oob_is_enabled_where_it_is_offered(oob: bool) -> None:
    async def script(server: QmpServer) -> None:
        request = await server.negotiate(oob=oob)
        assert request.command == "qmp_capabilities"
        assert request.arguments == ({"enable": ["oob"]} if oob else {})

    async def test() -> None:
        async with scripted(script) as client:
            assert client.greeting.capabilities == (("oob",) if oob else ())
            assert client.greeting.version["qemu"] == {"major": 7, "minor": 2, "micro": 22}

    run(test)


async def expect_no_connection(script: Script, error: type[Exception], match: str, **options: Any) -> Exception:
    async with served(script) as sock:
        with pytest.raises(error, match=match) as caught:
            await QmpClient.connect(sock, **options)
        assert sock.fileno() == -1, "a failed connect must close the socket"
    return caught.value


def test_a_server_that_never_greets_meets_the_deadline() -> None:
    async def script(server: QmpServer) -> None:
        await server.read_eof()

    async def test() -> None:
        error = await expect_no_connection(script, QmpNotSent, r"no QMP greeting within 0\.05 s", deadline=SOON)
        assert "another one is connected" in getattr(error, "hint", "")

    run(test)


def test_a_server_that_never_grants_the_capabilities_meets_the_deadline() -> None:
    async def script(server: QmpServer) -> None:
        await server.greet()
        await server.read()
        await server.read_eof()

    run_connect(script, OutcomeUnknown, "qmp_capabilities is unknown: no answer", deadline=LATE)


def test_an_end_before_the_greeting_says_qemus_last_words() -> None:
    async def script(server: QmpServer) -> None:
        server.close()

    run_connect(script, QmpNotSent, "(?s)before QEMU's greeting: .*no such device", last_words=words)


def test_an_end_in_the_negotiation_says_qemus_last_words() -> None:
    async def script(server: QmpServer) -> None:
        await server.greet()
        await server.read()

    run_connect(script, OutcomeUnknown, "(?s)qmp_capabilities is unknown: .*no such device", last_words=words)


def test_what_is_not_qmp_instead_of_a_greeting_is_a_protocol_error() -> None:
    async def script(server: QmpServer) -> None:
        await server.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")

    run_connect(script, QmpProtocolError, "not JSON.*SSH-2.0")


def test_an_answer_before_the_greeting_is_a_protocol_error() -> None:
    async def script(server: QmpServer) -> None:
        await server.say({"return": {}, "id": "1"})

    run_connect(script, QmpProtocolError, "'1', which is no unanswered command's id")


def test_a_refused_negotiation_is_a_refusal() -> None:
    async def script(server: QmpServer) -> None:
        await server.greet()
        await server.refuse(await server.read(), "no")

    run_connect(script, QmpRefused, "refused qmp_capabilities: no")


def run_connect(script: Script, error: type[Exception], match: str, **options: Any) -> None:
    async def test() -> None:
        await expect_no_connection(script, error, match, **options)

    run(test)


def test_a_cancelled_connect_closes_the_socket() -> None:
    async def script(server: QmpServer) -> None:
        await server.read_eof()

    async def test() -> None:
        async with served(script) as sock:
            task = asyncio.create_task(QmpClient.connect(sock))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sock.fileno() == -1

    run(test)


# Commands and answers


def test_a_command_gives_its_value_and_a_refused_one_qemus_words() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await echo(server, 1)
        await server.refuse(await server.read(), "Device 'a' not found")

    async def test() -> None:
        async with scripted(script) as client:
            assert await client.execute("x", {"a": [1, None, "ä"]}) == {"a": [1, None, "ä"]}
            with pytest.raises(QmpRefused) as caught:
                await client.execute("device_del", {"id": "a"})
            assert (caught.value.error_class, caught.value.desc) == ("GenericError", "Device 'a' not found")
            assert str(caught.value) == "QEMU refused device_del: Device 'a' not found"

    run(test)


def test_a_hundred_commands_in_flight_answered_backwards_find_their_callers() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate(oob=False)
        requests = [await server.read() for _ in range(100)]
        for request in reversed(requests):
            await server.reply(request, request.arguments["number"])

    async def test() -> None:
        async with scripted(script) as client:
            numbers = await asyncio.gather(*(client.execute("x", {"number": n}) for n in range(100)))
            assert numbers == list(range(100))

    run(test)


def test_with_oob_no_more_are_unanswered_than_let_qemu_read_an_oob_command() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate(oob=True)
        in_band = [await server.read() for _ in range(7)]
        out_of_band = await server.read()
        assert not any(request.oob for request in in_band)
        assert out_of_band.oob
        await server.reply(out_of_band, "out-of-band")
        for request in in_band:
            await server.reply(request, "in-band")
        await echo(server, 13)

    async def test() -> None:
        async with scripted(script) as client:
            in_band = [asyncio.create_task(client.execute("x")) for _ in range(20)]
            await asyncio.sleep(0)
            assert await client.execute("yank", oob=True) == "out-of-band"
            assert len(await asyncio.gather(*in_band)) == 20

    run(test)


def test_an_oob_command_is_not_sent_where_oob_is_not_offered() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate(oob=False)
        await server.read_eof()

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(QmpNotSent, match="this monitor has no out-of-band execution"):
                await client.execute("yank", oob=True)

    run(test)


def test_a_reply_of_nearly_16_mb_is_taken() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.reply(await server.read(), "x" * (MAX_LINE - 100))

    async def test() -> None:
        async with scripted(script) as client:
            value = await client.execute("x")
            assert isinstance(value, str)
            assert len(value) == MAX_LINE - 100

    run(test)


def test_an_error_without_an_id_is_the_only_commands_refusal() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read()
        await server.say({"error": {"class": "GenericError", "desc": "JSON parse error"}})

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(QmpRefused, match="refused x: JSON parse error"):
                await client.execute("x")

    run(test)


def test_an_error_without_an_id_is_nobodys_where_several_wait() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read()
        await server.read()
        await server.say({"error": {"class": "GenericError", "desc": "JSON parse error"}})

    async def test() -> None:
        async with scripted(script) as client:
            results = await asyncio.gather(client.execute("x"), client.execute("y"), return_exceptions=True)
            assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown]

    run(test)


def test_arguments_that_cannot_be_sent_leave_the_client_usable() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await echo(server, 1)

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(UsageError, match="arguments"):
                await client.execute("x", {"a": float("nan")})
            assert await client.execute("x", {"a": 1}) == {"a": 1}

    run(test)


# Deadlines and cancellation


def test_the_command_classes_have_their_deadlines() -> None:
    assert (Deadline.QUICK, Deadline.NORMAL, Deadline.SLOW) == (5.0, 30.0, 300.0)


def test_a_late_reply_is_dropped_and_disturbs_nobody() -> None:
    late = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        slow = await server.read()
        await late.wait()
        await server.reply(slow, "too late")
        await echo(server, 1)

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(OutcomeUnknown, match=r"slow is unknown: no answer within 0\.05 s"):
                await client.execute("slow", deadline=SOON)
            late.set()
            assert await client.execute("x", {"a": 1}) == {"a": 1}
            assert repr(client) == "<QmpClient open, 0 unanswered, oob>"

    run(test)


@pytest.mark.parametrize("answer", ["return", "error"])
def test_a_cancelled_command_leaves_the_client_usable(answer: str) -> None:
    arrived = asyncio.Event()
    cancelled = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        arrived.set()
        await cancelled.wait()
        if answer == "return":
            await server.reply(request, "nobody wants it")
        else:
            await server.refuse(request, "nobody wants it")
        await echo(server, 1)

    async def test() -> None:
        async with scripted(script) as client:
            task = asyncio.create_task(client.execute("slow"))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            cancelled.set()
            assert await client.execute("x", {"a": 1}) == {"a": 1}

    run(test)


async def refuse_just_too_late(server: QmpServer) -> None:
    await server.negotiate()
    await server.refuse(await server.read(), "no")
    time.sleep(2 * LATE)  # noqa: ASYNC251  # holds the loop up, so that it sees the answer and the deadline at once


def test_an_answer_at_the_moment_of_the_deadline_counts() -> None:
    async def test() -> None:
        async with scripted(refuse_just_too_late) as client:
            with pytest.raises(QmpRefused):
                await client.execute("x", deadline=LATE)

    run(test)


def test_an_answer_at_the_moment_of_a_cancellation_is_dropped_without_a_trace() -> None:
    async def test() -> None:
        async with scripted(refuse_just_too_late) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(LATE):
                    await client.execute("x")

    run(test)


def test_a_command_that_gets_no_turn_is_not_sent() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate(oob=True)
        for _ in range(7):
            await server.read()
        await server.read_eof()

    async def test() -> None:
        async with scripted(script) as client:
            stuck = [asyncio.create_task(client.execute("stuck")) for _ in range(7)]
            await asyncio.sleep(0)
            with pytest.raises(QmpNotSent, match=r"x was not sent: it had no turn within 0\.05 s; 7 others"):
                await client.execute("x", deadline=SOON)
            await client.close()
            results = await asyncio.gather(*stuck, return_exceptions=True)
            assert {type(result) for result in results} == {OutcomeUnknown}

    run(test)


# The end of the connection


def test_an_end_in_mid_command_is_outcome_unknown_with_qemus_last_words() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read()

    async def test() -> None:
        async with scripted(script, last_words=words) as client:
            with pytest.raises(OutcomeUnknown) as caught:
                await client.execute("device_add")
            assert str(caught.value) == (
                "the outcome of device_add is unknown: QEMU closed the connection\n"
                "exit status 1\nqemu: no such device\nargv: qemu -device nonsense"
            )
            assert client.closed
            assert repr(client) == "<QmpClient closed: QEMU closed the connection>"

    run(test)


def test_an_end_with_a_command_unread_is_outcome_unknown_too() -> None:
    arrived = asyncio.Event()

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await arrived.wait()  # in the server's socket; closing that one resets the connection

    async def test() -> None:
        async with scripted(script, last_words=words) as client:
            task = asyncio.create_task(client.execute("x"))
            await asyncio.sleep(0)
            arrived.set()
            with pytest.raises(OutcomeUnknown, match=r"(?s)QEMU broke off the connection.*no such device"):
                await task

    run(test)


@pytest.mark.parametrize("answered", [True, False])
def test_an_end_after_a_final_command_is_success(answered: bool) -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        request = await server.read()
        if answered:
            await server.reply(request, {})

    async def test() -> None:
        async with scripted(script, last_words=words) as client:
            assert await client.execute("quit", final=True) == {}
            await client.wait_closed()

    run(test)


def test_a_final_command_can_be_refused() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.refuse(await server.read(), "no")

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(QmpRefused):
                await client.execute("quit", final=True)

    run(test)


def test_a_broken_protocol_is_no_success_for_a_final_command() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read()
        await server.write(b"\x00\n")

    async def test() -> None:
        async with scripted(script) as client:
            with pytest.raises(OutcomeUnknown):
                await client.execute("quit", final=True)

    run(test)


def test_a_command_after_the_end_is_not_sent_and_says_the_last_words() -> None:
    async def test() -> None:
        async with scripted(negotiated, last_words=words) as client:
            await client.wait_closed()
            for _ in range(2):
                with pytest.raises(QmpNotSent, match=r"(?s)x was not sent: QEMU closed.*no such device"):
                    await client.execute("x")

    run(test)


async def never() -> str:
    await asyncio.Event().wait()
    return "unreached"


async def failing() -> str:
    raise RuntimeError("the log is gone")


@pytest.mark.parametrize(
    ("last_words", "match"), [(never, "last words are lost: TimeoutError"), (failing, "the log is gone")]
)
def test_last_words_that_fail_do_not_hide_the_end(
    last_words: Callable[[], Awaitable[str]], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gavotte.qmp.client._LAST_WORDS", SOON)

    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read()

    async def test() -> None:
        async with scripted(script, last_words=last_words) as client:
            with pytest.raises(OutcomeUnknown, match=f"(?s)QEMU closed the connection.*{match}"):
                await client.execute("x")

    run(test)


def test_last_words_are_not_asked_for_when_this_side_closes() -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read_eof()

    async def test() -> None:
        async with scripted(script, last_words=failing) as client:
            await client.close()
            await client.close()
            assert repr(client) == "<QmpClient closed: it was closed on this side>"
            with pytest.raises(QmpNotSent, match=r"x was not sent: it was closed on this side$"):
                await client.execute("x")

    run(test)


HOSTILE = {
    "garbage": b"\x00\xff\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a line without an end": b"x" * (MAX_LINE + 1),
    "nested too deep": b'{"return": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    "an unknown id": b'{"return": {}, "id": "99"}\n',
    "the id of an answered command": b'{"return": {}, "id": "1"}\n',
    "no id": b'{"return": {}}\n',
    "a number as id": b'{"return": {}, "id": 2}\n',
    "a list as id": b'{"return": {}, "id": [1]}\n',
    "an id as long as a book": b'{"return": {}, "id": "' + b"y" * 1_000_000 + b'"}\n',
    "a second greeting": b'{"QMP": {"version": {}, "capabilities": []}}\n',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_server_ends_the_connection_with_a_typed_error(what: str) -> None:
    async def script(server: QmpServer) -> None:
        await server.negotiate()
        await server.read()
        try:
            await server.write(HOSTILE[what])
        except OSError:
            pass  # the client needn't read to the end

    async def test() -> None:
        async with scripted(script, last_words=failing) as client:
            with client.events() as events:
                with pytest.raises(OutcomeUnknown) as caught:
                    await client.execute("x")
                assert isinstance(caught.value.__cause__, QmpProtocolError)
                assert len(str(caught.value)) < 500
                assert [event async for event in events] == []
            assert client.closed
            with pytest.raises(QmpNotSent) as later:
                await client.execute("x")
            assert isinstance(later.value.__cause__, QmpProtocolError)

    run(test)
