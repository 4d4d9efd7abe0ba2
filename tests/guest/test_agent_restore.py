"""A copy of a guest becomes one of its own; and the processes that stand by to become its commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gavotte.errors import GavotteError
from gavotte.guest import agent
from tests.support.agents import DEADLINE, SETUP, AgentProcess, Line, Refused, exec_fields, guest, skip_unless_possible
from tests.support.channels import guest_channel, resting_fds

OLD, NEW = bytes(range(0x40, 0x50)), bytes(range(0x80, 0x90))
FIRST = agent.FIRST_RESUMER
RESTORE: dict[str, Any] = {
    "seed": "5a" * agent.SEED_LENGTH,
    "shift": 10.0,
    "hostname": "another",
    "token": NEW.hex(),
    "cpus": 1,
    "memory": 0,
    "latent": {},
}


class Template:
    """An agent that was set up to be copied. Here there is no copy: it goes on itself."""

    def __init__(self, process: AgentProcess) -> None:
        self.process = process
        self.line = Line(process)
        self.line.take(0, agent.HELLO)
        self.line.ask("setup", time=time.time(), token=OLD.hex(), latent=True, **SETUP)
        self.taken = 0

    def take_over(self, key: bytes, operation: str, /, **fields: Any) -> tuple[Line, dict[str, Any]]:
        """What whoever has this token is answered, and a line to go on with; `pending` has what else came."""
        self.taken += 1
        number = FIRST + self.taken
        line = Line.taken_over(self.process, key, number, {"op": operation, **fields})
        return line, line.answer(number)

    def restore(self, key: bytes = OLD, /, **changes: Any) -> tuple[Line, dict[str, Any]]:
        return self.take_over(key, "restore", **{**RESTORE, **changes})


@pytest.fixture
def template() -> Iterator[Template]:
    skip_unless_possible()
    with AgentProcess() as process:
        yield Template(process)


@pytest.fixture
def line() -> Iterator[Line]:
    with guest() as line:
        yield line


def told(line: Line, *argv: str) -> str:
    return line.run(*argv).stdout.decode()


# --- another guest ----------------------------------------------------------------------------------------------------

IDENTITY = ("sh", "-c", "hostname; cat /etc/hostname /etc/hosts /etc/machine-id")


def test_a_copy_has_another_name_everywhere_and_another_number(template: Template) -> None:
    before = told(template.line, *IDENTITY).split("\n")
    line, answer = template.restore()
    assert "problem" not in answer
    assert answer["root_size"] > 0
    after = told(line, *IDENTITY).split("\n")
    assert after[:2] == ["another", "another"]
    assert "127.0.1.1\tanother" in after
    assert len(after[-2]) == 32
    assert after[-2] != before[-2]
    assert not {"guest"} & set(" ".join(after).split())


def test_a_longer_and_a_shorter_name_leave_nothing_of_the_one_before(template: Template) -> None:
    for name in ("x" * 63, "y"):
        with AgentProcess() as process:
            line, _ = Template(process).restore(hostname=name)
            assert told(line, "cat", "/etc/hostname") == f"{name}\n"


def test_it_stays_that_when_the_stage_ends(template: Template) -> None:
    line, _ = template.restore()
    os.kill(template.process.stage_pid(), signal.SIGKILL)
    line.take(0, agent.NOTICE)
    assert told(line, *IDENTITY).split("\n")[:2] == ["another", "another"]


def test_the_first_command_of_a_copy_finds_what_a_template_had_ready(template: Template) -> None:
    template.line.ask("settle")
    (standby,) = children(template.process.stage_pid())
    line, _ = template.restore()
    channel = line.spawn("sleep", "1000")
    assert standby in children(template.process.stage_pid())
    line.ask("signal", target=channel, signal=9)
    assert line.finish(channel).exit == {"signal": 9}


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123
        return [int(word) for word in file.read().split()]


def test_numbers_begin_anew_and_nothing_of_the_templates_commands_is_listed(template: Template) -> None:
    assert told(template.line, "echo", "warm") == "warm\n"
    line, answer = template.restore()
    assert (answer["last"], answer["commands"], answer["exits"]) == (0, [], [])
    assert line.pending == type(line.pending)()
    _, listing = template.take_over(NEW, "resume")
    assert (listing["last"], listing["commands"], listing["exits"]) == (0, [], [])


def test_memory_that_is_there_is_given_to_the_commands_before_the_answer(template: Template) -> None:
    line, answer = template.restore(memory=1 << 20)
    size = int(told(line, "df", "-B1", "--output=size", "/").split()[-1])
    assert answer["root_size"] == size


# --- tokens, and what was on the line ---------------------------------------------------------------------------------


def test_the_old_token_is_of_no_use_then_and_the_new_one_is(template: Template) -> None:
    line, _ = template.restore()
    line.send_bytes(OLD)
    assert json.loads(line.take(0, agent.ERROR).payload)["code"] == "malformed"
    again, listing = template.take_over(NEW, "resume")
    assert "problem" not in listing
    assert told(again, "echo", "fine") == "fine\n"


def test_a_copy_without_a_token_is_taken_over_by_nobody(template: Template) -> None:
    line, _ = template.restore(token=None)
    for token in (OLD, NEW):
        line.send_bytes(token)
        assert json.loads(line.take(0, agent.ERROR).payload)["code"] == "malformed"
    line.request("resume")
    assert told(line, "echo", "fine") == "fine\n"


@pytest.mark.parametrize(
    "stale",
    [
        b"\0" * 1000,
        agent.encode_json(agent.REQUEST, 7, {"op": "exec"})[:-3],
        agent.HEADER.pack(agent.MAGIC, agent.DATA, 0, 1, agent.MAX_PAYLOAD) + bytes(100),
        OLD[:-1],
        OLD,
    ],
    ids=["zeros", "half a request", "a huge frame", "half a token", "a token"],
)
def test_what_was_on_the_line_before_is_dropped(template: Template, stale: bytes) -> None:
    template.process.sock.sendall(stale)
    line, answer = template.restore()
    assert "problem" not in answer
    assert told(line, "echo", "fine") == "fine\n"


def test_the_answer_to_what_the_template_was_asked_comes_before_the_copys_and_is_skipped(template: Template) -> None:
    template.line.request("no such operation")
    line, answer = template.restore()
    assert "problem" not in answer
    assert not [frame for frame in line.pending if frame.kind == agent.ERROR]


# --- what is wrong with a request -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"seed": "00"}, "a seed has 32 bytes"),
        ({"seed": "no hex"}, "hex"),
        ({"seed": None}, ""),
        ({"token": "00"}, "a token has 16 bytes"),
        ({"token": 5}, ""),
        ({"shift": "long"}, ""),
        ({"shift": None}, ""),
    ],
    ids=str,
)
def test_a_malformed_request_is_answered_with_the_problem_and_the_next_is_served(
    template: Template, changes: dict[str, Any], word: str
) -> None:
    template_, answer = template.restore(**changes)
    assert word in str(answer["problem"])
    assert told(template_, "hostname") == "guest\n"
    line, answer = template.restore()
    assert "problem" not in answer
    assert told(line, "hostname") == "another\n"


@pytest.mark.parametrize(
    "changes",
    [{"hostname": 5}, {"hostname": "x" * 100}, {"cpus": "many"}, {"memory": "much"}, {"latent": {"disk": 99}}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_guest_that_got_half_way_says_so_and_still_serves(template: Template, changes: dict[str, Any]) -> None:
    line, answer = template.restore(**changes)
    assert answer["problem"]
    assert told(line, "echo", "fine") == "fine\n"


@pytest.mark.parametrize("missing", sorted(RESTORE))
def test_a_request_that_lacks_something_is_answered_with_the_problem(template: Template, missing: str) -> None:
    fields = {key: value for key, value in RESTORE.items() if key != missing}
    line, answer = template.take_over(OLD, "restore", **fields)
    assert answer["problem"]
    assert told(line, "echo", "fine") == "fine\n"


def test_a_guest_becomes_another_once(template: Template) -> None:
    template.restore()
    line, answer = template.restore(NEW, hostname="a-third")
    assert "already" in str(answer["problem"])
    assert told(line, "hostname") == "another\n"


def test_a_guest_that_was_not_made_to_be_copied_is_not(line: Line) -> None:
    with pytest.raises(Refused, match="wasn't made to be copied"):
        line.ask("restore", **RESTORE)
    assert told(line, "hostname") == "guest\n"


# --- processes that stand by ------------------------------------------------------------------------------------------


def test_a_guest_has_settled_when_a_process_stands_by(template: Template) -> None:
    for _ in range(3):
        told(template.line, "true")
        template.line.ask("settle")
        assert len(template.process.children_of_stage()) == 1
    template.line.ask("settle")


def test_all_who_ask_whether_it_has_settled_are_told(line: Line) -> None:
    command = line.spawn("cat", stdin=True)  # nobody stands by now
    stage = line.process.stage_pid()
    os.kill(stage, signal.SIGSTOP)
    asked = [line.request("settle") for _ in range(3)]
    line.settle()
    os.kill(stage, signal.SIGCONT)
    for channel in asked:
        assert line.answer(channel) == {}
    line.send(agent.EOF, command)
    line.finish(command)


@pytest.mark.parametrize("name", ["KILL", "STOP", "TERM", "INT", "HUP", "QUIT", "TSTP", "USR1", "ALRM", "CONT"])
def test_a_signal_to_all_processes_does_not_reach_the_next_command(line: Line, name: str) -> None:
    for number in range(3):
        line.run("sh", "-c", f"trap '' {name.replace('KILL', 'INT').replace('STOP', 'INT')}; kill -{name} -1")
        assert told(line, "echo", str(number)) == f"{number}\n"


def test_a_process_that_stands_by_and_was_stopped_becomes_a_command_all_the_same(line: Line) -> None:
    stopper = line.spawn("sh", "-c", "while read line; do kill -STOP -1; echo done; done", stdin=True)
    for number in range(3):
        line.ask("settle")
        line.write(stopper, b"now\n")
        line.read_until(stopper, b"done")
        assert told(line, "echo", str(number)) == f"{number}\n"
    line.send(agent.EOF, stopper)
    line.finish(stopper)


def test_a_process_that_stands_by_is_killed_again_and_again(line: Line) -> None:
    stage = line.process.stage_pid()
    for number in range(5):
        line.ask("settle")
        (standby,) = children(stage)
        os.kill(standby, signal.SIGKILL)
        until = time.monotonic() + DEADLINE
        while standby in children(stage) and time.monotonic() < until:
            os.sched_yield()
        if number % 2:
            line.ask("settle")
        assert told(line, "echo", str(number)) == f"{number}\n"


def test_many_commands_at_once_each_have_their_own_output(line: Line) -> None:
    channels = [line.request("exec", **exec_fields("sh", "-c", f"echo {n}; exit {n}")) for n in range(60)]
    for number, channel in enumerate(channels):
        assert line.answer(channel)["pid"] > 0
        outcome = line.finish(channel)
        assert (outcome.stdout, outcome.status) == (b"%d\n" % number, number)
    assert line.process.comes_to_hold(line.resting_fds())
    assert len(line.process.children_of_stage()) == 1


def test_many_commands_on_terminals_at_once_each_have_their_own(line: Line) -> None:
    fields = [{**exec_fields("sh", "-c", "stty size; tty"), "stdin": True, "tty": [20 + n, 70 + n]} for n in range(12)]
    channels = [line.request("exec", **each) for each in fields]
    seen = set()
    for number, channel in enumerate(channels):
        line.answer(channel)
        size, name = line.finish(channel).stdout.decode().split("\r\n")[:2]
        assert size == f"{20 + number} {70 + number}"
        seen.add(name)
    assert len(seen) >= 1
    assert all(name.startswith("/dev/pts/") for name in seen)


def test_some_of_many_that_cannot_be_started_are_refused_and_the_others_run(line: Line) -> None:
    words = [["echo", str(n)] if n % 3 else ["/no/such/program"] for n in range(30)]
    channels = [line.request("exec", **exec_fields(*argv)) for argv in words]
    for argv, channel in zip(words, channels, strict=True):
        if argv[0] == "echo":
            line.answer(channel)
            assert line.finish(channel).stdout.decode() == f"{argv[1]}\n"
        else:
            with pytest.raises(Refused, match="not-found"):
                line.answer(channel)


def test_the_stages_end_is_the_end_of_all_that_wait_for_a_process(line: Line) -> None:
    stage = line.process.stage_pid()
    os.kill(stage, signal.SIGSTOP)
    channels = [line.request("exec", **exec_fields("sleep", "1000")) for _ in range(20)]
    line.settle()
    os.kill(stage, signal.SIGKILL)
    for channel in channels:
        assert "stage" in line.finish(channel).exit["lost"]
    assert told(line, "echo", "served") == "served\n"
    line.ask("settle")
    assert len(line.process.children_of_stage()) == 1


def test_a_command_that_is_ended_while_it_waits_for_a_process_does_not_run_on(line: Line) -> None:
    line.ask("settle")
    stage = line.process.stage_pid()
    os.kill(stage, signal.SIGSTOP)
    try:
        first, *rest = [line.request("exec", **exec_fields("sleep", "1000")) for _ in range(5)]
        for channel in (first, *rest):
            line.ask("signal", target=channel, signal=9)
    finally:
        os.kill(stage, signal.SIGCONT)
    for channel in (first, *rest):
        assert line.finish(channel).exit == {"signal": 9}
    assert told(line, "echo", "served") == "served\n"


# --- the same, from the host's side -----------------------------------------------------------------------------------


async def within(seconds: float, story: Any) -> None:
    async with asyncio.timeout(seconds):
        await story


def test_commands_given_up_before_they_run_leave_nothing() -> None:
    async def story() -> None:
        async with guest_channel() as (channel, process):
            before = await resting_fds(channel, process)
            for _ in range(3):
                starting = [asyncio.ensure_future(channel.spawn(["sleep", "1000"], env={})) for _ in range(10)]
                await asyncio.sleep(0)
                for task in starting:
                    task.cancel()
                await asyncio.wait(starting)
                assert all(task.cancelled() for task in starting)
            assert not channel.processes
            one = await channel.spawn(["echo", "fine"], env={})
            assert await one.stdout.read() == b"fine\n"
            assert await one.wait() == 0
            assert await resting_fds(channel, process) == before

    asyncio.run(within(60, story()))


def test_who_waits_for_a_command_to_start_hears_of_the_stages_end() -> None:
    async def story() -> None:
        async with guest_channel() as (channel, process):
            stage = process.stage_pid()
            os.kill(stage, signal.SIGSTOP)
            starting = [asyncio.ensure_future(channel.spawn(["sleep", "1000"], env={})) for _ in range(10)]
            await channel.request("signal", target=0, signal=0)  # they have arrived
            os.kill(stage, signal.SIGKILL)
            found = await asyncio.gather(*starting, return_exceptions=True)
            for each in found:
                if isinstance(each, BaseException):
                    assert isinstance(each, GavotteError)
                    assert "stage" in str(each)
                else:  # it had a process already
                    with pytest.raises(GavotteError, match="stage"):
                        await each.wait()
            one = await channel.spawn(["echo", "fine"], env={})
            assert await one.stdout.read() == b"fine\n"
            assert await one.wait() == 0

    asyncio.run(within(60, story()))
