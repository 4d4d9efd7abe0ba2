from __future__ import annotations

import lzma
from pathlib import Path

from gavotte.guest.image import initramfs, modules
from gavotte.guest.image.deb import Files
from tests.guest.image.making import a_deb, a_module

TOP = "lib/modules/6.1/"
MODULES = {
    "modules.builtin": b"kernel/drivers/virtio/virtio_mmio.ko\nkernel/fs/ext2/ext2.ko\n",
    "kernel/drivers/virtio/virtio.ko": a_module(depends=""),
    "kernel/drivers/virtio/virtio_ring.ko": a_module(depends="virtio"),
    "kernel/drivers/block/virtio_blk.ko": a_module(depends="virtio_ring,virtio"),
    "kernel/fs/ext4.ko.xz": lzma.compress(a_module(depends="jbd2", softdep="pre: crc32c post: extra-thing")),
    "kernel/fs/jbd2.ko": a_module(depends=""),
    "kernel/fs/extra-thing.ko": a_module(depends=""),
    "kernel/crypto/crc32c_generic.ko": a_module(depends="", alias="crc32c"),
    "kernel/fs/9p/9p.ko": a_module(depends="", alias="fs-9p"),
    "kernel/net/virtio_net.ko": a_module(depends="virtio", alias="virtio:d00000001v*"),
    "kernel/a.ko": a_module(depends="b"),
    "kernel/b.ko": a_module(depends="a"),
}


def select(tmp_path: Path, *wanted: str) -> modules.Selection:
    package = a_deb(tmp_path, {TOP + name: data for name, data in MODULES.items()})
    with Files([package], tmp_path) as files:
        return modules.select(files, "6.1", wanted)


def names(selection: modules.Selection, wanted: str) -> list[str]:
    return [Path(path).stem for path in selection.order[wanted]]


def test_dependencies_come_first_and_once(tmp_path: Path) -> None:
    selection = select(tmp_path, "virtio_blk")
    assert names(selection, "virtio_blk") == ["virtio", "virtio_ring", "virtio_blk"]
    assert selection.order["virtio_blk"][0] == f"{TOP}kernel/drivers/virtio/virtio.ko"
    assert set(selection.content) == set(selection.order["virtio_blk"])


def test_soft_dependencies_are_loaded_too_also_by_a_crypto_alias(tmp_path: Path) -> None:
    selection = select(tmp_path, "ext4")
    assert names(selection, "ext4") == ["crc32c_generic", "jbd2", "ext4", "extra-thing"]


def test_a_compressed_module_is_packed_plain(tmp_path: Path) -> None:
    assert select(tmp_path, "ext4").content[f"{TOP}kernel/fs/ext4.ko"].startswith(b"\x7fELF")


def test_a_built_in_module_needs_nothing_and_a_missing_one_is_recorded(tmp_path: Path) -> None:
    selection = select(tmp_path, "virtio_mmio", "ext2", "nonsense")
    assert selection.order == {"virtio_mmio": [], "ext2": []}
    assert selection.missing == ["nonsense"]


def test_a_dependency_cycle_ends(tmp_path: Path) -> None:
    assert sorted(names(select(tmp_path, "a"), "a")) == ["a", "b"]


def test_a_module_is_found_by_the_devices_that_it_drives(tmp_path: Path) -> None:
    selection = select(tmp_path, "virtio_net", "9p")
    found = initramfs.device_aliases(selection)
    assert found["aliases"] == [("virtio:d00000001v*", "virtio:d00000001v", "virtio_net")]
    assert found["order"] == selection.order


def test_the_kernel_finds_a_module_by_what_it_asks_for(tmp_path: Path) -> None:
    lines = initramfs.kernel_aliases(select(tmp_path, "virtio_net", "9p", "ext4")).decode().splitlines()
    asked = dict(line.split(" ", 1) for line in lines)
    assert asked["fs_9p"] == asked["9p"] == f"{TOP}kernel/fs/9p/9p.ko"
    assert asked["crc32c"] == f"{TOP}kernel/crypto/crc32c_generic.ko"  # which ext4 brought
    assert [Path(path).stem for path in asked["ext4"].split()] == ["crc32c_generic", "jbd2", "ext4", "extra-thing"]
    assert not any(":" in alias for alias in asked)
