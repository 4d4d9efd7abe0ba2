"""Which word of a command is QEMU."""

from __future__ import annotations

import pytest

from gavotte.errors import UsageError
from gavotte.qemu.imports.launchers import is_qemu, program_at


@pytest.mark.parametrize(
    "name",
    [
        *("qemu-system-x86_64", "/usr/bin/qemu-system-s390x", "qemu-system-i386.exe", ".qemu-system-x86_64-wrapped"),
        *("/usr/libexec/qemu-kvm", "kvm", "/usr/bin/kvm-spice", "qemu-system-x86_64-spice", "qemu"),
        *("qemu-virtiofs-system-x86_64", "qemu-lite-system-x86_64", "/opt/kata/bin/qemu-lite-x86_64"),
        *("nemu-system-x86_64", "qemu-aarch64-softmmu"),
    ],
)
def test_names_of_emulators_are_known(name: str) -> None:
    assert is_qemu(name)


@pytest.mark.parametrize("name", ["qemu-img", "qemu-nbd", "/usr/share/qemu/", "kvm_stat", "virtiofsd", "qemu-x86_64"])
def test_other_names_are_not_emulators(name: str) -> None:
    assert not is_qemu(name)


@pytest.mark.parametrize(
    "prefix",
    [
        "sudo",
        "sudo -u qemu -g kvm",
        "sudo -nu qemu --chdir qemu -- ",
        "sudo --user=qemu A=b",
        "doas -u qemu",
        "setpriv --reuid qemu --regid kvm --clear-groups",
        "systemd-run --slice qemu --scope -p MemoryMax=1G",
        "systemd-run --user --unit=qemu --uid qemu -E A=b",
        "env -i -u QEMU A=b C=/usr/bin/qemu",
        "timeout -k 5 60 nice -n 5 ionice -c 2 -n 0",
        "taskset -c 0-3 numactl -m 0 --cpunodebind 0",
        "taskset 0x3 chrt -f 50",
        "ip netns exec qemu",
        "strace -f -o qemu gdb -ex run --args",
        "exec -a qemu",
        "/usr/bin/sudo /usr/bin/env",
        "nohup setsid -w stdbuf -o L",
        "runuser -u qemu --",
    ],
)
def test_a_user_or_a_slice_called_qemu_is_not_taken_for_it(prefix: str) -> None:
    words = [*prefix.split(), "qemu-system-x86_64", "-L", "/usr/share/qemu", "-m", "1G"]
    assert program_at(words) == (len(prefix.split()), True)


@pytest.mark.parametrize(
    "line",
    [
        "echo qemu-system-x86_64 -m 1",
        "apt-get install qemu-system-x86 -y",
        "command -v qemu-system-x86_64",
        "chown qemu disk.img",
        "sudo -u qemu mkdir -p /run/qemu",
        "qemu-system-x86_64 --version",
        "qemu-img create disk.img 1G",
        "nice",
        "sudo -u",
        "",
    ],
)
def test_a_command_that_only_speaks_of_qemu_starts_none(line: str) -> None:
    assert not program_at(line.split())[1]


@pytest.mark.parametrize(
    "words", [["frobnicate", "qemu-system-x86_64", "-m"], ["sh", "-c", "exec qemu-system-x86_64 -m 1"]]
)
def test_a_program_of_which_nobody_knows_what_it_makes_of_the_words_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match=f"among the words of {words[0]}"):
        program_at(words)
