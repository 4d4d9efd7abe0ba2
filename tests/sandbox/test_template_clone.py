"""What one template serves: sizes, devices in the places of latent ones, growth; and what boots for real instead."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gavotte.errors import UsageError
from gavotte.guest.image import Image
from gavotte.hypervisor.devices import Balloon, Device, Disk, Nic, Passt, Port, Rng, Share, Stream, Tap, User, VmGenId
from gavotte.hypervisor.qemu.plan import machine_row
from gavotte.qemu.binary import find_qemu
from gavotte.sandbox.artifacts import Artifacts, artifacts
from gavotte.sandbox.lifecycle import AsyncSandbox
from gavotte.sandbox.spec import make_spec
from gavotte.sandbox.template.find import wanted_template
from gavotte.sandbox.template.layout import Layout, kind_of, layout_for, why_not
from tests.support.leaks import exempt
from tests.support.programs import SOURCES
from tests.support.schemas import schema_for
from tests.support.templates import own_cache, templates_in

MIB = 1 << 20
DEADLINE = 100.0


# --- which template, and whether there can be one ---------------------------------------------------------------------


def layout(**options: Any) -> Layout:
    return layout_for(make_spec(**options))


def test_sizes_of_every_day_and_all_devices_share_one_layout() -> None:
    card = Nic("n", User())
    same = {
        layout(memory="256M", slots=1),
        layout(memory="257M", cpus=4, slots=8),
        layout(memory="2G", cpus=3, devices=[Disk("d", Path("/d"))]),
        layout(memory="1G", max_memory="16G", max_cpus=4, devices=[card, Share("s", Path("/")), Share("t", Path("/"))]),
    }
    assert len(same) == 1
    assert layout(memory="256M").nic == 0  # what has no devices has no places for them, and starts faster


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"cpus": 5}, "cpus", 8),
        ({"max_cpus": 9}, "cpus", 16),
        ({"max_memory": "17G"}, "max_memory", 32 << 30),
        ({"slots": 9}, "slots", 16),
        ({"devices": [Disk(f"d{n}", Path("/d")) for n in range(3)]}, "disk", 4),
        ({"devices": [Nic(f"n{n}", User()) for n in range(2)]}, "nic", 2),
        ({"devices": [Share(f"s{n}", Path("/")) for n in range(5)]}, "share", 8),
        ({"memory": "300M"}, "memory", 256 * MIB),
        ({"memory": "512M", "cpus": 2}, "memory", 512 * MIB),
        ({"memory": "512M", "cpus": 2}, "cpus", 4),
    ],
    ids=str,
)
def test_what_asks_for_more_than_is_usual_gets_a_larger_layout(options: dict[str, Any], field: str, value: int) -> None:
    assert getattr(layout(**options), field) == value


@pytest.mark.parametrize("options", [{}, {"memory": "512M", "cpus": 1}])
def test_what_asks_for_nothing_gets_a_layout_with_room_for_nothing(options: dict[str, Any]) -> None:
    assert layout(**options) == Layout(memory=512 * MIB, max_memory=0, cpus=1)


@pytest.mark.parametrize("options", [{"cpus": 2}, {"max_cpus": 2}, {"max_memory": "1G"}, {"memory": "511M"}])
def test_what_asks_for_anything_gets_a_layout_that_many_share(options: dict[str, Any]) -> None:
    assert (layout(**options).cpus, layout(**options).max_memory) == (4, 16 << 30)


def test_devices_sit_in_the_places_of_their_kind_and_the_rest_stays_latent() -> None:
    share, disk = Share("s", Path("/")), Disk("d", Path("/d"))
    seated = list(layout(devices=[share, disk]).seated([share, disk]))
    assert [(kind_of(each), each.id) for each in seated] == [
        ("disk", "d"),
        ("disk", "latent-disk1"),
        ("nic", "latent-nic0"),
        ("share", "s"),
        ("share", "latent-share1"),
    ]


@pytest.mark.parametrize(
    "device",
    [
        Balloon("b"),
        VmGenId("v"),
        Rng("r"),
        Port("p", "org.test"),
        Disk("d", Path("/d"), bus="virtio-scsi"),
        Share("s", Path("/"), kind="virtiofs"),
        Nic("n", Tap((1, 2))),
        Nic("n", Tap((1,), (2,))),
    ],
    ids=lambda device: type(device).__name__,
)
def test_a_device_that_no_template_has_a_place_for_is_a_reason_to_boot(device: Device) -> None:
    assert repr(device.id) in why_not(make_spec(devices=[device]))


@pytest.mark.parametrize("net", [User(), Stream(3), Passt(), Tap((3,))], ids=lambda net: type(net).__name__)
def test_a_card_of_one_queue_is_none(net: User | Stream | Passt | Tap) -> None:
    assert why_not(make_spec(devices=[Nic("n", net)])) == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"cold": True}, "as asked for"),
        ({"append": "loglevel=7"}, "kernel options of its own"),
        ({"initrd": __file__}, "an initramfs"),
        ({"kernel": "KERNEL"}, "it has a kernel"),
        ({"shared_memory": True}, "shared with other processes"),
        ({"machine": "microvm"}, "a machine microvm"),
        ({"devices": [Balloon("b")]}, "no place for the device 'b'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_copied_says_why_before_anything_is_looked_for(
    options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"\x7fELF" + bytes(1000))
    given: dict[str, Any] = {key: kernel if value == "KERNEL" else value for key, value in options.items()}
    spec = make_spec(**given)
    binary = find_qemu()
    files = Artifacts(kernel, kernel, kernel)
    wanted, why = wanted_template(spec, "tcg", binary, files, schema_for(binary.path))
    assert wanted is None
    assert reason in why


@pytest.mark.vm
def test_a_template_is_for_one_image_one_binary_and_one_size(image: Image, tmp_path: Path) -> None:
    binary = find_qemu()
    files = artifacts(image)
    other = Artifacts(files.kernel, files.initrd, tmp_path / "rootfs")

    def key(files: Artifacts, **options: Any) -> str:
        wanted, why = wanted_template(make_spec(**options), "tcg", binary, files, schema_for(binary.path))
        assert wanted is not None, why
        return wanted.key

    same = key(files, memory="256M", slots=1)
    assert key(files, memory="2G", cpus=3, slots=2, name="another", keep=True) == same
    assert key(files, devices=[Nic("n", User())], memory="300M") == same
    assert len({same, key(other, memory="256M", slots=1), key(files, slots=1), key(files, memory="256M")}) == 4
    assert machine_row("x86_64", "q35").clones


# --- two copies of one template ---------------------------------------------------------------------------------------


@dataclass
class Lab:
    """A small copy with nothing in its places, and a large one with something in each; both of one template."""

    runner: asyncio.Runner
    small: AsyncSandbox
    large: AsyncSandbox
    folder: Path

    def tell(self, story: Callable[[], Awaitable[None]]) -> None:
        async def told() -> None:
            async with asyncio.timeout(DEADLINE):
                await story()

        self.runner.run(told())


@pytest.fixture(scope="module")
def lab(image: Image, run_directory: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "one.img").write_bytes(b"the first disk".ljust(3 * MIB, b"."))
    (folder / "two.img").write_bytes(b"the second disk".ljust(5 * MIB, b"."))
    for name in ("rw", "ro"):
        (folder / name).mkdir()
        (folder / name / "hello").write_text(f"from {name}")
    devices: list[Device] = [
        Share("writable", folder / "rw", tag="a tag"),
        Disk("one", folder / "one.img", "serial-one"),
        Nic("net", User(restrict=True), "52:54:00:12:34:56"),
        Disk("two", folder / "two.img", "serial-two", read_only=True),
        Share("readable", folder / "ro", read_only=True),
    ]
    small = AsyncSandbox(accel="tcg", memory="256M", slots=2, max_cpus=3, max_memory="1G")
    large = AsyncSandbox(accel="tcg", memory="2G", cpus=3, devices=devices)

    async def begin() -> None:
        await asyncio.gather(small.start(), large.start())

    async def end() -> None:
        await asyncio.gather(small.close(), large.close())

    with asyncio.Runner() as runner:
        try:
            with exempt():
                runner.run(begin())
            yield Lab(runner, small, large, folder)
        finally:
            runner.run(end())


async def sh(box: AsyncSandbox, script: str) -> str:
    result = await box.run(["sh", "-ec", script], timeout=60)
    return result.check().stdout.decode()


async def memory_of(box: AsyncSandbox) -> int:
    """MemTotal, in MiB."""
    return int((await sh(box, "cat /proc/meminfo")).split()[1]) >> 10


@pytest.mark.vm
def test_one_template_serves_both_sizes(lab: Lab) -> None:
    async def story() -> None:
        assert lab.small.template == lab.large.template != ""
        assert (lab.small.cold_reason, lab.large.cold_reason) == ("", "")
        assert (await sh(lab.small, "nproc"), await sh(lab.large, "nproc")) == ("1\n", "3\n")
        assert 150 < await memory_of(lab.small) < 256
        assert 1900 < await memory_of(lab.large) <= 2048
        assert (await lab.large.vm.memory()).total == 2048 * MIB
        assert lab.large.root_size > 800 * MIB > lab.small.root_size

    lab.tell(story)


@pytest.mark.vm
def test_memory_that_a_copy_was_given_can_be_used(lab: Lab) -> None:
    async def story() -> None:
        filled = await sh(lab.large, "head -c 200M /dev/zero > /root/fill; stat -c %s /root/fill; rm /root/fill")
        assert filled == f"{200 * MIB}\n"
        for path in ("/dev/shm/fill", "/run/fill"):
            shared = await sh(lab.large, f"head -c 400M /dev/zero > {path}; stat -c %s {path}; rm {path}")
            assert shared == f"{400 * MIB}\n"
        assert "nosuid,nodev" in await sh(lab.large, "grep ' /dev/shm ' /proc/mounts")

    lab.tell(story)


@pytest.mark.vm
def test_what_is_still_latent_does_not_show(lab: Lab) -> None:
    async def story() -> None:
        assert await sh(lab.small, "ls /sys/class/net; ls -d /dev/vd* 2>/dev/null || echo none") == "lo\nnone\n"
        assert (await sh(lab.small, "ls /sys/block")).split() == ["vda"]  # the root's own
        assert lab.small.vm.plugged == {}

    lab.tell(story)


@pytest.mark.vm
def test_disks_have_their_own_content_size_and_name(lab: Lab) -> None:
    script = """
        for name in serial-one serial-two; do
            node=$(readlink -f /dev/disk/by-id/virtio-$name)
            head -c 15 $node | tr -d .
            echo " $(cat /sys/block/${node##*/}/size) $(cat /sys/block/${node##*/}/ro)"
        done
        echo written | dd of=/dev/disk/by-id/virtio-serial-one conv=notrunc oflag=sync status=none
        ! echo denied 2>/dev/null >/dev/disk/by-id/virtio-serial-two
    """

    async def story() -> None:
        assert await sh(lab.large, script) == f"the first disk {3 * MIB // 512} 0\nthe second disk {5 * MIB // 512} 1\n"
        assert (lab.folder / "one.img").read_bytes()[:10] == b"written\nt "
        assert (lab.folder / "two.img").read_bytes()[:15] == b"the second disk"

    lab.tell(story)


@pytest.mark.vm
def test_shares_are_mounted_by_their_tags(lab: Lab) -> None:
    script = """
        mkdir -p /mnt/w /mnt/r
        mount -t 9p -o trans=virtio,version=9p2000.L 'a tag' /mnt/w
        mount -t 9p -o trans=virtio,version=9p2000.L readable /mnt/r
        cat /mnt/w/hello /mnt/r/hello
        echo back > /mnt/w/answer
        ! touch /mnt/r/denied 2>/dev/null
        umount /mnt/w /mnt/r
    """

    async def story() -> None:
        assert await sh(lab.large, script) == "from rwfrom ro"
        assert (lab.folder / "rw/answer").read_text() == "back\n"

    lab.tell(story)


@pytest.mark.vm
def test_a_card_has_its_address_and_comes_up(lab: Lab) -> None:
    code = """
