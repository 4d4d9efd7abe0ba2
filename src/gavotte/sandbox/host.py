"""What this host can do for sandboxes, and how to get what it lacks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gavotte.errors import GavotteError
from gavotte.guest.image import Image, find_image
from gavotte.qemu.binary import QemuBinary, find_program, find_qemu
from gavotte.qemu.schema import get_schema
from gavotte.sandbox.accel import KVM, choose_accel, expected_accel, probe
from gavotte.sandbox.artifacts import Artifacts, artifacts
from gavotte.sandbox.spec import make_spec
from gavotte.sandbox.store import run_root
from gavotte.sandbox.strays import find_strays
from gavotte.text import rough_size

__all__ = ["Finding", "examine"]

_OLD_IMAGE = 30 * 86400.0
_BUILD_TOOLS = {"mmdebstrap": "mmdebstrap", "mksquashfs": "squashfs-tools", "dpkg-deb": "dpkg", "apt-get": "apt"}
_TCG_PATIENCE = 4.0  # emulation boots in seconds what KVM boots in tenths


@dataclass(frozen=True)
class Finding:
    """One line: `ok` is True, False, or None for what is neither; `needed` says whether `run` depends on it."""

    name: str
    ok: bool | None
    text: str
    remedy: str = ""
    needed: bool = False

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


async def examine(*, qemu: str | None = None, probe_again: bool = False) -> list[Finding]:
    """Look at everything. Boots a guest where it isn't known whether KVM works; with `probe_again`, one on TCG too."""
    findings: list[Finding] = []
    binary = _attempt(findings, "qemu", lambda: find_qemu(path=qemu))
    if binary is not None:
        findings.append(await _version(binary))
    image, finding = _image()
    findings.append(finding)
    if binary is not None and image is not None:
        findings += await _accelerators(binary, image, probe_again)
    findings += [
        _device("vsock", "/dev/vhost-vsock", "vhost_vsock"),
        _device("vhost-net", "/dev/vhost-net", "vhost_net"),
    ]
    builds = image is None  # the first run does
    findings.append(await _templates(binary, image))
    findings += [_memory(), *_disks(needed=builds), _run_directory(), *_strays()]
    findings.append(_tool("setpriv", "starts QEMU", "util-linux", needed=True))
    findings += [_tool(program, "builds images", package, needed=builds) for program, package in _BUILD_TOOLS.items()]
    return findings


def _attempt(findings: list[Finding], name: str, act: Callable[[], QemuBinary]) -> QemuBinary | None:
    try:
        return act()
    except GavotteError as error:
        findings.append(Finding(name, False, error.message, error.hint, needed=True))
        return None


async def _version(binary: QemuBinary) -> Finding:
    try:
        version = (await get_schema(binary)).version
    except GavotteError as error:
        return Finding("qemu", False, f"{binary.path}: {error.message}", "name another with --qemu", needed=True)
    return Finding("qemu", True, f"{binary.path}, version {'.'.join(map(str, version))}", needed=True)


def _image() -> tuple[Image | None, Finding]:
    try:
        image = find_image()
    except GavotteError as error:
        return None, Finding("image", False, error.message, error.hint, needed=True)
    if image is None:
        why = "there is none; the first run builds one"
        return None, Finding("image", None, why, "gavotte image build", needed=True)
    days = image.age / 86400
    old = "gavotte image build --update" if image.age > _OLD_IMAGE else ""
    return image, Finding("image", True, f"{image.id}, {days:.0f} days old", old, needed=True)


async def _accelerators(binary: QemuBinary, image: Image, again: bool) -> list[Finding]:
    files = artifacts(image)
    spec = make_spec(qemu=str(binary.path))
    choice = await choose_accel(binary, spec, files, again=again)
    remedy = ""
    if choice.accel != "kvm":
        exists = Path(KVM).exists()
        remedy = "everything works without KVM, slower"
        if exists and not os.access(KVM, os.R_OK | os.W_OK):
            remedy = f"add yourself to the group that owns {KVM} (usually kvm)"
        elif exists:
            remedy += "; `gavotte check --probe` asks again"
    findings = [Finding("kvm", choice.accel == "kvm", choice.why, remedy)]
    if again or choice.accel != "kvm":
        findings.append(await _emulation(binary, files, again))
    return findings


