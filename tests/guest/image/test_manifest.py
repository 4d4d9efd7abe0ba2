from __future__ import annotations

import json
from typing import Any

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image.manifest import Manifest
from tests.guest.image.making import an_image


def test_what_is_encoded_is_decoded() -> None:
    manifest = an_image(left_out=("asyncio", "xml.dom")).manifest
    assert Manifest.decode(manifest.encode()) == manifest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("created",), "now"),
        (("base_length",), 1 << 60),
        (("base_length",), True),
        (("python", "loader"), "../../bin/sh"),
        (("python", "executable"), "/bin/sh"),
        (("python", "tag"), "x\n"),
        (("python", "left_out"), "a/../b"),
        (("recipe", "rootfs_packages"), "python3"),
        (("files", "vmlinux", "size"), -1),
        (("files", "vmlinux", "sha256"), "0"),
        (("files", "../evil"), {"size": 1, "sha256": "0" * 64}),
        (("rootfs_versions", "a b"), "1"),
        (("rootfs_versions", "a"), "1\n"),
        (("rootfs_versions", "a"), "1\n2"),
        (("rootfs_versions", "z"), ""),
        (("rootfs_versions", "a"), "x/../y"),
        (("rootfs_versions", "a"), 1),
        (("files",), None),
    ],
)
def test_a_value_out_of_bounds_is_refused(path: tuple[str, ...], value: Any) -> None:
    raw = json.loads(an_image().manifest.encode())
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(ImageError, match="manifest is damaged"):
        Manifest.decode(json.dumps(raw).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ImageError, match="manifest is damaged"):
        Manifest.decode(text)
