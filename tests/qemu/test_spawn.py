"""A child that is begun without an event loop. What `start_process` makes of it is in `test_process`."""

from __future__ import annotations

import os
import select
import signal
import stat
from pathlib import Path

import pytest

from gavotte.errors import HostError
from gavotte.qemu.spawn import Begun, begin_process, mark_of
from tests.support.orphans import children_of
from tests.support.programs import DEADLINE, python


def read(begun: Begun, wanted: bytes) -> bytes:
    """What it writes, until `wanted` has come."""
    poll = select.poll()
    poll.register(begun.output, select.POLLIN)
    got = b""
    while wanted not in got:
        assert poll.poll(DEADLINE * 1000), got
        data = os.read(begun.output, 4096)
        assert data, got
        got += data
    return got


def test_it_is_marked_with_the_directory_of_its_sandbox() -> None:
    assert mark_of(None) == {}
    assert mark_of("/run/a") == mark_of(Path("/run/a")) == {"GAVOTTE_DIRECTORY": "/run/a"}
    begun = begin_process(python("import os; print(os.environ['GAVOTTE_DIRECTORY'])"), (), env=mark_of("/run/a"))
    try:
        assert read(begun, b"\n") == b"/run/a\n"
    finally:
        begun.end()


def test_its_end_is_soon_whatever_it_does_with_signals_and_frees_all() -> None:
    ignores = "import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
    begun = begin_process(python(f"{ignores}print('ready', flush=True)\nwhile True: signal.pause()"), ())
    assert read(begun, b"ready\n") == b"ready\n"
    assert begun.child.pid in children_of(os.getpid())
    begun.end()
    assert begun.child.returncode == -signal.SIGKILL
    assert begun.child.pid not in children_of(os.getpid())
    for fd in (begun.pidfd, begun.output):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_one_that_has_ended_already_can_be_ended() -> None:
    begun = begin_process(python("print('gone')"), ())
    assert read(begun, b"gone\n") == b"gone\n"
    poll = select.poll()
    poll.register(begun.pidfd, select.POLLIN)
    assert poll.poll(DEADLINE * 1000)
    begun.end()
    assert begun.child.returncode == 0


def test_our_ends_are_no_other_childs() -> None:
    begun = begin_process(python("pass"), ())
    try:
        assert not os.get_inheritable(begun.pidfd)
        assert not os.get_inheritable(begun.output)
    finally:
        begun.end()


def test_a_kept_child_writes_to_a_fifo_that_is_made_anew_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_text("of an earlier one")
    begun = begin_process(python("print('here', flush=True)"), (), keep=path)
    try:
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert path.stat().st_mode & 0o777 == 0o600
        assert read(begun, b"\n") == b"here\n"
    finally:
        begun.end()


def test_a_fifo_that_cannot_be_made_is_the_hosts_fault_and_no_child_is_left(tmp_path: Path) -> None:
    before = children_of(os.getpid())
    with pytest.raises(HostError, match="No such file"):
        begin_process(python("pass"), (), keep=tmp_path / "none" / "output")
    assert children_of(os.getpid()).keys() == before.keys()
