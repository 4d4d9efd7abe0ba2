from __future__ import annotations

import io
import tarfile

import pytest

from gavotte.errors import ImageError
from gavotte.guest.image import rootfs
from tests.guest.image.making import quiet

STATUS = b"""\
Package: bash
Status: install ok installed
Version: 5.2.15-2+b7
Description: a shell
 Status: not this line

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def system(files: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        directory = tarfile.TarInfo("./usr/")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            info.uid = 42
            info.pax_headers = {"SCHILY.xattr.user.x": "kept"}
            archive.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


def test_traces_of_the_build_go_and_the_rest_is_copied() -> None:
    traces = {
        "etc/apt/sources.list.d/0000sources.list": b"deb http://mirror.example",
        "etc/apt/apt.conf.d/99mmdebstrap": b"Acquire::http::Proxy",
        "etc/hostname": b"builder",
        "etc/resolv.conf": b"nameserver 10.0.0.1",
        "etc/machine-id": b"abc",
        "var/lib/apt/lists/x": b"list",
    }
    out = io.BytesIO()
    versions = rootfs.repack(system({"usr/x": b"data", "var/lib/dpkg/status": STATUS, **traces}), out, quiet)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        content = {m.name: (archive.extractfile(m) or io.BytesIO()).read() for m in archive if m.isreg()}
        assert archive.getmember("./usr/x").uid == 42
        assert archive.getmember("./usr/x").pax_headers["SCHILY.xattr.user.x"] == "kept"
    assert versions == {"bash": "5.2.15-2+b7"}
    assert content == {
        "./usr/x": b"data",
        "./var/lib/dpkg/status": STATUS,
        **{f"./{name}": data for name, data in rootfs.REPLACED.items()},
    }


def test_a_system_without_packages_is_refused() -> None:
    with pytest.raises(ImageError, match="no package database"):
        rootfs.repack(system({"usr/x": b""}), io.BytesIO(), quiet)
