"""A script run for the command line that it makes: with stand-ins for QEMU on its PATH, which note their words and end.

The script really runs, with all else that it does. Stand-ins have the names of the emulators that are installed here
and of those in the script's text, and of programs such as sudo that would find QEMU by a PATH of their own. What calls
QEMU by an absolute path can't be stood in for, and is refused before it runs.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gavotte.errors import HostError, UsageError
from gavotte.qemu.imports.launchers import QEMU, is_qemu, program_at
from gavotte.qemu.imports.sources import CommandLine
from gavotte.qemu.programs import which
from gavotte.signals import signals_held
from gavotte.text import harmless

__all__ = ["trace_script"]

_GRACE: Final = 2.0  # seconds for what a script left in the background, and between SIGTERM and SIGKILL
_LONGEST: Final = 86400
_MAX_SCRIPT: Final = 1 << 20
_MAX_STARTS: Final = 100

_TARGETS: Final = (
    "aarch64 alpha arm avr cris hppa i386 loongarch64 m68k microblaze microblazeel mips mips64 mips64el mipsel nios2"
    " or1k ppc ppc64 riscv32 riscv64 rx s390x sh4 sh4eb sparc sparc64 tricore x86_64 xtensa xtensaeb"
)
_WITH_OWN_PATH: Final = ("doas", "pkexec", "run0", "runuser", "setpriv", "sudo", "systemd-run")

_IN_TEXT = re.compile(rf"(?<![\w.-])(?:{QEMU})(?![\w/-])")
_BY_PATH = re.compile(rf"(?<![\w.}}-])/(?:[\w.+-]+/)*(?:s?bin|libexec)/(?:{QEMU})(?![\w/-])")

# Its words go into a file as they are, with NULs between: how many, the name it was called by, the directory, and they.
_STAND_IN: Final = r"""#!/bin/sh
name=${0##*/}
really() { PATH=@PATH@; export PATH; exec "$name" "$@"; }
emulator=
case $name in @LAUNCHERS@) ;; *) emulator=yes ;; esac
for word do
    case $word in
    -h|-help|--help|-version|--version|help|*,help) really "$@" ;;
    qemu-kvm|kvm-spice|*-system-*|nemu-*|*/kvm|*/qemu|*/qemu-kvm|*/kvm-spice) emulator=yes ;;
    esac
done
[ "$emulator" ] || really "$@"
n=0
until (set -C; : >@FOLDER@/"$n") 2>/dev/null; do
    n=$((n + 1))
    [ "$n" -lt @MAX@ ] || { echo "gavotte: the words of $name can't be noted" >&2; exit 125; }
done
printf '%s\0' "$#" "$name" "$PWD" "$@" >@FOLDER@/"$n"
"""


def trace_script(argv: Sequence[str], *, timeout: float) -> CommandLine:
    """Runs a script and gives the command line of the one QEMU that it starts, as it came, byte for byte.

    It has our stdin, and our stderr for both its outputs. What it left in the background when it ends, and all of it
    after `timeout` seconds, is ended. Raises UsageError when it can't be started, starts no QEMU, several different
    ones, or names one by an absolute path; HostError when there is no place for the stand-ins.
    """
    if not 0 < timeout <= _LONGEST:
        raise UsageError(f"{timeout:g} is not a number of seconds between 0 and {_LONGEST}", path="--timeout")
    text = _script_text(argv)
    _check_paths(argv, text)
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="gavotte-trace-")))
            starts = _make_stand_ins(folder, text)
        except OSError as e:
            raise HostError(
                f"there is no place for stand-ins of QEMU: {e.strerror}", hint="TMPDIR names another"
            ) from e
        path = f"{folder / 'bin'}{os.pathsep}{_search_path()}"
        status = _run(argv, {**os.environ, "PATH": path}, timeout)
        found = list(_starts(starts))
    return _only(found, argv[0], status, timeout)


# --- before -----------------------------------------------------------------------------------------------------------


def _script_text(argv: Sequence[str]) -> str:
    """What is in the script, also where a shell is called with it; nothing for a program that isn't text."""
    named = which(argv[0]) if argv else None
    if named is None:
        raise UsageError(
            f"{argv[0] if argv else 'the script'} is not an executable file, nor a program on PATH",
            path="--trace",
            hint="chmod +x makes it one; or gavotte qemu import --trace -- bash SCRIPT ARGS…",
        )
    texts = []
    for word in (named, *argv[1:]):
        with suppress(OSError, ValueError):
            if os.path.isfile(word) and os.path.getsize(word) <= _MAX_SCRIPT:  # noqa: PTH113, PTH202
                texts.append(os.fsdecode(Path(word).read_bytes()))
    return "\n".join(text for text in texts if "\0" not in text)


