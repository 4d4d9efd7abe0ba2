"""The root file system for another architecture, made without running its programs on this host.

Its packages are unpacked here, which makes a system that can run, though nothing in it is configured. A guest of that
architecture boots on it, has dpkg install the same packages properly, and hands out the result.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TypeAlias

from gavotte.errors import ImageError
from gavotte.guest.image import rootfs, tools
from gavotte.guest.image.apt import Apt
from gavotte.guest.image.deb import MERGED, merged
from gavotte.guest.image.find import ROOTFS_PACKAGES

Progress = Callable[[str, float | None], None]

Guest: TypeAlias = Callable[[Path, Path, Path, Sequence[str], Callable[[str], None]], AbstractContextManager[IO[bytes]]]
"""Runs a command in a guest of the image's architecture, made of kernel, initramfs and root file system.

The context gives the command's stdout, and its stderr line by line to the callback; leaving it raises ImageError if
the command failed.
"""

# apt takes itself for essential. usr-is-merged is the small one of two packages that serve the same dependency.
PACKAGES = ("?and(?essential, ?not(?exact-name(apt)))", "usr-is-merged", *ROOTFS_PACKAGES)
SPACE = 300 << 20  # bytes beside the finished image
PHASE = "configuring root file system in a guest"
ARCHIVES = "var/cache/apt/archives"  # also on amd64 nothing of it stays in the image

NOT_INSTALLED = tuple(f"usr/share/{name}/" for name in rootfs.NOT_INSTALLED)
EXCLUDED = (*(f"--path-exclude=/{name}*" for name in NOT_INSTALLED), "--path-include=/usr/share/locale/locale.alias")
CONFIGURE = f"""\
set -e
exec 3>&1 1>&2
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8
: >/var/lib/dpkg/status
: >/var/lib/dpkg/available
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
dpkg --force-depends --force-unsafe-io "$@" --install /{ARCHIVES}/*.deb
rm /usr/sbin/policy-rc.d /var/lib/dpkg/available
tar --create --one-file-system --numeric-owner --exclude=./{ARCHIVES}/* --directory=/ . >&3
"""


def build(out: Path, apt: Apt, kernel: Path, initrd: Path, guest: Guest, progress: Progress) -> dict[str, str]:
    """Make the root file system `out` with `guest`, which boots `kernel` and `initrd`; gives its packages' versions.

    Raises ImageError when a tool is missing or fails, or the guest does.
    """
    debs = apt.download(apt.candidates(apt.closure(PACKAGES)), "downloading packages", progress)
    raw = out.with_name("unconfigured")
    try:
        progress("unpacking packages", None)
        _unpack(debs, raw)
        lines = _Lines(len(debs), progress)
        command = ["sh", "-c", CONFIGURE, "configure", *EXCLUDED]
        with guest(kernel, initrd, raw, command, lines) as system:
            return rootfs.pack(system, out, progress)
    except tarfile.TarError as error:
        raise ImageError(f"the guest's tar stream broke off: {error}") from error
    finally:
        raw.unlink(missing_ok=True)


class _Lines:
    """What dpkg says, as progress: each package is prepared, unpacked and set up."""

    def __init__(self, packages: int, progress: Progress) -> None:
        self._steps, self._done, self._progress = 2 * packages, 0, progress
        progress(PHASE, 0.0)

    def __call__(self, line: str) -> None:
        if line.startswith(("Unpacking ", "Setting up ")):
            self._done += 1
            self._progress(PHASE, min(self._done / self._steps, 1.0))


def _unpack(debs: Sequence[Path], out: Path) -> None:
    """The files of all packages, and the packages themselves, as a squashfs."""
    options = ["-tar", "-comp", "zstd", "-Xcompression-level", "1", "-noappend", "-quiet", "-no-progress"]
    with tools.Child(["mksquashfs", "-", out, *options], stdin=subprocess.PIPE) as sink:
        try:
            with tarfile.open(fileobj=sink.stdin, mode="w|", format=tarfile.PAX_FORMAT) as system:
                _merge(debs, system)
                for deb in debs:
                    system.add(deb, f"./{ARCHIVES}/{deb.name}", filter=_of_root)
            sink.stdin.close()
        except BrokenPipeError:
            pass  # its own words say why
        sink.wait()


def _merge(debs: Iterable[Path], system: tarfile.TarFile) -> None:
    """Each file where it lies in a system with merged /usr. What two packages have, the first one gives."""
    written: set[str] = set()
    links: set[str] = set()
    for deb in debs:
        with tools.Child(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as child:
            with tarfile.open(fileobj=child.stdout, mode="r|") as files:
                for member in files:
                    own, name = member.name.removeprefix("./").rstrip("/"), merged(member.name)
                    links.update({own.split("/")[0]} & set(MERGED))
                    is_ours = name == "." or (member.issym() and own in MERGED)  # the root, and the links made below
                    if name in written or is_ours or name.startswith(NOT_INSTALLED):
                        continue
                    written.add(name)
                    member.name = f"./{name}"
                    if member.islnk():
                        member.linkname = f"./{merged(member.linkname)}"
                    system.addfile(member, files.extractfile(member) if member.isreg() else None)
            child.wait()
    for link in sorted(links):
        member = tarfile.TarInfo(f"./{link}")
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, f"usr/{link}", 0o777
        system.addfile(member)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
