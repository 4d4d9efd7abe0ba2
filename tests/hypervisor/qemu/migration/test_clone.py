"""What a copy of a template is on QEMU: its memory is its own, and the template's file stays as it is."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gavotte.errors import QemuError, SaveFailed, Unsupported
from gavotte.hypervisor.devices import Balloon, Raw, Rng
from gavotte.hypervisor.interface import Ability, MachineConfig, MemoryFile, VmState
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import find_qemu
from tests.support.binaries import BINARIES, QEMU10
from tests.support.processes import processes_of
from tests.support.tiny import config_for, counter, counting
from tests.support.tiny_kernel import WRITES, write_kernel

SIZE = 32 << 20
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Template:
    """A machine that counted and stands still: its memory in a file, its state, and how far it had come."""

    def __init__(self, folder: Path, qemu: Path | None) -> None:
        self.binary = find_qemu("x86_64", path=None if qemu is None else os.fspath(qemu))
        self.kernel = write_kernel(folder, WRITES)
        self.path = folder / "memory"
        self.path.write_bytes(b"")
        os.truncate(self.path, SIZE)
        self.state, self.count = b"", 0

    def config(self, name: str, fd: int, *, private: bool = True) -> MachineConfig:
        return config_for(
            self.kernel, name=name, memory=SIZE, slots=2, max_memory=2 * SIZE, memory_file=MemoryFile(fd, private)
        )

    async def make(self) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        vm = QemuVm(self.binary, self.config("template", fd, private=False))
        try:
            await vm.start()
            self.count = await counting(vm)
            self.state = await vm.freeze()
        finally:
            await vm.cleanup()
            os.close(fd)
        self.path.chmod(0o400)

    def digest(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @asynccontextmanager
    async def copy(self, name: str = "copy", fd: int | None = None) -> AsyncIterator[QemuVm]:
        """A copy that runs, on the file or on another descriptor of it."""
        own = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC) if fd is None else os.dup(fd)
        vm = QemuVm(self.binary, self.config(name, own))
        try:
            await vm.clone(self.state)
            yield vm
        finally:
            await vm.cleanup()
            os.close(own)


@pytest.fixture(scope="module", params=BINARIES)
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """One that all tests of this file make copies of."""
    template = Template(tmp_path_factory.mktemp("template"), request.param)
    asyncio.run(template.make())
    return template


def test_what_copies_write_is_theirs_alone_and_never_reaches_the_file(template: Template) -> None:
    before = template.digest()

    async def main() -> None:
        async with template.copy("one") as one:
            async with template.copy("other") as other:
                await one.pause()
                first = await counter(one)
                assert first >= template.count > 0
                while await counting(other) <= first:
                    await other.resume()
                assert await counter(one) == first
            async with template.copy("third") as third:
                await third.pause()
                assert await counter(third) >= template.count

    asyncio.run(asyncio.wait_for(main(), 90))
    assert template.digest() == before
    assert template.path.stat().st_mode & 0o777 == 0o400


def test_a_memfd_that_is_sealed_against_everything_is_taken(template: Template) -> None:
    fd = os.memfd_create("sealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, template.path.read_bytes())
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)

        async def main() -> None:
            async with template.copy(fd=fd) as vm:
                assert await counting(vm) >= template.count

        asyncio.run(asyncio.wait_for(main(), 90))
        assert os.pread(fd, SIZE, 0) == template.path.read_bytes()
    finally:
        os.close(fd)


def access_modes(pid: int, path: Path) -> set[int]:
    """How a process has a file open: O_RDONLY, O_RDWR."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if link.readlink() == path:
                lines = (link.parent.parent / "fdinfo" / link.name).read_text().splitlines()
                fields = dict(line.split(":", 1) for line in lines)
                found.add(int(fields["flags"], 8) & os.O_ACCMODE)
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def test_a_binary_that_can_do_so_opens_the_file_for_reading_alone(template: Template) -> None:
    async def main() -> set[int]:
        async with template.copy() as vm:
            return access_modes(vm.process.pid, template.path)

    modes = asyncio.run(asyncio.wait_for(main(), 90))
    assert modes == {os.O_RDONLY} if template.binary.path == QEMU10 else modes


