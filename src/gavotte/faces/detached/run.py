"""`gavotte run -d`: start a sandbox that a keeper keeps, and leave it."""

from __future__ import annotations

import argparse
import fcntl
import os
import stat
import sys
import termios
from collections.abc import Mapping
from typing import Any

from gavotte.faces.environment import read_environment
from gavotte.faces.run import ensure_image, origin
from gavotte.faces.terminal import say
from gavotte.places import absolute
from gavotte.sandbox.keeper.client import launch
from gavotte.sandbox.spec import make_spec
from gavotte.sandbox.words import check_argv, check_env, parse_signal
from gavotte.text import harmless

__all__ = ["run", "with_room"]

# What it may grow to unless told otherwise
_SLOTS = 8
_LEAST_CPUS, _MOST_CPUS = 4, 16
_MOST_MEMORY = 8 << 30


def run(options: argparse.Namespace, wanted: Mapping[str, Any]) -> int:
    """Start it and print its name. Raises what `gavotte run` raises, and InUse for a name that is taken."""
    argv = check_argv(options.argv) if options.argv else []
    env = check_env(read_environment(options.env))
    stop_signal = parse_signal(options.stop_signal or "TERM", "stop_signal")
    spec = make_spec(**wanted)
    grown = with_room(wanted, options)
    make_spec(**grown, name=options.name)  # what makes no sense is told before anything is started
    ensure_image(wanted, quiet=options.quiet)
    name = options.name or f"gavotte-{os.urandom(4).hex()}"
    with launch(name) as line:
        started = line.ask(
            "start",
            on_note=None if options.quiet else _pass_on,
            options=_absolute(grown),
            argv=argv,
            command={"env": env, "cwd": options.cwd, "user": options.user},
            summary={"memory": spec.memory, "cpus": spec.cpus, "arch": spec.arch, "machine": spec.machine},
            remove=options.rm,
            stop_signal=stop_signal,
        )
    if options.verbose:
        for phase, seconds in started["phases"]:
            say(f"{phase}: {seconds * 1000:.0f} ms")
        say(f"on {started['accel']}: {started['reason']}")
        say(origin(started["template"], started["cold_reason"]))
    if not options.quiet and _input_waits():
        way = f"gavotte exec {name} -- CMD passes it on"
        say(f"note: a detached command's stdin is empty: what comes on ours stays unread; {way}")
    print(name)
    return 0


def _input_waits() -> bool:
    """Whether there is something to be read on stdin, behind which somebody who expects it to arrive may be."""
    try:
        mode = os.fstat(0).st_mode
        if stat.S_ISREG(mode):
            return os.fstat(0).st_size > os.lseek(0, 0, os.SEEK_CUR)
        piped = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        return piped and int.from_bytes(fcntl.ioctl(0, termios.FIONREAD, bytes(4)), sys.byteorder) > 0
    except OSError:  # it is closed, or can't be read
        return False


def with_room(wanted: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The options of a sandbox, with what it may grow to: as asked for, else as much as makes sense here."""
    spec = make_spec(**wanted)
    return {
        **wanted,
        "slots": _SLOTS if options.slots is None else options.slots,
        "max_cpus": options.max_cpus or max(spec.cpus, min(max(_LEAST_CPUS, os.cpu_count() or 1), _MOST_CPUS)),
        "max_memory": options.max_memory or max(spec.memory, min(_MOST_MEMORY, _host_memory() // 2)),
    }


def _pass_on(message: dict[str, Any]) -> None:
    """What the keeper's sandbox has to say while it starts."""
    if note := message.get("note"):
        say(f"note: {harmless(str(note))}")


def _absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """With paths that mean the same to a keeper, which is in another directory."""
    paths = ("kernel", "initrd", *(["qemu"] if "/" in (options["qemu"] or "") else []))
    return {**options, **{name: absolute(options[name]) for name in paths if options[name] is not None}}


def _host_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