def _check_paths(argv: Sequence[str], text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        found = None if line.lstrip().startswith("#") else _BY_PATH.search(line)
        if found:
            name = found[0].rpartition("/")[2]
            raise UsageError(
                f"it names {found[0]} by its path, where nothing can stand in for it",
                path=f"{argv[0]}:{number}",
                hint=f"write {name} in a copy of the script, so that it is looked for on PATH, and trace the copy",
            )


def _make_stand_ins(folder: Path, text: str) -> Path:
    """Makes the directory `bin`, and gives the one where words are noted."""
    starts = folder / "starts"
    starts.mkdir()
    (folder / "bin").mkdir()
    values = {
        "PATH": shlex.quote(_search_path()),
        "LAUNCHERS": "|".join(_WITH_OWN_PATH),
        "FOLDER": shlex.quote(os.fspath(starts)),
        "MAX": str(_MAX_STARTS),
    }
    code = re.sub("@([A-Z]+)@", lambda found: values[found[1]], _STAND_IN)
    script = folder / "stand-in"
    script.write_bytes(os.fsencode(code))
    script.chmod(0o700)
    for name in _names(text):
        (folder / "bin" / name).symlink_to(script)
    return starts


def _names(text: str) -> set[str]:
    """A script may try several names and take the first that is there, so what isn't there gets no stand-in."""
    installed = {name for place in _search_path().split(os.pathsep) for name in _listed(place) if is_qemu(name)}
    named = {name for name in _IN_TEXT.findall(text) if "-system-" in name}
    launchers = {name for name in _WITH_OWN_PATH if which(name)}
    every = {"kvm", "kvm-spice", "qemu", "qemu-kvm", *(f"qemu-system-{target}" for target in _TARGETS.split())}
    return launchers | ((installed | named) or every)


def _listed(place: str) -> list[str]:
    try:
        return os.listdir(place or ".")  # noqa: PTH208
    except OSError:
        return []


def _search_path() -> str:
    return os.pathsep.join(os.get_exec_path())


# --- while it runs ----------------------------------------------------------------------------------------------------


def _run(argv: Sequence[str], environment: Mapping[str, str], timeout: float) -> int | None:
    """Gives the script's exit status, None if it was ended for the time. All of its process group has ended then."""
    deadline = time.monotonic() + timeout
    ours, theirs = os.pipe()  # whose end tells that nothing the script started is left
    try:
        with _group(argv, environment, theirs) as process:
            os.close(theirs)
            theirs = -1
            pidfd = os.pidfd_open(process.pid)
            try:
                ended = _readable(pidfd, deadline)
            finally:
                os.close(pidfd)
            if not ended:
                return None
            _readable(ours, time.monotonic() + _GRACE)
            return process.wait()
    finally:
        for fd in (ours, theirs):
            if fd >= 0:
                os.close(fd)


@contextmanager
def _group(argv: Sequence[str], environment: Mapping[str, str], fd: int) -> Iterator[subprocess.Popen[bytes]]:
    with signals_held() as let_go:
        process = _start(argv, environment, fd, let_go)
        try:
            let_go()
            yield process
        finally:
            try:
                _signal(process, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE)
            finally:  # a second Ctrl-C ends the waiting
                _signal(process, signal.SIGKILL)
            process.wait()


def _start(
    argv: Sequence[str], environment: Mapping[str, str], fd: int, let_go: Callable[[], None]
) -> subprocess.Popen[bytes]:
    """The script in a session of its own, with the signals let go that are held here."""
    try:
        return subprocess.Popen(
            argv,
            env=environment,
            stdout=2,
            pass_fds=[fd],
            start_new_session=True,
            preexec_fn=let_go,  # noqa: PLW1509  # this process has one thread
        )
    except OSError as e:
        raise UsageError(
            f"{argv[0]} can't be started: {e.strerror}",
            path="--trace",
            hint="a script without #! is started by: gavotte qemu import --trace -- bash SCRIPT ARGS…",
        ) from e


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all have ended; or what is left is somebody else's
        os.killpg(process.pid, number)


def _readable(fd: int, deadline: float) -> bool:
    ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
    return bool(ready)


# --- behind -----------------------------------------------------------------------------------------------------------


def _starts(folder: Path) -> Iterator[CommandLine]:
    """What was noted, in the order of the starts. What isn't whole was cut off by the end."""
    for number in range(_MAX_STARTS):
        try:
            count, name, place, *words = os.fsdecode((folder / str(number)).read_bytes()).split("\0")[:-1]
        except (OSError, ValueError):
            continue
        if count != str(len(words)):
            continue
        at, wanted = program_at([name, *words])
        if not wanted:
            raise UsageError(f"{name} was called with QEMU's name among its words, and was not run", path="--trace")
        ours = Path("/proc/self/cwd").readlink()
        notes = [] if Path(place) == ours else [f"relative paths are from {harmless(place)}"]
        binary, *arguments = (name, *words)[at:]
        if Path(binary).parent == folder.parent / "bin":  # found by `command -v`
            binary = Path(binary).name
        yield CommandLine((binary, *arguments), tuple(notes))


def _only(found: list[CommandLine], script: str, status: int | None, timeout: float) -> CommandLine:
    end = f"was ended after {timeout:g} s" if status is None else _how(status)
    if not found:
        raise UsageError(
            f"{script} {end}, and started no QEMU that is looked for on PATH",
            path="--trace",
            hint="what it printed may say why; QEMU by an absolute path, over ssh or in a container is not seen",
        )
    if len({one.argv for one in found}) > 1:
        raise UsageError(
            f"{script} started {len(found)} QEMUs with different command lines",
            path="--trace",
            hint="give it arguments with which it starts one, or a copy of it that does",
        )
    note = (f"{script} {end}",) if status != 0 else ()
    return CommandLine(found[0].argv, (*found[0].notes, *note))


def _how(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