import fcntl, pathlib, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    def request(number, data):
        fcntl.ioctl(control, number, struct.pack("16s24s", b"eth0", data))
    request(0x8914, struct.pack("=H", 0x1043))
    for number, address in (0x8916, "10.0.2.15"), (0x891C, "255.255.255.0"):
        request(number, struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(address)))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    known = []
    while not known or known[3] == "00:00:00:00:00:00":  # until the gateway has said where it is
        probe.sendto(b"x", ("10.0.2.2", 9))
        lines = pathlib.Path("/proc/net/arp").read_text().splitlines()
        known = next((line.split() for line in lines if line.startswith("10.0.2.2 ")), [])
print(pathlib.Path("/sys/class/net/eth0/address").read_text().strip())
print(known[3])
"""

    async def story() -> None:
        result = await lab.large.run(["python3", "-c", code], timeout=60)
        address, found = result.check().stdout.decode().splitlines()
        assert address == "52:54:00:12:34:56"
        assert found.startswith("52:55:")  # slirp's

    lab.tell(story)


@pytest.mark.vm
def test_a_copy_takes_a_device_into_a_slot_and_gives_it_back(lab: Lab) -> None:
    wait = "until test -e /dev/disk/by-id/virtio-plugged; do :; done; head -c 14 /dev/disk/by-id/virtio-plugged"

    async def story() -> None:
        disk = Disk("extra", lab.folder / "two.img", "plugged", read_only=True)
        await lab.small.plug(disk)
        assert lab.small.vm.plugged == {"extra": disk}
        assert len(await sh(lab.small, wait)) == 14
        await lab.small.unplug("extra")
        assert lab.small.vm.plugged == {}
        assert (await sh(lab.small, "ls /sys/block")).split() == ["vda"]
        assert lab.small.vm.state.value == "running"

    lab.tell(story)


@pytest.mark.vm
def test_a_copy_grows_and_shrinks_within_its_bounds(lab: Lab) -> None:
    async def story() -> None:
        before = await memory_of(lab.small)
        size = await lab.small.resize(cpus=3, memory="512M")
        assert size.cpus == 3
        assert await sh(lab.small, "nproc") == "3\n"
        assert before + 200 < await memory_of(lab.small) <= 512
        size = await lab.small.resize(cpus=1, memory="256M")
        assert size.cpus == 1
        assert await memory_of(lab.small) == before

    lab.tell(story)


@pytest.mark.vm
@pytest.mark.parametrize("bad", [{"cpus": 4}, {"memory": "2G"}], ids=str)
def test_what_the_template_has_more_than_was_asked_for_is_not_the_copys(lab: Lab, bad: dict[str, Any]) -> None:
    async def story() -> None:
        with pytest.raises(UsageError):
            await lab.small.resize(**bad)
        assert await sh(lab.small, "nproc") == "1\n"

    lab.tell(story)


@pytest.mark.vm
def test_a_kept_copy_goes_on_under_another_manager(lab: Lab) -> None:
    name = f"kept-copy-{os.getpid()}"

    async def story() -> None:
        box = AsyncSandbox(accel="tcg", memory="256M", cpus=2, slots=2, name=name, keep=True)
        await box.start()
        template = box.template
        try:
            assert template == lab.small.template
            await box.spawn(["sleep", "4242"])
            await sh(box, "echo kept > /root/kept")
            await box.detach()
            box = await AsyncSandbox.attach(name)
            assert [process.argv for process in box.commands.values()] == [["sleep", "4242"]]
            assert await sh(box, "cat /root/kept; hostname; nproc") == f"kept\n{name}\n2\n"
            await box.plug(Rng("r"))
            assert box.template == template
        finally:
            await box.close()

    lab.tell(story)


# --- the first start --------------------------------------------------------------------------------------------------

STARTS = """
import asyncio, json, logging, sys
from gavotte.sandbox.lifecycle import AsyncSandbox

