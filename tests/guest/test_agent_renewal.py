"""A guest that is brought up to date: no command is started in one in which that failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gavotte.guest import agent
from tests.support.agents import Line, Refused, exec_fields

SEED = "5a" * agent.SEED_LENGTH

BAD: dict[str, dict[str, Any]] = {
    "a short seed": {"seed": "00", "shift": 1.0},
    "a seed that is no hex": {"seed": "no hex", "shift": 1.0},
    "a shift that is no number": {"seed": SEED, "shift": "long"},
    "no shift": {"seed": SEED, "shift": None},
    "a time that is no number": {"time": "noon"},
    "nothing": {},
}


def told(line: Line, *argv: str) -> str:
    return line.run(*argv).stdout.decode()


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_no_command_is_started_after_a_renewal_that_failed_until_one_worked(line: Line, fields: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        line.ask("renew", **fields)
    for _ in range(2):
        with pytest.raises(Refused, match="state: the guest could not be brought up to date"):
            line.spawn("echo", "early")
    line.ask("renew", shift=1.0)
    assert told(line, "echo", "up to date") == "up to date\n"


def test_one_that_was_asked_for_at_once_behind_it_is_refused(line: Line) -> None:
    """As a pool does, which waits for no answer."""
    renewing = line.request("renew", seed="00", shift=1.0)
    asked = line.request("exec", **exec_fields("echo", "early"))
    for channel, why in ((renewing, "a seed has 32 bytes"), (asked, "could not be brought up to date")):
        with pytest.raises(Refused, match=why):
            line.answer(channel)
    line.ask("renew", seed=SEED, shift=1.0)


def test_one_that_was_asked_for_at_once_behind_a_renewal_that_works_runs(line: Line) -> None:
    renewing = line.request("renew", seed=SEED, shift=1.0)
    asked = line.request("exec", **exec_fields("echo", "at once"))
    assert line.answer(renewing) == {}
    assert line.answer(asked)["pid"] > 0
    assert line.finish(asked).stdout == b"at once\n"


def test_a_command_that_runs_is_left_alone_by_a_renewal_that_fails(line: Line) -> None:
    cat = line.spawn("cat", stdin=True)
    with pytest.raises(Refused):
        line.ask("renew", time="noon")
    line.write(cat, b"still here\n")
    assert line.read_until(cat, b"still here\n")
    line.send(agent.EOF, cat)
    assert line.finish(cat).status == 0
    line.ask("renew", shift=1.0)


def test_the_channel_of_a_command_that_was_refused_is_free(line: Line) -> None:
    with pytest.raises(Refused):
        line.ask("renew", time="noon")
    channel = line.request("exec", **exec_fields("true"))
    with pytest.raises(Refused):
        line.answer(channel)
    line.ask("renew", shift=1.0)
    line.send_bytes(agent.encode_json(agent.REQUEST, channel, {"op": "exec", **exec_fields("echo", "again")}))
    assert json.loads(line.take(channel, agent.REPLY).payload)["pid"] > 0
    assert line.finish(channel).stdout == b"again\n"


def test_one_that_is_to_be_silent_is_answered_only_where_it_failed(line: Line) -> None:
    failing = line.request("renew", time="noon", silent=True)
    with pytest.raises(Refused):
        line.answer(failing)
    silent = line.request("renew", shift=1.0, silent=True)
    assert told(line, "echo", "behind it") == "behind it\n"
    assert not [frame for frame in line.pending if frame.channel == silent]
