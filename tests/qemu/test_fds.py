from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gavotte.errors import HostError, StateError
from gavotte.qemu.fds import FdLedger, socketpair


def is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


def test_giving_takes_the_callers_own_away() -> None:
    ours, theirs = socketpair()
    raw = os.open("/dev/null", os.O_RDONLY)
    file = Path("/dev/null").open("rb")  # noqa: SIM115  # the ledger closes it
    with ours, FdLedger() as ledger:
        for given, why in ((theirs, "a socket"), (raw, "a number"), (file, "a file")):
            ledger.give(given, why)
        assert theirs.fileno() == -1
        assert file.closed
        assert ledger.numbers == tuple(entry.number for entry in ledger.entries)
        assert all(is_open(number) for number in ledger.numbers)
    assert not any(is_open(entry.number) for entry in ledger.entries)


def test_a_child_sees_what_was_given_under_the_same_number() -> None:
    ours, theirs = socketpair()
    with ours, FdLedger() as ledger:
        number = ledger.give(theirs, "talk")
        code = f"import os; os.write({number}, b'hello')"
        subprocess.run([sys.executable, "-Ic", code], pass_fds=ledger.numbers, check=True)
        assert ours.recv(16) == b"hello"


def test_what_is_in_the_ledger_is_not_inherited_without_it() -> None:
    with FdLedger() as ledger:
        number = ledger.give(os.open("/dev/null", os.O_RDONLY), "nothing")
        assert not os.get_inheritable(number)


def test_a_standard_stream_is_never_handed_out() -> None:
    """A host that runs without standard streams gets 0, 1 and 2 for its first files."""
    code = (
        "import os; from gavotte.qemu.fds import FdLedger, socketpair\n"
        "os.closerange(0, 3)\n"
        "ours, theirs = socketpair()\n"
        "first = theirs.fileno()\n"
        "with ours, FdLedger() as ledger: os._exit((ledger.give(theirs, 'x') > 2) * 16 + first)\n"
    )
    status = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False)
    none_of_them, first = divmod(status.returncode, 16)
    assert first < 3
    assert none_of_them


def test_a_spent_ledger_neither_takes_nor_gives() -> None:
    ledger = FdLedger()
    ledger.give(os.open("/dev/null", os.O_RDONLY), "nothing")
    ledger.close()
    ledger.close()
    late = socket.socket(socket.AF_UNIX)
    with pytest.raises(StateError, match="spent"):
        ledger.give(late, "too late")
    assert late.fileno() == -1, "it was given away all the same"
    with pytest.raises(StateError, match="spent"):
        _ = ledger.numbers
    assert [entry.why for entry in ledger.entries] == ["nothing"]


def test_an_entry_reads_as_a_line() -> None:
    with FdLedger() as ledger:
        number = ledger.give(os.open("/dev/null", os.O_RDONLY), "agent channel")
        assert str(ledger.entries[0]) == f"fd {number}: agent channel"
        assert repr(ledger) == f"<FdLedger fd {number}: agent channel>"


def test_no_fds_left_is_the_hosts_fault_and_the_given_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(24, "Too many open files")

    raw = os.open("/dev/null", os.O_RDONLY)
    with FdLedger() as ledger, monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", full)
        with pytest.raises(HostError, match="agent channel: Too many open files"):
            ledger.give(raw, "agent channel")
    assert not is_open(raw)


def test_our_end_of_a_pair_does_not_block_and_theirs_does() -> None:
    ours, theirs = socketpair()
    with ours, theirs:
        assert not ours.getblocking()
        assert theirs.getblocking()
        assert not os.get_inheritable(ours.fileno())
        assert not os.get_inheritable(theirs.fileno())


def test_numbers_are_the_same_whatever_a_shell_has_left_open() -> None:
    code = (
        "import os; from gavotte.qemu.fds import FdLedger\n"
        "with FdLedger() as ledger:\n"
        "    print(*(ledger.give(os.open('/dev/null', os.O_RDONLY), 'x') for _ in range(3)))\n"
    )
    said = set()
    with Path("/dev/null").open("rb") as first, Path("/dev/null").open("rb") as second:
        for left_open in ([], [first.fileno()], [first.fileno(), second.fileno()]):
            run = subprocess.run([sys.executable, "-c", code], pass_fds=left_open, capture_output=True, check=True)
            said.add(run.stdout)
    assert len(said) == 1


def test_a_limit_that_allows_few_numbers_gives_low_ones() -> None:
    code = (
        "import os, resource; from gavotte.qemu.fds import FdLedger\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))\n"
        "with FdLedger() as ledger: os._exit(ledger.give(os.open('/dev/null', os.O_RDONLY), 'x'))\n"
    )
    number = subprocess.run([sys.executable, "-c", code], check=False).returncode
    assert 3 <= number < 32
