"""`python -m tools.newer_qemu DIRECTORY`: unpack the QEMU of the host's backports suite, for tests beside its own.

Nothing is installed. The libraries that it is linked with are those of the host's QEMU package.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from gavotte.errors import HostError
from gavotte.guest.image import sources
from gavotte.guest.image.apt import Apt
from gavotte.guest.image.find import default_suite

PACKAGES = ("qemu-system-common", "qemu-system-data", "qemu-system-x86", "seabios")
PROGRAM = "usr/bin/qemu-system-x86_64"

# Where QEMU looks for modules and firmware first (get_relocated_path in its util/cutils.c). Without it, it would take
# those of the host's own QEMU, and end over them.
BUNDLE = "usr/bin/qemu-bundle"

# The host's own do: network cards want them, and they come with the host's QEMU.
BOOT_ROMS = "usr/lib/ipxe"


def main(argv: list[str]) -> int:
    """Unpack, unless it is there already; gives the exit status."""
    if len(argv) != 1:
        print("usage: python -m tools.newer_qemu DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(argv[0]).absolute()
    if not (directory / PROGRAM).exists():
        unpack(default_suite(), directory)
    print(directory / PROGRAM)
    return 0


def unpack(suite: str, directory: Path) -> None:
    """The packages of `suite`'s backports, in `directory`, which appears only when it is complete."""
    archive = next(source for source in sources.choose(suite) if source.suite == suite)
    backports = sources.Source(archive.uri, f"{suite}-backports", archive.keyring)
    with tempfile.TemporaryDirectory(prefix="gavotte-qemu-", dir=directory.parent) as scratch:
        apt = Apt(Path(scratch, "apt"), [backports], architecture="amd64")
        apt.update(quiet)
        draft = Path(scratch, "root")
        for deb in apt.download(apt.candidates(PACKAGES), "downloading", quiet):
            subprocess.run(["dpkg-deb", "-x", deb, draft], check=True, timeout=120)
        (draft / BUNDLE).symlink_to("../..")
        (draft / BOOT_ROMS).symlink_to(f"/{BOOT_ROMS}")
        if not starts(draft / PROGRAM):
            raise HostError("the unpacked QEMU doesn't start", hint="apt-get install qemu-system-x86, for libraries")
        os.replace(draft, directory)  # noqa: PTH105  # a directory that isn't there yet


def starts(program: Path) -> bool:
    return subprocess.run([program, "--version"], capture_output=True, check=False, timeout=60).returncode == 0


def quiet(_phase: str, _done: float | None) -> None:
    """Nobody watches: make prints what it runs."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
