"""The images on this machine: a directory that is safe against two builders, a full disk and being interrupted.

    $XDG_CACHE_HOME/gavotte/
      images/ID/        finished: manifest.json, vmlinux, initramfs, rootfs.squashfs; read-only by convention
      images/.tmp-…     being made by the holder of the lock, or left by one that died
      apt/              package lists and archives
      build.lock        flock(2): held by whoever makes an image, free again when that process ends

An image gets its final name by one rename, after all of it is on disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gavotte.errors import Bug, ImageError, UsageError
from gavotte.guest.image.manifest import (
    FILES,
    INITRD,
    KERNEL,
    MANIFEST,
    ROOTFS,
    FileInfo,
    Manifest,
    identity,
)
from gavotte.places import cache_directory
from gavotte.text import rough_size
from gavotte.values import dataclass

Progress = Callable[[str, float | None], None]

LOCK_DEADLINE = 3600  # seconds; longer than any build may take
DRAFT = ".tmp-"
FULL = 1 << 20  # a disk with fewer bytes free is full
FOREIGN = "imported"  # marks an image whose programs were not built here: they never run on this host
SCRATCH = "scratch"  # in a draft: a link to a directory elsewhere that has to go with it


@dataclass(frozen=True)
class Image:
    """A finished guest image."""

    id: str
    path: Path
    manifest: Manifest

    @property
    def kernel(self) -> Path:
        """The ELF kernel."""
        return self.path / KERNEL

    @property
    def initrd(self) -> Path:
        """The initramfs with the agent."""
        return self.path / INITRD

    @property
    def rootfs(self) -> Path:
        """The read-only root file system (squashfs) that commands run on."""
        return self.path / ROOTFS

    @property
    def created(self) -> float:
        """When it was built, in Unix time."""
        return self.manifest.created

    @property
    def age(self) -> float:
        """Seconds since it was built."""
        return max(0.0, time.time() - self.created)

    @property
    def is_foreign(self) -> bool:
        """Whether it was imported, or made from one that was."""
        return (self.path / FOREIGN).exists()


def images_directory() -> Path:
    """Where the images are."""
    return cache_directory() / "images"


def list_images(mentioning: str = "") -> list[Image]:
    """All finished images, newest first; with a word, those whose manifest has it. Damaged ones are left out.

    Raises ImageError when the cache directory can't be read.
    """
    found = []
    with _usable(), contextlib.suppress(FileNotFoundError):
        for path in images_directory().iterdir():
            if not path.name.startswith("."):
                image = _load(path, mentioning.encode())
                if image is not None:
                    found.append(image)
    return sorted(found, key=lambda image: (image.created, image.id), reverse=True)


def remove_image(id_prefix: str) -> Image:
    """Delete the one image whose id begins with `id_prefix`; a guest that uses it keeps its open files.

    Raises ImageError when there is no such image, or more than one.
    """
    import shutil

    if not re.fullmatch(r"[0-9a-f]{1,64}", id_prefix):
        raise UsageError(f"not an image id: {id_prefix!r}", hint="`gavotte image list` shows the ids")
    found = [image for image in list_images() if image.id.startswith(id_prefix)]
    if len(found) != 1:
        what = "no image has" if not found else f"{len(found)} images have"
        raise ImageError(f"{what} an id beginning with {id_prefix!r}", hint="`gavotte image list` shows the ids")
    gone = images_directory() / f"{DRAFT}removed-{found[0].id}-{os.getpid()}"
    with _usable():
        found[0].path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)  # the next builder sweeps what couldn't be deleted
    return found[0]


@contextlib.contextmanager
def lock(progress: Progress) -> Iterator[None]:
    """Be the only one that makes images, and clear away what dead builders left.

    Raises ImageError when another one doesn't end within an hour, or the cache directory can't be written.
    """
    from gavotte.flock import FileLock

    build = FileLock(cache_directory() / "build.lock")
    with _usable():
        images_directory().mkdir(parents=True, exist_ok=True)
        taken = build.take()
    try:
        if not taken:
            progress(f"waiting for {build.holder}, which builds an image", None)
            if not build.wait(LOCK_DEADLINE):
                raise ImageError(
                    f"{build.holder} builds a guest image, and has had {build.path} for an hour",
                    hint="end it, then try again",
                )
        _sweep()
        yield
    finally:
        build.release()


@contextlib.contextmanager
def draft() -> Iterator[Path]:
    """A directory to make an image in, deleted at the end unless `publish` gave it its name. Needs `lock`.

    A full disk inside of the block becomes an ImageError, as does a directory that can't be written.
    """
    import tempfile

    with _usable():
        path = Path(tempfile.mkdtemp(prefix=DRAFT, dir=images_directory()))
    try:
        yield path
    except (OSError, ImageError) as error:
        if not _disk_is_full(error):
            raise
        raise ImageError(
            f"the disk is full: {error}",
            hint=f"free some space for {cache_directory()} and TMPDIR, or set XDG_CACHE_HOME to another disk",
        ) from error
    finally:
        _discard(path)


def publish(draft: Path, manifest: Manifest) -> Image:
    """Give the finished `draft` its final name; an image that is already there under it is kept. Needs `lock`."""
    text = manifest.encode()
    if Manifest.decode(text) != manifest:
        raise Bug("a manifest was written that isn't read as the same again")
    (draft / MANIFEST).write_bytes(text)
    for path in draft.iterdir():
        if path.name not in (*FILES, MANIFEST, FOREIGN):
            raise ImageError(f"{path.name} is in the way in a draft")
        path.chmod(0o444)
        _sync(path)
    _sync(draft)
    final = images_directory() / identity(text)
    if final.exists() and _load(final) is None:  # damaged: files cut off or gone
        final.rename(draft.with_name(f"{DRAFT}damaged-{final.name}-{os.getpid()}"))
    if not final.exists():
        draft.chmod(0o755)
        draft.rename(final)
    _sync(images_directory())
    return Image(final.name, final, manifest)


def file_info(path: Path) -> FileInfo:
    """Size and hash of a file."""
    import hashlib

    with path.open("rb") as file:
        return FileInfo(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def share(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, without a copy where the file system can."""
    try:
        target.hardlink_to(source)
    except OSError:  # no hard links here
        import shutil

        shutil.copyfile(source, target)


