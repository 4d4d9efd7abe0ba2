"""Commands that are asked to end before their machine does: what each one gets, and how long that may take."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import cast

import pytest

import gavotte
from gavotte.errors import AgentError, UsageError
from gavotte.guest.channel import Channel
from gavotte.guest.command import AsyncProcess, Exit
from gavotte.hypervisor.interface import VmState
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.sandbox import ending
from gavotte.sandbox.ending import end_commands
from gavotte.sandbox.words import parse_signal
from tests.support.leaks import exempt

STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.1; done"


class Command:
    """One that ends by the signals that it doesn't ignore."""

    def __init__(self, *ignored: int, error: Exception | None = None) -> None:
        self.ignored = ignored
        self.error = error
        self.got: list[int] = []
        self.ended = asyncio.Event()

    @property
    def exit(self) -> Exit | None:
        return Exit(0) if self.ended.is_set() else None

    async def send_signal(self, number: int) -> None:
        self.got.append(number)
        if self.error:
            raise self.error
        if number not in self.ignored:
            self.ended.set()

    async def wait(self) -> int:
        await self.ended.wait()
        return 0


def ended(*commands: Command, grace: float = 0.05) -> list[list[int]]:
    asyncio.run(asyncio.wait_for(end_commands(cast("list[AsyncProcess]", commands), signal.SIGINT, grace), 30))
    return [command.got for command in commands]


def test_one_that_does_not_heed_the_signal_is_killed_and_the_others_are_not() -> None:
    assert ended(Command(), Command(signal.SIGINT)) == [[signal.SIGINT], [signal.SIGINT, signal.SIGKILL]]


def test_nobody_is_waited_for_without_need() -> None:
    assert ended(Command(), Command(error=AgentError("gone")), grace=1000) == [[signal.SIGINT], [signal.SIGINT]]
    assert ended(grace=1000) == []


def test_a_guest_that_tells_no_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AFTERWARDS", 0.05)
    assert ended(Command(signal.SIGINT, signal.SIGKILL)) == [[signal.SIGINT, signal.SIGKILL]]


@pytest.mark.parametrize("turns", [0, 1, 10])
def test_a_further_call_without_grace_cuts_that_short(turns: int) -> None:
    async def main() -> list[int]:
        box, command = gavotte.AsyncSandbox(), Command(signal.SIGTERM)
        box._vm = cast("QemuVm", SimpleNamespace(process=SimpleNamespace(pid=os.getpid()), state=VmState.RUNNING))
        box._channel = cast("Channel", SimpleNamespace(processes={1: command}))
        closing = asyncio.create_task(box.close(grace=1000))
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(closing, box.close(grace=500), box.close()), 30)
        return command.got

    assert asyncio.run(main()) == [signal.SIGTERM] * (turns > 1)


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "sigterm", "15"])
def test_a_signal_has_a_name_or_a_number(text: str) -> None:
    assert parse_signal(text, "stop_signal") == signal.SIGTERM


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIG", "SIGSIGTERM", "TERMINATE", "\u00b2"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_signal(text, "stop_signal")
    assert caught.value.path == "stop_signal"


@pytest.mark.vm
@pytest.mark.usefixtures("image")
def test_a_sandbox_that_is_closed_with_grace_lets_its_commands_end_and_kills_those_that_do_not() -> None:
    with exempt():  # the private loop stays
        box = gavotte.Sandbox(accel="tcg")
        box.start()
    polite = box.spawn(["sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"])
    stubborn = box.spawn(["sh", "-c", STUBBORN])
    for command in (polite, stubborn):
        assert command.stdout.readline() == b"up\n"
    box.close(grace=5)
    assert (polite.returncode, polite.stdout.read()) == (3, b"bye\n")
    assert stubborn.returncode == -signal.SIGKILL
