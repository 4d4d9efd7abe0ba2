"""What callers write, with the type that each expression has: the gate's mypy holds it to that. Nothing here is run.

An `ignore` is a mistake that a type checker has to find: without it, mypy complains that there is nothing to ignore.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Unpack, assert_type

import gavotte
from gavotte.faces.mapping import Results


def options(box: gavotte.Sandbox) -> None:
    gavotte.Sandbox(memory="1G", cpus=2, kernel="vmlinuz", initrd=Path("initrd"), devices=[gavotte.Disk("d", "d.img")])
    gavotte.AsyncSandbox(name="lab", keep=True)
    gavotte.Pool(4, limit=8, warm=[["true"]], memory=1 << 30)
    gavotte.AsyncPool(size=4, slots=2)
    gavotte.Executor(2, timeout=5, cwd=Path("/tmp"), memory="1G")
    gavotte.Sandbox(mem="1G")  # type: ignore[call-arg]
    gavotte.Sandbox(cpus="2")  # type: ignore[arg-type]
    gavotte.Pool(name="lab")  # type: ignore[call-arg]
    gavotte.AsyncPool(4, warm=[[5]])  # type: ignore[list-item]
    gavotte.Executor(timeout="5")  # type: ignore[arg-type]
    gavotte.Disk("d", b"d.img")  # type: ignore[arg-type]
    box.run(["true"], timout=5)  # type: ignore[call-overload]


def passed_on(**given: Unpack[gavotte.SandboxOptions]) -> gavotte.Sandbox:
    given["memory"] = "1G"
    return gavotte.Sandbox(**given)


def run(box: gavotte.Sandbox, flag: bool, words: Sequence[str]) -> None:
    assert_type(box.run(["true"]), gavotte.Result[bytes])
    assert_type(box.run(("true", Path("x"))).check().stdout, bytes)
    assert_type(box.run(words, input=b"x", check=True, env={"A": "1"}, cwd=Path("/"), user=1000).stderr, bytes)
    assert_type(box.run(["cat"], input=bytearray(b"x"), text=False).stdout, bytes)
    assert_type(box.run(["cat"], text=True), gavotte.Result[str])
    assert_type(box.run(["cat"], input="x", text=True).check().stdout, str)
    assert_type(box.run(["cat"], text=flag), gavotte.Result[bytes] | gavotte.Result[str])
    box.run(["cat"], input="x")  # type: ignore[call-overload]
    box.run(["cat"], input=b"x", text=True)  # type: ignore[call-overload]
    box.run(["cat"], timeout="5")  # type: ignore[call-overload]
    box.run([5])  # type: ignore[list-item]


def spawn(box: gavotte.Sandbox, flag: bool, size: tuple[int, int] | None) -> None:
    with box.spawn(["sh"], stdin=True) as process:
        assert_type(process, gavotte.Process[gavotte.Writer])
        process.stdin.write(b"x")
        assert_type(process.stdout.readline(), bytes)
        assert_type(process.wait(5), int)
    with box.spawn(["sh"], tty=(24, 80), cwd="/") as process:
        process.stdin.close()
    assert_type(box.spawn(["sh"]), gavotte.Process[None])
    box.spawn(["sh"]).stdin.write(b"x")  # type: ignore[attr-defined]
    assert_type(box.spawn(["sh"], stdin=flag), gavotte.Process)
    assert_type(box.spawn(["sh"], tty=size), gavotte.Process)
    box.spawn(["sh"], stdin=flag).stdin.write(b"x")  # type: ignore[union-attr]
    kept: list[gavotte.Process] = [box.spawn(["sh"]), box.spawn(["sh"], stdin=True)]  # one type for all
    assert_type(kept[0].stdin, gavotte.Writer | None)
    assert_type(box.commands[1], gavotte.Process)


async def asynchronous(box: gavotte.AsyncSandbox, pool: gavotte.AsyncPool, flag: bool) -> None:
    assert_type(await box.run(["true"]), gavotte.Result[bytes])
    assert_type(await box.run(["true"], input="x", text=True), gavotte.Result[str])
    assert_type(await box.run(["true"], text=flag), gavotte.Result[bytes] | gavotte.Result[str])
    async with await box.spawn(["sh"], stdin=True) as process:
        assert_type(process, gavotte.AsyncProcess[gavotte.InputStream])
        await process.stdin.write(memoryview(b"x"))
    assert_type(await box.spawn(["sh"], tty=(24, 80)), gavotte.AsyncProcess[gavotte.InputStream])
    assert_type(await box.spawn(["sh"]), gavotte.AsyncProcess[None])
    assert_type(await box.spawn(["sh"], stdin=flag), gavotte.AsyncProcess)
    assert_type(await pool.acquire(), gavotte.AsyncSandbox)
    async with pool.acquire(timeout=5) as acquired:
        assert_type(acquired, gavotte.AsyncSandbox)


def square(number: int) -> float:
    return float(number * number)


def many(executor: gavotte.Executor, flag: bool) -> None:
    assert_type(gavotte.map(square, range(10)), Results[float])
    assert_type(next(gavotte.map(square, [1], workers=2, timeout=5, cpus=2)), float)
    assert_type(gavotte.map(square, [1], return_exceptions=True), Results[float | Exception])
    assert_type(gavotte.map(square, [1], return_exceptions=flag), Results[float | Exception])
    assert_type(gavotte.map(["wc"], [b"x", "y", ("z", b"x")]), Results[gavotte.Result[bytes]])
    assert_type(gavotte.map(["wc"], [b"x"], return_exceptions=True), Results[gavotte.Result[bytes] | Exception])
    assert_type(executor.submit(square, 3), Future[float])
    assert_type(executor.submit(["wc", "-c"], b"x", "y"), Future[gavotte.Result[bytes]])
    gavotte.map(square, ["text"])  # type: ignore[arg-type]
    gavotte.map(["wc"], [5])  # type: ignore[list-item]
    executor.submit(square, "text")  # type: ignore[call-overload]
    executor.submit(["wc"], 5)  # type: ignore[call-overload]


def devices(box: gavotte.Sandbox, path: os.PathLike[str]) -> None:
    box.plug(gavotte.Disk("d", path))
    box.plug(gavotte.Share("s", "directory", kind="virtiofs"))
    box.plug(gavotte.Nic("n", gavotte.User(restrict=True)))
    assert_type(box.resize(cpus=2, memory="1G"), gavotte.Size)
    box.plug(gavotte.Disk("d", "d.img", format="vmdk"))  # type: ignore[arg-type]
    box.plug({"driver": "virtio-rng-pci"})  # type: ignore[arg-type]


def annotated(result: gavotte.Result, process: gavotte.Process, data: Any) -> bytes:
    """Without parameters, a Result has bytes, and a Process may have a stdin."""
    assert_type(process.stdin, gavotte.Writer | None)
    return result.stdout
