"""Our end of a chardev, and QEMU's: a pair of sockets, or a socket that QEMU listens on and that others find."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gavotte.errors import HostError, StateError, UsageError
from gavotte.hypervisor.qemu.devices.sockets import forget_end, forget_others, make_end, open_end, reopen, socket_path
from gavotte.qemu.fds import FdLedger

LONG = "a-long-name-" * 12  # longer than a socket's address may be


def say(end: socket.socket, listener: socket.socket) -> None:
    """What goes in at our end comes out at the one that listens."""
    with end, listener.accept()[0] as other:
        end.sendall(b"hello")
        assert other.recv(5) == b"hello"


def test_without_a_directory_the_two_ends_are_a_pair() -> None:
    with FdLedger() as ledger:
        ours, props = open_end("port", ledger, None)
        with ours, socket.socket(fileno=os.dup(ledger.numbers[0])) as theirs:
            ours.send(b"x")
            assert theirs.recv(1) == b"x"
            assert props == {"backend": "socket", "fd": ledger.numbers[0]}
            assert not ours.getblocking()


@pytest.mark.parametrize("folder", ["short", LONG])
def test_an_end_of_a_kept_machine_is_found_again_by_its_path_however_long(tmp_path: Path, folder: str) -> None:
    directory = tmp_path / folder
    directory.mkdir()
    ours, theirs, props = make_end("port", directory)
    with theirs:
        assert props == {"backend": "socket", "server": True, "wait": False}
        say(ours, theirs)
        say(reopen("port", directory), theirs)


def test_a_socket_is_for_its_user_alone_from_the_first_moment(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        ours, theirs, _ = make_end("port", tmp_path)
    finally:
        os.umask(old)
    with ours, theirs:
        assert socket_path("port", tmp_path).stat().st_mode & 0o7777 == 0o600


def test_what_an_earlier_end_left_gives_way(tmp_path: Path) -> None:
    for _ in range(2):
        ours, theirs, _props = make_end("port", tmp_path)
        ours.close()
        theirs.close()
    forget_end("port", tmp_path)
    forget_end("port", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_our_own_sockets_are_removed(tmp_path: Path) -> None:
    for id in ("console", "port"):
        for each in make_end(id, tmp_path)[:2]:
            each.close()
    (tmp_path / "keeper.sock").write_text("")
    forget_others(["console"], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"keeper.sock", "vm.console.sock"}


def test_an_end_that_nobody_listens_at_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no way to 'port'"):
        reopen("port", tmp_path)
    for each in make_end("port", tmp_path)[:2]:
        each.close()
    with pytest.raises(StateError, match="no way to 'port'"):
        reopen("port", tmp_path)


@pytest.mark.parametrize("id", ["", "../x", "a/b", "9p", "a" * 201, "a\0b"])
def test_an_id_that_is_a_path_makes_no_socket(tmp_path: Path, id: str) -> None:
    with FdLedger() as ledger, pytest.raises(UsageError, match="can't be the name of a socket"):
        open_end(id, ledger, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with FdLedger() as ledger, pytest.raises(HostError, match=r"can't make the socket .*gone"):
        open_end("port", ledger, tmp_path / "gone")
