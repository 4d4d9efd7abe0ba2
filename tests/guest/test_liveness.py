"""Whether a guest still answers: asked while somebody waits for it, and only then."""

from __future__ import annotations

import asyncio

import pytest

from gavotte.errors import AgentError, GuestSilent
from gavotte.guest import agent, liveness
from gavotte.guest.liveness import Liveness
from tests.support.agents import DEADLINE
from tests.support.channels import guest_channel, peer_channel, started
from tests.support.qmp_server import run

SILENCE = 0.2


class Guest:
    """Answers as the test has it, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.mute = False
        self.again = asyncio.Event()  # it was asked once more

    async def answer(self) -> None:
        self.asked += 1
        self.again.set()
        if self.mute:
            await asyncio.get_running_loop().create_future()

    async def was_asked(self, times: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.asked < times:
                self.again.clear()
                await self.again.wait()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "SILENCE", SILENCE)


def for_ever() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def test_all_who_wait_for_a_silent_guest_are_told_and_may_wait_again() -> None:
    async def main() -> None:
        guest = Guest()
        guest.mute = True
        live = Liveness(guest.answer)
        live.console = lambda: "its last words"
        for _ in range(2):
            waits = [asyncio.ensure_future(live.over(for_ever())) for _ in range(3)]
            async with asyncio.timeout(DEADLINE):
                await asyncio.wait(waits)
            for wait in waits:
                error = wait.exception()
                assert isinstance(error, GuestSilent)
                assert error.console == "its last words"
        live.close()

    run(main)


def test_a_guest_that_answers_is_waited_for_as_long_as_it_takes() -> None:
    async def main() -> None:
        guest = Guest()
        live = Liveness(guest.answer)
        wait = asyncio.ensure_future(live.over(for_ever()))
        await guest.was_asked(3 * liveness._ROUNDS)
        assert not wait.done()
        wait.cancel()
        live.close()

    run(main)


def test_a_guest_that_nobody_waits_for_is_not_asked() -> None:
    async def main() -> None:
        guest = Guest()
        live = Liveness(guest.answer)
        await live.over(asyncio.sleep(0))
        await asyncio.sleep(2 * SILENCE)
        assert guest.asked == 0
        live.close()

    run(main)


def test_a_machine_that_stands_still_is_not_asked_and_its_silence_does_not_count() -> None:
    async def main() -> None:
        guest = Guest()
        live = Liveness(guest.answer)
        live.runs = lambda: False
        wait = asyncio.ensure_future(live.over(for_ever()))
        await asyncio.sleep(2 * SILENCE)
        assert (guest.asked, wait.done()) == (0, False)
        live.runs = lambda: True
        await guest.was_asked(1)
        guest.mute = True
        await guest.was_asked(2)
        live.runs = lambda: False
        await asyncio.sleep(2 * SILENCE)
        assert not wait.done()
        wait.cancel()
        live.close()

    run(main)


def test_a_process_that_did_not_run_for_long_has_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        guest = Guest()
        guest.mute = True
        live = Liveness(guest.answer)
        wait = asyncio.ensure_future(live.over(for_ever()))
        await guest.was_asked(1)
        loop = asyncio.get_running_loop()
        later = loop.time() + 3 * SILENCE
        monkeypatch.setattr(loop, "time", lambda: later)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not wait.done()
        wait.cancel()
        live.close()

    run(main)


def test_a_refusal_is_a_sign_of_life() -> None:
    async def main() -> None:
        asked = asyncio.Semaphore(0)

        async def refuse() -> None:
            asked.release()
            raise AgentError("it has no such operation")

        live = Liveness(refuse)
        wait = asyncio.ensure_future(live.over(for_ever()))
        for _ in range(2 * liveness._ROUNDS):
            await asked.acquire()
        assert not wait.done()
        wait.cancel()
        live.close()

    run(main)


def test_the_agent_gives_signs_of_life_while_a_command_runs_that_says_nothing() -> None:
    async def main() -> None:
        async with guest_channel() as (channel, _):
            assert await channel.request("ping") == {}
            process = await channel.spawn(["sleep", "1"], env={})
            assert await process.wait() == 0

    run(main)


def test_nobody_asks_on_behalf_of_a_command_that_is_not_watched() -> None:
    async def main() -> None:
        async with peer_channel() as (channel, peer):
            process = await started(channel, peer)
            process.unwatch()
            waits = [asyncio.ensure_future(wait) for wait in (process.wait(), process.stdout.read())]
            await asyncio.sleep(3 * SILENCE)
            assert not any(wait.done() for wait in waits)
            await peer.say_json(agent.EXIT, process.number, {"status": 0})
            await asyncio.gather(*waits)

    run(main)
