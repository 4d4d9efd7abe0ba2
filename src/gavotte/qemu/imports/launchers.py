"""Which word of a command is QEMU: the first one, or the one that the programs in front of it start.

Each such program has a row: its options that take a word of their own, and how many words of its own come behind the
options (sudo(8), setpriv(1), systemd-run(1), taskset(1), numactl(8) and so on). So a user, a slice or a directory
with the name `qemu` isn't taken for the binary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from gavotte.errors import UsageError
from gavotte.qemu.imports.options import words

__all__ = ["QEMU", "is_launcher", "is_qemu", "names_qemu", "program_at"]

QEMU: Final = (
    r"(?:qemu|qemu-kvm|kvm|kvm-spice|(?:qemu|nemu)(?:-[a-z0-9]+)*-system-[\w.+-]+|(?:qemu-lite|nemu)-[\w.+-]+"
    r"|qemu-[a-z0-9_]+-softmmu)(?:\.exe)?"
)
"""A pattern of the names that QEMU's system emulators have: upstream's, distributions', Kata's, Intel's and UTM's."""

_NAME = re.compile(rf"(?:.*/)?\.?{QEMU}", re.DOTALL)
_IN_TEXT = re.compile(rf"(?:^|[\s/'\"(]){QEMU}\s+--?[a-zA-Z]")
_PIECE = re.compile("qemu|nemu|kvm")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Launcher:
    """`valued` are options whose value is the next word; the single letters may stand together."""

    valued: frozenset[str] = frozenset()
    operands: int = 0
    assignments: bool = False
    until: str = ""


def _row(valued: str = "", operands: int = 0, *, assignments: bool = False, until: str = "") -> _Launcher:
    return _Launcher(frozenset(valued.split()), operands, assignments, until)


_LAUNCHERS: Final = {
    "aa-exec": _row("-p --profile -n --namespace"),
    "cgexec": _row("-g"),
    "chrt": _row("-T -P -D --sched-runtime --sched-period --sched-deadline", 1),
    "command": _row(),
    "dbus-run-session": _row("--config-file --dbus-daemon"),
    "doas": _row("-u -C"),
    "env": _row("-u -C --unset --chdir", assignments=True),
    "exec": _row("-a"),
    "gdb": _row(until="--args"),
    "ionice": _row("-c -n -P -u --class --classdata"),
    "ip": _row(until="exec", operands=1),
    "nice": _row("-n --adjustment"),
    "nohup": _row(),
    "nsenter": _row("-t -S -G --target --setuid --setgid"),
    "numactl": _row(
        "-i -w -p -P -m -N -C --interleave --weighted-interleave --preferred --preferred-many --membind --cpunodebind"
        " --physcpubind"
    ),
    "pkexec": _row("--user"),
    "prlimit": _row("-o --output"),
    "runcon": _row("-t -u -r -l --type --user --role --range"),
    "runuser": _row("-u -g -G -w --user --group --supp-group --whitelist-environment"),
    "setpriv": _row(
        "--reuid --euid --ruid --regid --egid --rgid --groups --inh-caps --ambient-caps --bounding-set --securebits"
        " --pdeathsig --ptracer --selinux-label --apparmor-profile --seccomp-filter --landlock-access --landlock-rule"
    ),
    "setsid": _row(),
    "stdbuf": _row("-i -o -e --input --output --error"),
    "strace": _row("-a -b -e -E -I -o -O -p -P -s -S -u -U -X"),
    "sudo": _row(
        "-C -D -g -h -p -R -r -T -t -U -u --close-from --chdir --group --host --prompt --chroot --role --type"
        " --command-timeout --other-user --user",
        assignments=True,
    ),
    "systemd-inhibit": _row("--what --who --why --mode"),
    "systemd-run": _row(
        "-E -H -M -p -u --background --description --gid --host --json --machine --nice --on-active --on-boot"
        " --on-calendar --on-startup --on-unit-active --on-unit-inactive --path-property --property --service-type"
        " --setenv --slice --socket-property --timer-property --uid --unit --working-directory"
    ),
    "taskset": _row("", 1),
    "time": _row("-f -o --format --output"),
    "timeout": _row("-k -s --kill-after --signal", 1),
    "unshare": _row("-R -w -S -G --root --wd --setuid --setgid --map-user --map-group --propagation --setgroups"),
    "valgrind": _row(),
    "xvfb-run": _row("-e -f -n -p -s -w --error-file --auth-file --server-num --xauth-protocol --server-args --wait"),
}

_QUESTIONS: Final = words("-h -help --help -version --version help")

# What only speaks of a program, or asks for it.
_NAMING: Final = words(
    """
    : [ apk apt apt-get brew cat chmod chown cp dnf dpkg dpkg-query echo emerge file grep install kill killall ln ls man
    modinfo modprobe mv pacman pgrep pidof pkg pkill printf ps rm rpm sed systemctl test trap type usermod virsh wait
    whereis which yum zypper
    """
)


def is_qemu(word: str) -> bool:
    """Tells whether this is surely the name or the path of a QEMU system emulator."""
    return bool(_NAME.fullmatch(word))


def is_launcher(word: str) -> bool:
    """Tells whether this is a program that starts another, which its words name."""
    return word.rpartition("/")[2] in _LAUNCHERS


def names_qemu(text: str, *, anywhere: bool = False) -> bool:
    """Tells whether a text holds what may be a command that starts a QEMU; `anywhere`, a piece of its name."""
    return bool((_PIECE if anywhere else _IN_TEXT).search(text))


def program_at(argv: Sequence[str]) -> tuple[int, bool]:
    """Gives which word of a command is the program that it starts in the end, and whether that is QEMU with a machine.

    One that is asked for its version or for help has none.
    Raises UsageError for a program that isn't known to start another and has QEMU's name among its words.
    """
    at = 0
    while at < len(argv):
        name = argv[at].rpartition("/")[2]
        if is_qemu(argv[at]):
            return at, _QUESTIONS.isdisjoint(argv[at + 1 :])
        if name not in _LAUNCHERS or _asks(name, argv[at + 1 : at + 2]):
            break
        at = _behind(_LAUNCHERS[name], argv, at + 1)
    if at < len(argv) and argv[at].rpartition("/")[2] not in _NAMING:
        _check_hidden(argv[at], argv[at + 1 :])
    return at, False


def _asks(name: str, following: Sequence[str]) -> bool:
    return name == "command" and bool(following) and following[0] in ("-v", "-V")


def _behind(launcher: _Launcher, argv: Sequence[str], at: int) -> int:
    """Where the command that it starts begins."""
    if launcher.until:
        at = argv.index(launcher.until, at) + 1 if launcher.until in argv[at:] else len(argv)
    while at < len(argv) and argv[at].startswith("-") and len(argv[at]) > 1:
        word = argv[at]
        at += 1
        if word == "--":
            break
        if _takes_next(word, launcher.valued):
            at += 1
    while launcher.assignments and at < len(argv) and _ASSIGNMENT.fullmatch(argv[at]):
        at += 1
    return at + launcher.operands


def _takes_next(word: str, valued: frozenset[str]) -> bool:
    """Whether an option's value is the next word: `--user x`, `-u x`, `-nu x`; not `--user=x`, `-ux`."""
    if word in valued:
        return True
    letters = "" if word.startswith("--") else word[1:]
    for index, letter in enumerate(letters):
        if f"-{letter}" in valued:
            return index == len(letters) - 1
    return False


def _check_hidden(program: str, argv: Sequence[str]) -> None:
    begins = any(is_qemu(word) and following.startswith("-") for word, following in pairwise(argv))
    if begins or any(names_qemu(word) for word in argv):
        raise UsageError(
            f"QEMU's name is among the words of {program}, and what that makes of them isn't known",
            hint="give the command line behind: gavotte qemu import --",
        )
