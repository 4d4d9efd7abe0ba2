"""A manager of a kept machine that is killed at a certain moment of its work.

As a program, it reads lines `STORY STEP DIRECTORY`, and for each forks a manager that plays the story and is killed by
SIGKILL at that step: at the beginning of a QMP command, or when one was sent and isn't answered, before a record is
written and after it, after QEMU was started. It answers with the number of steps that there were.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gavotte.hypervisor.devices import Disk, Nic, Passt, Port, Rng, Share
from gavotte.hypervisor.interface import MachineConfig
from gavotte.hypervisor.qemu import launch
from gavotte.hypervisor.qemu.takeover import attach
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.pids import ProcessId
from gavotte.qmp.client import QmpClient
from tests.support.programs import SOURCES
from tests.support.tiny_kernel import OBEYS, write_kernel

__all__ = ["Managers", "config", "create", "managers", "own_directory"]

ROOT = Path(__file__).parents[2]


def config(directory: Path, **changes: Any) -> MachineConfig:
    """A small machine with four slots; its guest lets devices go. Its kernel lies beside `directory`."""
    values: dict[str, Any] = {
        "name": directory.name,
        "arch": "x86_64",
        "machine": "q35",
        "accel": "tcg",
        "vcpus": 1,
        "memory": 64 << 20,
        "kernel": write_kernel(directory.parent, OBEYS),
        "initrd": None,
        "append": "",
        "devices": (Rng("entropy"),),
        "slots": 4,
        "max_vcpus": 2,
    }
    return MachineConfig(**{**values, **changes})


def own_directory(folder: Path, name: str = "kept-machine") -> Path:
    """A directory for one machine."""
    directory = folder / name
    directory.mkdir(mode=0o700, parents=True)
    return directory


def create(directory: Path, **changes: Any) -> QemuVm:
    """A machine to be kept; nothing is started."""
    return QemuVm(find_qemu("x86_64"), config(directory, **changes), directory=directory, keep=True)


# --- stories ----------------------------------------------------------------------------------------------------------


async def start(directory: Path) -> None:
    await create(directory).start()


async def plug(directory: Path) -> None:
    vm = await QemuVm.attach(directory)
    image = directory.parent / "disk.img"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    await vm.plug(Disk("disk", image))
    await vm.plug(Port("port", "org.test"))


async def unplug(directory: Path) -> None:
    vm = await QemuVm.attach(directory)
    await vm.unplug("port")
    await vm.unplug("disk")


async def pause(directory: Path) -> None:
    vm = await QemuVm.attach(directory)
    await vm.pause()
    await vm.resume()
    await vm.resize_vcpus(2)


async def save(directory: Path) -> None:
    vm = await QemuVm.attach(directory)
    await vm.save(directory.parent / "saved")


async def detach(directory: Path) -> None:
    await (await QemuVm.attach(directory)).detach()


async def stop(directory: Path) -> None:
    await (await QemuVm.attach(directory)).stop()


async def serve(directory: Path, keep: bool = True) -> None:
    """A machine with helpers, one from the start and one plugged; the pids of all go into a file beside `directory`."""
    devices = (Rng("entropy"), Nic("net", Passt()))
    wanted = config(directory, devices=devices, shared_memory=True)
    vm = QemuVm(find_qemu("x86_64"), wanted, directory=directory, keep=keep)
    await vm.start()
    await vm.plug(Share("share", directory.parent, kind="virtiofs"))
    pids = {id: ProcessId.of(pid) for id, pid in (await vm.pids()).items()}
    (directory.parent / "pids.json").write_text(json.dumps(pids))


async def serve_unkept(directory: Path) -> None:
    await serve(directory, keep=False)


STORIES: dict[str, Callable[[Path], Coroutine[Any, Any, None]]] = {
    story.__name__: story for story in (start, serve, serve_unkept, plug, unplug, pause, save, detach, stop)
}


# --- the end at a step ------------------------------------------------------------------------------------------------


class Steps:
    """Counts the steps, and dies at one of them."""

    def __init__(self, last: int) -> None:
        self.count = 0
        self._last = last

    def take(self) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Count in whatever acts on QEMU or on the disk."""
        client: Any = QmpClient
        written_by: Any = attach
        begun_by: Any = launch
        execute, write, begin = client.execute, written_by.write_record, begun_by.start_process

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.take()
            answer = asyncio.ensure_future(execute(*args, **kwargs))
            await asyncio.sleep(0)  # it is sent now
            self.take()
            return await answer

        def written(*args: Any) -> None:
            self.take()
            write(*args)
            self.take()

        async def begun(*args: Any, **kwargs: Any) -> Any:
            process = await begin(*args, **kwargs)
            self.take()
            return process

        client.execute, written_by.write_record, begun_by.start_process = counted, written, begun


def _play(story: str, last: int, directory: Path) -> int:
    """Play the story in a child; the number of steps, or -1 when it was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        steps = Steps(last)
        steps.install()
        status = 1
        try:
            asyncio.run(STORIES[story](directory))
            os.write(writing, str(steps.count).encode())
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)  # as abruptly as one that is killed
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return int(told) if code == 0 else -1 if code == -signal.SIGKILL else -2


class Managers:
    """Plays stories in processes of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def play(self, story: str, directory: Path, last: int = 0) -> int:
        """The number of steps of a story that was played to its end; 0 when it was killed at step `last`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(story, last, directory, file=self._process.stdin, flush=True)
        told = int(self._process.stdout.readline())
        assert told != -2, f"{story} failed"
        return max(told, 0)


@contextmanager
def managers() -> Iterator[Managers]:
    """One that plays them, for the block."""
    line = [sys.executable, "-m", "tests.support.kept"]
    env = {**os.environ, "PYTHONPATH": f"{SOURCES}{os.pathsep}{ROOT}"}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env) as process:
        yield Managers(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


if __name__ == "__main__":
    for _line in sys.stdin:
        _story, _last, _directory = _line.rstrip("\n").split(" ", 2)
        sys.stdout.write(f"{_play(_story, int(_last), Path(_directory))}\n")
        sys.stdout.flush()
