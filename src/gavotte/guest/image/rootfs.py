"""The built-in root file system: a minimal Debian made by mmdebstrap, packed as squashfs."""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from gavotte.errors import ImageError
from gavotte.guest.image import apt, tools
from gavotte.guest.image.cache import SCRATCH
from gavotte.guest.image.find import ROOTFS_PACKAGES

Progress = Callable[[str, float | None], None]

EXPECTED_SIZE = 183 << 20  # bytes of the tar stream; only the progress bar depends on it
SPACE = 500 << 20  # bytes that mmdebstrap needs in the scratch directory
SCRATCH_PREFIX = "gavotte-rootfs-"

NOT_INSTALLED = ("doc", "info", "lintian", "linda", "locale", "man")  # below /usr/share
DROPPED = (
    "etc/apt/apt.conf.d/99mmdebstrap",  # this host's proxy
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/",
    "var/cache/apt/",
    "var/cache/debconf/templates.dat-old",
    "var/cache/debconf/config.dat-old",
    "var/lib/apt/lists/",
    "var/log/",
)
DROPPED_BELOW = tuple(name for name in DROPPED if name.endswith("/"))
REPLACED = {
    "etc/hostname": b"gavotte\n",
    "etc/hosts": b"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "etc/machine-id": b"",
    "etc/resolv.conf": b"",
}
DPKG_STATUS = "var/lib/dpkg/status"

# 64 KiB blocks: a random read under emulation pays for a whole block. Level 9 costs two seconds and saves 3 MB over 3.
SQUASHFS_OPTIONS = (
    "-tar -comp zstd -Xcompression-level 9 -b 64K -noappend -quiet -no-progress -root-mode 755 -mkfs-time 0"
)


def mode() -> str:
    """How mmdebstrap can work here: `root`, or `unshare` with a user namespace. Raises ImageError with the remedy."""
    if os.geteuid() == 0:
        return "root"
    name = pwd.getpwuid(os.geteuid()).pw_name
    tools.require("newuidmap")
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        owners = [line.partition(":")[0] for line in path.read_text().splitlines()] if path.exists() else []
        if name not in owners and str(os.geteuid()) not in owners:
            raise ImageError(
                f"{path} gives user {name} no ids, so that a root file system can't be built without root",
                hint=f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}",
            )
    try:
        tools.run(["unshare", "--user", "true"], deadline=10)
    except ImageError as error:
        raise ImageError(
            "this user may not make user namespaces here, so that a root file system can't be built without root",
            hint="allow them (sysctl user.max_user_namespaces), or build the image as "
            "root or elsewhere: `gavotte image export` there, `gavotte image import` here",
        ) from error
    return "unshare"


def build(out: Path, suite: str, packages: apt.Apt, *, architecture: str, progress: Progress) -> dict[str, str]:
    """Make the root file system `out` and give the version of each package in it.

    Raises ImageError when a tool is missing or fails; the archives named by `packages` have to be reachable.
    """
    how = mode()
    with _scratch(out.parent) as scratch:
        command = _mmdebstrap(how, suite, packages, architecture, scratch)
        progress("building root file system", None)
        environment = {**tools.environment(), "TMPDIR": str(scratch)}
        with tools.Child(command, stdout=subprocess.PIPE, env=environment) as source:
            try:
                versions = pack(source.stdout, out, progress)
            except tarfile.TarError as error:
                source.wait()  # it has failed: its own words are better than ours
                raise ImageError(f"the root file system's tar stream broke off: {error}") from error
            source.wait()
    return versions


def pack(source: IO[bytes], out: Path, progress: Progress) -> dict[str, str]:
    """Make the root file system `out` of a Debian system's tar stream; gives the version of each package in it.

    Raises ImageError when it can't be written, tarfile.TarError for a stream that breaks off.
    """
    with tools.Child(["mksquashfs", "-", out, *SQUASHFS_OPTIONS.split()], stdin=subprocess.PIPE) as sink:
        try:
            versions = repack(source, sink.stdin, progress)
            sink.stdin.close()
        except BrokenPipeError as error:
            sink.wait()
            raise ImageError(f"the root file system's tar stream broke off: {error}") from error
        sink.wait()
    return versions


def repack(source: IO[bytes], sink: IO[bytes], progress: Progress) -> dict[str, str]:
    """Copy the tar stream of a Debian system without the traces of where it was built; gives its packages' versions."""
    status = b""
    shown = 0.0
    with (
        tarfile.open(fileobj=source, mode="r|") as system,
        tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as out,
    ):
        for member in system:
            name = member.name.removeprefix("./").rstrip("/")
            if name in REPLACED or name in DROPPED or name.startswith(DROPPED_BELOW):
                continue
            content = system.extractfile(member) if member.isreg() else None
            if name == DPKG_STATUS and content:
                status = content.read()
                content = io.BytesIO(status)
            out.addfile(member, content)
            done = min(member.offset / EXPECTED_SIZE, 0.99)
            if done >= shown:
                progress("packing root file system", done)
                shown = done + 0.01
        for name, data in REPLACED.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            info.mode = 0o644
            out.addfile(info, io.BytesIO(data))
    if not status:
        raise ImageError("the root file system has no package database: mmdebstrap broke off")
    return _versions(status.decode())


def discard_scratch(path: Path) -> None:
    """Delete what a dead builder left in its scratch directory."""
    if not path.name.startswith(SCRATCH_PREFIX) or not path.is_dir() or path.stat().st_uid != os.geteuid():
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists() and os.geteuid() != 0:  # files of the user namespace's ids: only from inside of one
        with contextlib.suppress(ImageError):
            tools.run(["mmdebstrap", "--unshare-helper", "rm", "-rf", "--", path], deadline=60)
        shutil.rmtree(path, ignore_errors=True)


def scratch_parent() -> Path:
    """Where scratch directories are made: on disk rather than in memory, and open to other user ids."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp")


@contextlib.contextmanager
def _scratch(draft: Path) -> Iterator[Path]:
    """A directory that a user namespace can reach, which the home directory often isn't; known to the draft."""
    path = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=scratch_parent()))
    try:
        (draft / SCRATCH).symlink_to(path)
        path.chmod(0o755)
        yield path
    finally:
        discard_scratch(path)
        (draft / SCRATCH).unlink(missing_ok=True)


def _mmdebstrap(how: str, suite: str, packages: apt.Apt, architecture: str, scratch: Path) -> list[str]:
    sources = scratch / "sources.list"
    shutil.copyfile(packages.sources_list, sources)
    settings = scratch / "acquire.conf"
    settings.write_text("\n".join([*apt.host_acquire_settings(), 'Acquire::Languages "none";', ""]))
    # As root, namespaces of our own: nothing stays mounted or running when mmdebstrap is killed.
    contained = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--"] if how == "root" else []
    return [
        *contained,
        "mmdebstrap",
        f"--mode={how}",
        "--variant=essential",
        f"--architectures={architecture}",
        f"--include={','.join(ROOTFS_PACKAGES)}",
        "--format=tar",
        f"--aptopt={settings}",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in NOT_INSTALLED),
        "--dpkgopt=path-include=/usr/share/locale/locale.alias",
        suite,
        "-",
        str(sources),
    ]


def _versions(status: str) -> dict[str, str]:
    """Installed packages and versions of a dpkg status file (deb822)."""
    versions = {}
    for stanza in status.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in stanza.splitlines() if not line.startswith(" "))
        if fields.get("Status", "").endswith(" installed"):
            versions[fields["Package"]] = fields["Version"]
    return versions
