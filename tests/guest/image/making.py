"""Small stand-ins for the large things an image is made of: real files in the real formats."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import replace
from pathlib import Path

from gavotte.guest.image import cache, cpio, find
from gavotte.guest.image.manifest import INITRD, KERNEL, ROOTFS, Manifest, Python

MAGIC_OF_NOBODY = "00000000"


def quiet(_phase: str, _fraction: float | None) -> None:
    """A progress that nobody looks at."""


def an_elf(sections: dict[str, bytes], order: str = "<") -> bytes:
    """A 64-bit ELF file with nothing but sections, in the byte `order` of `struct`."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    body, headers = b"", [struct.pack(f"{order}IIQQQQIIQQ", *[0] * 10)]
    for name, data in [*sections.items(), (".shstrtab", names)]:
        offset = 64 + len(body)
        name_at = names.index(b"\0" + name.encode() + b"\0") + 1
        headers.append(struct.pack(f"{order}IIQQQQIIQQ", name_at, 1, 0, 0, offset, len(data), 0, 0, 1, 0))
        body += data
    start = struct.pack(
        f"{order}16sHHIQQQIHHHHHH",
        b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01",
        1,
        62,
        1,
        0,
        0,
        64 + len(body),
        0,
        64,
        0,
        0,
        64,
        len(headers),
        len(headers) - 1,
    )
    return start + body + b"".join(headers)


def a_module(order: str = "<", **info: str) -> bytes:
    """A kernel module that says `info` of itself."""
    return an_elf({".modinfo": b"".join(f"{key}={value}".encode() + b"\0" for key, value in info.items())}, order)


def a_deb(directory: Path, files: dict[str, bytes | str], *, name: str = "thing") -> Path:
    """A package with `files`; a str is a link's target."""
    tree = directory / f"{name}-tree"
    for path, content in {"DEBIAN/control": _control(name), **files}.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.symlink_to(content)
        else:
            target.write_bytes(content)
    deb = directory / f"{name}.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, deb], check=True, stdout=subprocess.DEVNULL)
    return deb


def an_image(
    *,
    suite: str = "bookworm",
    arch: str | None = None,
    agent: str = "",
    created: float = 1000.0,
    left_out: tuple[str, ...] = (),
    magic: str = MAGIC_OF_NOBODY,
) -> cache.Image:
    """A tiny image put into the cache as a builder does it; with `agent` it isn't current."""
    with cache.lock(quiet), cache.draft() as draft:
        (draft / KERNEL).write_bytes(b"kernel" * 100)
        with (draft / INITRD).open("wb") as out:
            length = cpio.write(out, {"init": cpio.file(b"#!/nothing", executable=True)})
            cpio.write(out, {"agent.py": cpio.file(b"raise SystemExit")})
        (draft / ROOTFS).write_bytes(b"rootfs" * 100)
        recipe = find.current_recipe(suite, arch)
        manifest = Manifest(
            created=created,
            recipe=replace(recipe, agent=agent) if agent else recipe,
            kernel_release="6.1.0-1-amd64",
            base_length=length,
            python=Python("usr/bin/python3.11", "usr/lib64/ld.so", "usr/lib", "cpython-311", magic, left_out),
            missing_modules=(),
            initramfs_versions={"libc6": "2.36-9+deb12u14"},
            rootfs_versions={"bash": "5.2.15-2+b7", "zlib1g": "1:1.2.13.dfsg-1"},
            files={name: cache.file_info(draft / name) for name in (KERNEL, INITRD, ROOTFS)},
        )
        return cache.publish(draft, manifest)


def _control(name: str) -> bytes:
    fields = {
        "Package": name,
        "Version": "1",
        "Architecture": "all",
        "Maintainer": "nobody <n@example.org>",
        "Description": "x",
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items()).encode()
