"""Command lines in scripts, logs and processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gavotte.errors import HostError, UsageError
from gavotte.qemu.imports import command_in_text, command_of_process, import_argv, inherited_fds


def words(text: str) -> tuple[str, ...]:
    return command_in_text(text.encode(), "script").argv


@pytest.mark.parametrize(
    "text",
    [
        "qemu-system-x86_64 -m 1G 'a b'",
        'qemu-system-x86_64 -m "1G" a\\ b',
        "qemu-system-x86_64 \\\n  -m 1G \\\n  'a b' # small",
        "# comment, isn't it\nqemu-system-x86_64 -m 1G 'a b'\necho done",
        "sudo -E nice -n 5 qemu-system-x86_64 -m 1G 'a b' >/dev/null 2>&1 &",
        "LC_ALL=C PATH=/x exec qemu-system-x86_64 -m 1G 'a b' | tee log; exit",
        "M=1G\nqemu-system-x86_64 -m $M 'a b'",
        'A=(-m 1G)\nA+=("a b")\nqemu-system-x86_64 "${A[@]}"',
        "export M=1G; qemu-system-x86_64 -m ${M} 'a b'",
        "QEMU='qemu-system-x86_64 -m 1G'\r\n$QEMU 'a b'\r\n",
        "qemu-system-x86_64\0-m\0001G\0a b\0",
        "qemu-img create x 1G\nqemu-system-x86_64 -m 1G 'a b'\nqemu-system-x86_64 -m 1G 'a b'",
        "qemu-system-x86_64 --version\r\nqemu-system-x86_64 -m 1G 'a b'\r\n",
    ],
)
def test_the_command_is_read_as_a_shell_reads_it(text: str) -> None:
    assert words(text) == ("qemu-system-x86_64", "-m", "1G", "a b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo hello", "no QEMU command line"),
        ("", "no QEMU command line"),
        ("qemu-system-x86_64 -m 1\nqemu-system-x86_64 -m 2", "2 different"),
        ("qemu-system-x86_64 -m $(free)", r"\$\(free\) has no value that can be told"),
        ("qemu-system-x86_64 -m $X", r"\$X has no value"),
        ('qemu-system-x86_64 "$@" -m 1', r"\$@ has no value"),
        ("@echo off\r\nqemu-system-x86_64 -m 1\r\n", "it isn't a bash script"),
        ("qemu-system-x86_64 -m 1 ^\r\n -S\r\n", "it isn't a bash script"),
        ("vm:\n\t@qemu-system-x86_64 -m 1\n", "it isn't a bash script"),
        ("qemu-system-x86_64 -name 'a", "this can't be read as bash"),
    ],
)
def test_what_only_a_shell_could_tell_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^script(:[0-9]+)?: .*{said}"):
        words(text)


def test_what_a_reader_should_know_of_the_script_is_noted() -> None:
    found = command_in_text(b"cd /vms\r\nqemu-system-x86_64 -hda disk.img\r\n", "script")
    assert "CR LF" in found.notes[0]
    assert found.notes[1] == "relative paths are from where `cd /vms` leads"


def test_a_running_process_tells_its_command_line() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    argv = [sys.executable, "-Ic", code, "-m", "a b"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        if child.stdout is not None:
            child.stdout.readline()  # right after exec, the kernel may not know the arguments yet
        assert command_of_process(child.pid).argv == tuple(argv)
        child.communicate()


def test_a_process_that_is_not_there_is_the_hosts_to_explain() -> None:
    with pytest.raises(HostError, match="can't read the command line of process 4194305"):
        command_of_process(4194305)


def test_descriptors_of_who_started_it_are_named() -> None:
    line = ["-netdev", "tap,id=n,fds=5:6,vhostfds=7", "-qmp", "unix:fd=3,server", "-incoming", "fd:9"]
    stream = ["-netdev", "stream,id=s,addr.type=fd,addr.str=11", "-add-fd", "fd=4,set=1"]
    assert inherited_fds(import_argv(["qemu-system-x86_64", *line, *stream])) == {
        "netdevs[0].addr.str": (11,),
        "netdevs[1].fds": (5, 6),
        "netdevs[1].vhostfds": (7,),
        "options[0][1]": (3,),
        "options[1][1]": (4,),
        "incoming": (9,),
    }


@pytest.mark.parametrize(
    "data",
    [
        b"true && " * 20000 + b"qemu-system-x86_64 -m 1",
        b"(" * 20000 + b"qemu",
        b"qemu-system-x86_64 " + b"-m 1 " * 5000,
        b"12 root " * 20000 + b"qemu-system-x86_64 -m 1",
        b"qemu" + b"#" * (1 << 20),
    ],
)
def test_a_monster_is_read_or_refused(data: bytes) -> None:
    try:
        assert command_in_text(data, "monster").argv[:2] == ("qemu-system-x86_64", "-m")
    except UsageError as e:
        assert str(e).startswith("monster")


def test_any_bytes_are_a_command_line_or_refused() -> None:
    for data in (os.urandom(2000), b"\xff\xfe", b"\0", b"((((", b"a=" * 500, b"qemu $((((", b'"' * 99):
        try:
            command_in_text(data, "noise")
        except UsageError:
            continue