def test_a_balloon_which_would_empty_the_file_is_refused(template: Template) -> None:
    before = template.digest()

    async def main() -> None:
        async with template.copy() as vm:
            assert Ability.BALLOON not in vm.capabilities()
            with pytest.raises(Unsupported, match="would empty the file"):
                await vm.plug(Balloon("b"))
            await vm.plug(Rng("r"))
            config = vm.config
            with pytest.raises(Unsupported, match="would empty the file"):
                await QemuVm(template.binary, config).plug(Balloon("b"))

    asyncio.run(asyncio.wait_for(main(), 90))
    assert template.digest() == before


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5], ids=str)  # its end is a description, which isn't needed
def test_a_state_that_was_cut_off_fails_and_leaves_nothing(template: Template, part: float) -> None:
    async def main() -> None:
        fd = os.open(template.path, os.O_RDONLY | os.O_CLOEXEC)
        vm = QemuVm(template.binary, template.config("cut-off", fd))
        try:
            with pytest.raises((SaveFailed, QemuError)) as error:
                await vm.clone(template.state[: int(len(template.state) * part)])
            assert str(error.value)
            assert vm.state is VmState.STOPPED
            assert processes_of("cut-off") == []
        finally:
            await vm.cleanup()
            os.close(fd)

    asyncio.run(asyncio.wait_for(main(), 90))


def test_a_copy_is_saved_whole_and_loaded_without_the_template(template: Template, tmp_path: Path) -> None:
    async def main() -> None:
        async with template.copy() as vm:
            count = await counting(vm)
            await vm.resume()
            await vm.plug(Rng("r"))
            await vm.save(tmp_path / "machine")
            assert vm.state is VmState.RUNNING
            config = vm.config
        again = QemuVm(template.binary, config)
        try:
            await again.load(tmp_path / "machine")
            assert await counting(again) >= count
            assert again.plugged == {"r": Rng("r")}
            assert again.config.memory_file == MemoryFile(None)
            await again.resume()
            await again.save(tmp_path / "again")
        finally:
            await again.cleanup()
        async with template.copy() as vm:  # and the template is still one
            assert await counting(vm) >= template.count

    asyncio.run(asyncio.wait_for(main(), 90))


def test_an_end_amid_the_load_is_told_and_leaves_nothing(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = QemuVm.launch

    async def launch_and_end(vm: QemuVm, **more: object) -> None:
        await launch(vm, **more)  # type: ignore[arg-type]  # what it is told, it passes on
        vm.process.kill()

    monkeypatch.setattr(QemuVm, "launch", launch_and_end)

    async def main() -> None:
        with pytest.raises(QemuError, match="SIGKILL"):
            async with template.copy("ends"):
                pass

    asyncio.run(asyncio.wait_for(main(), 90))
    assert processes_of("ends") == []


def test_a_machine_that_cannot_be_frozen_runs_on(template: Template) -> None:
    """QEMU has no way to save an NVMe controller, and says so."""

    async def main() -> None:
        fd = os.memfd_create("memory")
        os.truncate(fd, SIZE)
        vm = QemuVm(template.binary, template.config("blocked", fd, private=False))
        try:
            await vm.plug(Raw("odd", {"driver": "nvme", "serial": "1"}))
            await vm.start()
            before = await counting(vm)
            await vm.resume()
            for _ in range(2):  # nothing of the first time is in the way
                with pytest.raises(SaveFailed, match="nvme"):
                    await vm.freeze()
                assert vm.state is VmState.RUNNING
            while await counting(vm) <= before:
                await vm.resume()
        finally:
            await vm.cleanup()
            os.close(fd)

    asyncio.run(asyncio.wait_for(main(), 90))