class Notes(logging.Handler):
    def emit(self, record):
        notes.append(record.getMessage())

notes = []
logging.getLogger("gavotte").addHandler(Notes())

async def start():
    async with AsyncSandbox(accel="tcg", memory="256M", max_cpus=5) as box:
        result = await box.run(["nproc"])
        return box.template, result.stdout.decode()

async def main():
    print(json.dumps([await asyncio.gather(*(start() for _ in range(5))), notes]))

asyncio.run(main())
"""


@pytest.mark.vm
def test_of_ten_first_starts_in_two_processes_one_builds_a_larger_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, image: Image
) -> None:
    cache = own_cache(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(cache))
    caplog.set_level(logging.WARNING, "gavotte")

    async def start() -> tuple[str, str]:
        async with AsyncSandbox(accel="tcg", memory="256M", max_cpus=5) as box:
            return box.template, await sh(box, "nproc")

    async def story() -> list[tuple[str, str]]:
        async with asyncio.timeout(2 * DEADLINE):
            return await asyncio.gather(*(start() for _ in range(5)))

    env = {**os.environ, "PYTHONPATH": SOURCES}
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, env=env) as other:
        found = asyncio.run(story())
        out, _ = other.communicate(timeout=2 * DEADLINE)
    others, notes = json.loads(out)
    (key,) = templates_in(cache / "gavotte/templates")
    assert found + [tuple(other) for other in others] == [(key, "1\n")] * 10
    told = [record.getMessage() for record in caplog.records if record.name == "gavotte"] + notes
    assert len([note for note in told if note.startswith("building a template")]) == 1
    assert len([note for note in told if note.startswith("waiting for process ")]) == len(told) - 1
