"""Command lines in the logs of those who start QEMU, and in what ps prints."""

from __future__ import annotations

import json

import pytest

from gavotte.errors import UsageError
from gavotte.qemu.imports import CommandLine, command_in_text

QEMU = "/usr/bin/qemu-system-x86_64"
JSON = '{"driver":"file","filename":"/a b.img","node-name":"s"}'
WORDS = (QEMU, "-name", "vm,debug-threads=on", "-m", "1G", "-append", "a=b c", "-S")
LAUNCHING = f"launching {QEMU} with: [{' '.join(WORDS[1:])}]"


def found(text: str) -> CommandLine:
    return command_in_text(text.encode(), "log")


def libvirt(command: str) -> str:
    head = "2018-03-24 22:19:36.664+0000: starting up libvirt version: 1.3.1, package: 1 (A <a@b.org>), hostname: h\n"
    return f"{head}{command}\n2018-03-24T22:20:01.0Z qemu-system-x86_64: can't go on\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("between", [" ", " \\\n"])
def test_a_log_of_libvirt_is_read_with_any_line_ends_and_any_binary(between: str, end: str) -> None:
    words = ["LC_ALL=C", "QEMU_AUDIO_DRV=spice", "/usr/bin/kvm-spice", "-name", "vm", "-blockdev", f"'{JSON}'", "-S"]
    text = libvirt(between.join(words)).replace("\n", end)
    assert found(text).argv == ("/usr/bin/kvm-spice", "-name", "vm", "-blockdev", JSON, "-S")
    assert found(text.replace("kvm-spice", "vmm")).argv[0] == "/usr/bin/vmm"


def test_of_a_libvirt_log_the_last_start_counts_and_text_around_it_does_not() -> None:
    start = ": starting up libvirt version: 9\nLC_ALL=C \\\n/usr/bin/qemu-system-x86_64 \\\n-m "
    both = found(f"2025{start}1G\ncan't\n2026{start}2G\nit isn't\n")
    assert both.argv == (QEMU, "-m", "2G")
    assert both.notes == ("log holds 2 starts; this is the last",)


@pytest.mark.parametrize(
    "line",
    [
        LAUNCHING,
        f"Apr 17 17:12:11 host kata-runtime[65277]: Level:info Msg:{LAUNCHING} x=y",
        f'time="2019-04-17T17:12:11" level=info msg={json.dumps(LAUNCHING)} arch=amd64 subsystem=qmp',
        json.dumps({"level": "info", "msg": LAUNCHING, "name": "kata"}),
    ],
)
def test_katas_log_is_read_and_the_value_with_blanks_is_named(line: str) -> None:
    start = found(f"before: it isn't one\n{line}\nafter\n")
    assert start.argv == WORDS
    assert "'a=b c' is taken for one" in start.notes[0]


def test_quotes_in_katas_log_are_those_of_the_words() -> None:
    line = f"launching {QEMU} with: [-blockdev {JSON} -smbios type=1,serial= -daemonize]"
    argv = (QEMU, "-blockdev", JSON, "-smbios", "type=1,serial=", "-daemonize")
    assert found(f"time=1 msg={json.dumps(line)} a=b").argv == argv


def test_a_command_that_rust_printed_is_read() -> None:
    line = f'kata[1]: qemu cmd: Command {{ std: "{QEMU}" "-append" "a b" "-m" "1G", kill_on_drop: false }}'
    assert found(line).argv == (QEMU, "-append", "a b", "-m", "1G")


def test_a_task_log_of_proxmox_is_read() -> None:
    command = "/usr/bin/kvm -id 100 -name 'vm,debug-threads=on' -smbios 'type=1,uuid=x' -m 512"
    line = f"TASK ERROR: start failed: command '{command}' failed: exit code 1"
    words = ("/usr/bin/kvm", "-id", "100", "-name", "vm,debug-threads=on", "-smbios", "type=1,uuid=x", "-m", "512")
    assert found(f"kvm: -drive file=x: can't open\n{line}\n").argv == words


@pytest.mark.parametrize(
    "columns",
    ["root  4711  1  9 10:00 ?  00:10:00 ", "qemu 4711 12.5 3.1 1234 567 ? Sl 09:00 1:23 ", "4711 ", "  4711 pts/0 "],
)
def test_what_ps_prints_keeps_json_as_it_is(columns: str) -> None:
    line = f'{columns}{QEMU} -m 512 -blockdev {JSON} -append it\'s "quoted" -nodefaults'
    words = (QEMU, "-m", "512", "-blockdev", JSON, "-append", 'it\'s "quoted"', "-nodefaults")
    start = found(f"UID PID CMD\n{line}\nroot 1 ? /sbin/init\n")
    assert start.argv == words
    assert "--pid" in start.notes[0]


def test_json_without_quotes_is_refused_where_a_shell_would_read_the_line() -> None:
    with pytest.raises(UsageError, match="^log:1: .*JSON that has lost its quotes") as raised:
        found(f"{QEMU} -m 1 -blockdev {JSON}")
    assert "--pid" in raised.value.hint


def test_a_list_of_words_in_json_is_read() -> None:
    assert found(json.dumps({"a": 1, "spec": [{"args": ["sudo", QEMU, "-append", "a b"]}]})).argv == (
        *(QEMU, "-append", "a b"),
    )


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("Running:  -L /Applications/UTM.app/Contents/Resources/qemu -S -m 1\n", "UTM's log doesn't say", "in front"),
        (json.dumps({"cmd": f"{QEMU} -m 1"}), "it is JSON, and no list", "gavotte qemu import"),
        (f"2024-01-01 host vmm: starting {QEMU} -m 1", "QEMU's name is among the words of", "gavotte qemu import"),
        (f"ssh host '{QEMU} -m 1'", "QEMU's name is among the words of ssh", "gavotte qemu import"),
        (f"# {QEMU} -m 1", "QEMU is named in it, but in no command", "gavotte qemu import"),
        (f"4711 {QEMU} -m 1 -blockdev {{driver:file}} -S", "JSON behind -blockdev has lost its quotes", "--pid"),
        (f"4711 {QEMU} disk.img -m 1", "no QEMU command line|can't be told|among the words", ""),
    ],
)
def test_what_a_log_does_not_say_is_refused_with_what_to_do(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        found(text)
    assert hint in raised.value.hint