def require_space(needs: dict[Path, int]) -> None:
    """Check that each directory's disk has so many bytes free. Raises ImageError that says how much is needed."""
    for path, size in needs.items():
        status = os.statvfs(path)
        free = status.f_bavail * status.f_frsize
        if free < size:
            raise ImageError(
                f"building the guest image needs {rough_size(size)} in {path}, and {rough_size(free)} are free",
                hint="free some space, or point XDG_CACHE_HOME (images) or TMPDIR (scratch) to another disk",
            )


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    """Say of an OSError in the block what it means: that the images' directory is no place for images."""
    try:
        yield
    except OSError as error:
        raise ImageError(
            f"the directory {images_directory()} can't be used for images: {error.strerror}",
            hint="set XDG_CACHE_HOME to a directory that you can write",
        ) from error


def _load(path: Path, word: bytes = b"") -> Image | None:
    try:
        text = (path / MANIFEST).read_bytes()
        if word not in text:
            return None
        manifest = Manifest.decode(text)
        whole = all((path / name).stat().st_size == info.size for name, info in manifest.files.items())
    except (OSError, ImageError):  # not an image, damaged, or just being removed
        return None
    return Image(path.name, path, manifest) if whole and identity(text) == path.name else None


def _disk_is_full(error: OSError | ImageError) -> bool:
    """Whether it is us, or a program that only says so in words, that found no space."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    status = os.statvfs(cache_directory())
    return status.f_bavail * status.f_frsize < FULL


def _sweep() -> None:
    for path in images_directory().glob(f"{DRAFT}*"):
        _discard(path)


def _discard(path: Path) -> None:
    import shutil

    scratch = path / SCRATCH
    if scratch.is_symlink():
        from gavotte.guest.image import rootfs

        rootfs.discard_scratch(scratch.readlink())
    shutil.rmtree(path, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
