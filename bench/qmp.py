"""Round trips over QMP, with a raw socket as the measure. Run as `python -m bench.qmp`."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from gavotte.qmp.client import QmpClient

__all__ = ["measure"]

COMMAND = "query-status"
PASSES = 8  # the variants take turns, so that a busy moment of the machine hits all of them

Round = Callable[[int], list[float]]  # does so many round trips; gives the seconds of each


def measure(rounds: int = 2000) -> dict[str, float]:
    """Give the median seconds of a round trip: by "raw" socket, "async", "sync" and "qemu.qmp".

    Raises FileNotFoundError where QEMU is missing.
    """
    seconds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        variants: dict[str, Round] = {
            "raw": stack.enter_context(_raw()),
            "async": stack.enter_context(_async()),
            "sync": stack.enter_context(_sync()),
            "qemu.qmp": stack.enter_context(_qemu_qmp()),
        }
        for name, run in variants.items():
            run(50)  # warm up
            seconds[name] = []
        for _ in range(PASSES):
            for name, run in variants.items():
                seconds[name] += run(max(1, rounds // PASSES))
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextmanager
def _qemu() -> Iterator[socket.socket]:
    """A QEMU of its own, by its monitor's socket; whoever takes the socket closes it, and QEMU is ended here."""
    binary = shutil.which("qemu-system-x86_64")
    if binary is None:
        raise FileNotFoundError("there is no qemu-system-x86_64 in PATH")
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        argv = [binary, "-M", "none", "-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-chardev", f"socket,id=q,fd={fd}", "-mon", "chardev=q,mode=control"]
        process = subprocess.Popen(argv, pass_fds=[fd], stdin=subprocess.DEVNULL)
    try:
        ours.settimeout(30)
        yield ours
    finally:
        ours.close()
        process.kill()
        process.wait(10)


@contextmanager
def _raw() -> Iterator[Round]:
    with _qemu() as sock:
        buffer = b""

        def ask(request: dict[str, object]) -> dict[str, object]:
            nonlocal buffer
            sock.sendall(json.dumps(request).encode() + b"\n")
            while b"\n" not in buffer:
                buffer += sock.recv(65536)
            line, _, buffer = buffer.partition(b"\n")
            answer: dict[str, object] = json.loads(line)
            return answer

        while b"\n" not in buffer:
            buffer += sock.recv(65536)
        buffer = b""
        ask({"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}})

        def run(rounds: int) -> list[float]:
            seconds = []
            for number in range(rounds):
                start = time.perf_counter()
                answer = ask({"execute": COMMAND, "id": number})
                seconds.append(time.perf_counter() - start)
                if "return" not in answer:
                    raise RuntimeError(f"QEMU answered {answer}")
            return seconds

        yield run


@contextmanager
def _async() -> Iterator[Round]:
    with _qemu() as sock, asyncio.Runner() as runner:
        client = runner.run(QmpClient.connect(sock))

        async def loop(rounds: int) -> list[float]:
            seconds = []
            for _ in range(rounds):
                start = time.perf_counter()
                await client.execute(COMMAND)
                seconds.append(time.perf_counter() - start)
            return seconds

        yield lambda rounds: runner.run(loop(rounds))
        runner.run(client.close())


@contextmanager
def _sync() -> Iterator[Round]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="qmp-bench")
    thread.start()
    try:
        with _qemu() as sock:
            client = asyncio.run_coroutine_threadsafe(QmpClient.connect(sock), loop).result(30)

            def run(rounds: int) -> list[float]:
                seconds = []
                for _ in range(rounds):
                    start = time.perf_counter()
                    asyncio.run_coroutine_threadsafe(client.execute(COMMAND), loop).result()
                    seconds.append(time.perf_counter() - start)
                return seconds

            yield run
            asyncio.run_coroutine_threadsafe(client.close(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def _qemu_qmp() -> Iterator[Round]:
    from qemu.qmp import QMPClient

    with _qemu() as sock, asyncio.Runner() as runner:
        client = QMPClient("bench")
        runner.run(client.connect(sock))

        async def loop(rounds: int) -> list[float]:
            seconds = []
            for _ in range(rounds):
                start = time.perf_counter()
                await client.execute(COMMAND)
                seconds.append(time.perf_counter() - start)
            return seconds

        yield lambda rounds: runner.run(loop(rounds))
        runner.run(client.disconnect())


def main() -> None:
    """Print the medians, and their ratios to the raw socket."""
    medians = measure()
    for name, seconds in medians.items():
        print(f"{name:10} {seconds * 1e6:8.1f} µs {seconds / medians['raw']:6.2f} x raw")


if __name__ == "__main__":
    main()
