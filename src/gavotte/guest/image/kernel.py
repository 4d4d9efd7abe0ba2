"""The ELF vmlinux out of a bzImage, so that no boot has to decompress it.

Format: Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" (setup_sects, payload_offset,
payload_length).
"""

from __future__ import annotations

import struct

from gavotte.errors import ImageError
from gavotte.guest.image import elf

BOOT_SIGNATURE = b"HdrS"
PAYLOAD_SINCE = 0x0208  # the boot protocol that brought payload_offset


def loadable(image: bytes, *, architecture: str) -> bytes:
    """The form of a kernel that QEMU boots fastest; raises ImageError as `extract_vmlinux`.

    Only on amd64 is there something better than the package's file: elsewhere that is no archive, or, on s390x, one
    that prepares the machine before it unpacks itself.
    """
    return extract_vmlinux(image) if architecture == "amd64" else image


def extract_vmlinux(image: bytes) -> bytes:
    """The ELF kernel inside of `image`; an image that already is ELF is given back.

    Raises ImageError when there is none, or its compression isn't known.
    """
    if elf.is_elf(image):
        return image
    vmlinux = _decompress(_payload(image))
    if not elf.is_elf(vmlinux):
        raise ImageError("the kernel's payload is not an ELF file")
    return vmlinux


def _payload(image: bytes) -> bytes:
    if image[0x202:0x206] != BOOT_SIGNATURE:
        raise ImageError("the kernel is neither a bzImage nor an ELF file")
    (protocol,) = struct.unpack_from("<H", image, 0x206)
    if protocol < PAYLOAD_SINCE:
        raise ImageError(f"the kernel's boot protocol {protocol:#x} is too old: it doesn't say where its payload is")
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if len(payload) != length:
        raise ImageError("the kernel image is cut off")
    return payload


def _decompress(payload: bytes) -> bytes:
    """`payload` unpacked. Four bytes with the unpacked size follow most formats; the decompressors stop before them."""
    if payload.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        import lzma

        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        import zlib

        return zlib.decompressobj(wbits=31).decompress(payload)
    if payload.startswith(b"BZh"):
        import bz2

        return bz2.BZ2Decompressor().decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return _piped(["zstd", "-dcq"], payload[:-4])
    if payload.startswith(b"\x02\x21\x4c\x18"):
        return _piped(["lz4", "-dcq"], payload[:-4])
    if elf.is_elf(payload):
        return payload
    raise ImageError(f"the kernel's compression is not known (it begins with {payload[:6].hex()})")


def _piped(command: list[str], data: bytes) -> bytes:
    from gavotte.guest.image import tools

    return tools.run(command, stdin=data)