async def _emulation(binary: QemuBinary, files: Artifacts, again: bool) -> Finding:
    if not again:
        return Finding("tcg", True, "emulation is what runs are on (--probe boots a guest on it)", needed=True)
    works, why = await probe(binary, "tcg", make_spec(qemu=str(binary.path)), files, patience=_TCG_PATIENCE)
    return Finding("tcg", works, why, "" if works else "try another QEMU binary with --qemu", needed=True)


async def _templates(binary: QemuBinary | None, image: Image | None) -> Finding:
    """Whether a default sandbox can be a copy of one, and if so, how many there are and whether another has room."""
    from gavotte.sandbox.template.build import space_for
    from gavotte.sandbox.template.layout import layout_for
    from gavotte.sandbox.template.store import list_templates, templates_directory

    if binary is not None and image is not None and (why := await _why_no_template(binary, image)):
        return Finding("templates", None, f"each sandbox boots: {why}", "try another QEMU binary with --qemu")
    templates = list_templates()
    use = (
        f"{len(templates)} take {rough_size(sum(template.size for template in templates))}" if templates else "none yet"
    )
    directory = templates_directory()
    place = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    disk = _disk("templates", place, space_for(layout_for(make_spec())), "templates", "XDG_CACHE_HOME", needed=False)
    return replace(disk, text=f"{use}; {disk.text}")


async def _why_no_template(binary: QemuBinary, image: Image) -> str:
    from gavotte.sandbox.template.find import wanted_template

    spec, files = make_spec(qemu=str(binary.path)), artifacts(image)
    try:
        schema = await get_schema(binary)
    except GavotteError:
        return "what this QEMU can do is unknown"
    return wanted_template(spec, expected_accel(binary, spec, files), binary, files, schema)[1]


def _device(name: str, path: str, module: str) -> Finding:
    if os.access(path, os.R_OK | os.W_OK):
        return Finding(name, True, f"{path} can be opened")
    if Path(path).exists():
        return Finding(name, None, f"{path} is not accessible to this user; not needed", "")
    return Finding(name, None, f"there is no {path}; not needed", f"modprobe {module}")


def _memory() -> Finding:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    ok = free >= 1 << 30
    return Finding(
        "memory",
        ok,
        f"{rough_size(free)} available",
        "" if ok else "a default guest takes 512M: end something",
        needed=False,
    )


def _disks(*, needed: bool) -> list[Finding]:
    """The two places that a build writes to."""
    from gavotte.guest.image.build import CACHE_SPACE
    from gavotte.guest.image.cache import images_directory
    from gavotte.guest.image.rootfs import SPACE, scratch_parent

    images = images_directory()
    place = next(path for path in (images, *images.parents) if os.path.lexists(path))
    return [
        _disk("disk", place, CACHE_SPACE, "images", "XDG_CACHE_HOME", needed=needed),
        _disk("scratch", scratch_parent(), SPACE, "builds", "TMPDIR", needed=needed),
    ]


def _disk(name: str, place: Path, size: int, use: str, variable: str, *, needed: bool) -> Finding:
    remedy = f"set {variable} to a directory that you can write"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        if not needed and place.is_dir() and os.access(place, os.R_OK | os.X_OK):
            return Finding(name, None, f"{place} can only be read: {use} that are there are used, none are made")
        return Finding(name, False, f"{place} is no directory that can be written; {use} go there", remedy, needed)
    free = shutil.disk_usage(place).free
    remedy = "" if free >= size else f"free {rough_size(size)}, or {remedy}"
    return Finding(name, free >= size, f"{rough_size(free)} free for {use} below {place}", remedy, needed)


def _run_directory() -> Finding:
    try:
        return Finding("permissions", True, f"{run_root()} is ours", needed=True)
    except GavotteError as error:
        return Finding("permissions", False, error.message, error.hint, needed=True)


def _strays() -> list[Finding]:
    """Machines of ours that run on though their directory was deleted."""
    found = []
    for stray in find_strays():
        text = f"QEMU (pid {stray.process.pid}) runs on though {stray.directory} was deleted"
        way = f"kill {stray.process.pid} ends it"
        found.append(Finding("stray", False, text, way if stray.owned else f"{way}, as the next start does"))
    return found


def _tool(program: str, use: str, package: str, *, needed: bool) -> Finding:
    found = find_program(program)
    if found:
        return Finding(program, True, f"{found} {use}", needed=needed)
    return Finding(program, False, f"not on PATH; it {use}", f"apt-get install {package}", needed=needed)
