"""In a running sandbox: round trips of short commands, and how fast bytes come and go."""

from __future__ import annotations

import time
from collections.abc import Callable

import gavotte
from bench.bare import Bare
from bench.cold import Setting
from bench.rows import Row, median, ratio, spread

__all__ = ["measure"]

EXEC_BOUND = 1.5
STDOUT_BOUND = 0.8
BLOCK = 10  # commands of one kind in a row, before it is the other kind's turn
SIZE = 20_000_000
WRITER = f"head -c {SIZE} /dev/zero"

# What starting a program costs the guest itself, without an agent. `true` is looked up in PATH, as the agent does.
IN_GUEST = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.execvp("true", ["true"])
    os.waitpid(pid, 0)
    print(time.perf_counter() - began)
"""

# Makes the port that nobody serves a file of the guest's, for whoever writes to it.
MAKE_PORT = """
import os
base = "/sys/class/virtio-ports"
name = next(n for n in os.listdir(base) if open(f"{base}/{n}/name").read().strip() == "bench.raw")
major, minor = map(int, open(f"{base}/{name}/dev").read().split(":"))
os.mknod("/tmp/port", 0o020600, os.makedev(major, minor))
print("made")
"""


def measure(setting: Setting, rounds: int, tick: Callable[[], None]) -> list[Row]:
    """Boot one guest for all of it, and a bare one for the raw port. Calls `tick` after each round."""
    qemu, *_, accel = setting
    commands: dict[str, list[float]] = {"exec s": [], "fork+exec+wait s": []}
    streams: dict[str, list[float]] = {"stdout MB/s": [], "raw port MB/s": [], "cat MB/s": [], "stdin MB/s": []}
    with gavotte.Sandbox(qemu=qemu, accel=accel) as box:
        exec_round_trips(box, BLOCK)  # warm up: under emulation, code is translated when it first runs
        in_guest(box, BLOCK)
        for _ in range(rounds):
            commands["exec s"] += exec_round_trips(box, BLOCK)
            commands["fork+exec+wait s"] += in_guest(box, BLOCK)
            streams["stdout MB/s"].append(stdout(box))
            streams["stdin MB/s"].append(stdin(box))
            tick()
    with Bare(*setting, raw_port=True) as guest:
        guest.prepare()
        guest.first_byte(2, ["python3", "-c", MAKE_PORT])
        for number in range(rounds):
            streams["raw port MB/s"].append(raw_port(guest, 3 + 2 * number, f"{WRITER} > /tmp/port"))
            streams["cat MB/s"].append(raw_port(guest, 4 + 2 * number, f"{WRITER} | cat > /tmp/port"))
            tick()
    return [exec_row(commands), *stream_rows(streams)]


def exec_row(samples: dict[str, list[float]]) -> Row:
    times = ratio(samples["exec s"], samples["fork+exec+wait s"])
    both = f"{spread(samples['exec s'], 1000, 'ms')} / {spread(samples['fork+exec+wait s'], 1000, 'ms')}"
    text = f"{times:.2f} x the guest's own: {both}"
    return Row("exec round trip", text, f"<= {EXEC_BOUND} x fork+exec+wait", times <= EXEC_BOUND, samples)


def stream_rows(samples: dict[str, list[float]]) -> list[Row]:
    ours, raw, cat = (samples[f"{name} MB/s"] for name in ("stdout", "raw port", "cat"))
    times = ratio(ours, raw)
    text = f"{times:.2f} x raw: {median(ours):.1f} / {median(raw):.1f} MB/s"
    by_cat = f"{ratio(ours, cat):.2f} x cat: {median(ours):.1f} / {median(cat):.1f} MB/s"
    return [
        Row("stdout from a guest", text, f">= {STDOUT_BOUND} x a raw port", times >= STDOUT_BOUND, samples),
        Row("the same, beside `cat` from a pipe to a raw port", by_cat),
        Row("stdin to a guest", spread(samples["stdin MB/s"], 1, "MB/s")),
    ]


def exec_round_trips(box: gavotte.Sandbox, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        box.run(["true"], timeout=60)
        seconds.append(time.perf_counter() - began)
    return seconds


def in_guest(box: gavotte.Sandbox, count: int) -> list[float]:
    output = box.run(["python3", "-c", IN_GUEST, str(count)], timeout=120).check().stdout
    return [float(line) for line in output.split()]


def stdout(box: gavotte.Sandbox) -> float:
    """MB/s, from the first piece to the last."""
    with box.spawn(WRITER.split()) as process:
        left = SIZE - len(process.stdout.read(65536))
        began = time.perf_counter()
        size = left
        while data := process.stdout.read(65536):
            left -= len(data)
        seconds = time.perf_counter() - began
    if left:
        raise RuntimeError(f"{left} bytes of {SIZE} did not arrive")
    return size / seconds / 1e6


def stdin(box: gavotte.Sandbox) -> float:
    """MB/s, from the first piece to the count that the command gives of them."""
    with box.spawn(["wc", "-c"], stdin=True) as process:
        if process.stdin is None:
            raise RuntimeError("a command with stdin=True has no stdin")
        began = time.perf_counter()
        process.stdin.write(bytes(SIZE))
        process.stdin.close()
        counted = int(process.stdout.read())
        seconds = time.perf_counter() - began
    if counted != SIZE:
        raise RuntimeError(f"{counted} bytes of {SIZE} arrived")
    return SIZE / seconds / 1e6


def raw_port(guest: Bare, channel: int, line: str) -> float:
    """MB/s through a virtio-serial port that a line of shell writes to."""
    port = guest.ends["raw"]
    port.settimeout(60)
    guest.start(channel, ["sh", "-c", line])
    left = SIZE - len(port.recv(65536))
    began = time.perf_counter()
    size = left
    while left:
        left -= len(port.recv(65536))
    return size / (time.perf_counter() - began) / 1e6
