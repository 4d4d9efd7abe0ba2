from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image import kernel
from tests.guest.image.making import an_elf

VMLINUX = an_elf({".text": bytes(range(256)) * 64})


def bzimage(payload: bytes) -> bytes:
    """A boot sector, setup code of two sectors, some decompressor, the payload."""
    head = bytearray(512 * 3)
    head[0x1F1] = 2
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x020F)
    struct.pack_into("<II", head, 0x248, 1000, len(payload))
    return bytes(head) + bytes(1000) + payload + b"behind"


def command(*argv: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(argv, input=data, stdout=subprocess.PIPE, check=True).stdout


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": command("zstd", "-qc"),
    "lz4": command("lz4", "-lqc"),
}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_the_payload_is_found_and_unpacked(name: str) -> None:
    if name in ("zstd", "lz4") and shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    payload = COMPRESSORS[name](VMLINUX) + struct.pack("<I", len(VMLINUX))
    assert kernel.extract_vmlinux(bzimage(payload)) == VMLINUX


def test_an_elf_kernel_is_taken_as_it_is() -> None:
    assert kernel.extract_vmlinux(VMLINUX) == VMLINUX


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"MZ" + bytes(2000), "neither a bzImage nor an ELF"),
        (bzimage(b"what is this"), "compression is not known"),
        (bzimage(lzma.compress(b"not ELF")), "not an ELF file"),
        (bzimage(lzma.compress(VMLINUX))[:1800], "cut off"),
    ],
)
def test_what_is_not_a_kernel_is_refused_with_the_reason(image: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        kernel.extract_vmlinux(image)
