"""An image as one file: out of the cache, and into it from a source that isn't trusted.

The file is a gzip-compressed tar archive (ustar, no extensions) of manifest.json and the three files it names, in that
order. The reader takes nothing else, so nothing in the file decides about a path, a type or an amount of memory.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from gavotte.errors import ImageError
from gavotte.guest.image import cache
from gavotte.guest.image.manifest import FILES, MANIFEST, MAX_MANIFEST, FileInfo, Manifest
from gavotte.places import absolute

BLOCK = tarfile.BLOCKSIZE
PIECE = 1 << 20
COMPRESSION = 6
RESERVE = 64 << 20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def export_image(image: cache.Image, destination: Path) -> None:
    """Write `image` to the file `destination`, which appears only when it is complete; equal images, equal files.

    A symbolic link stays, and the file that it leads to is written. Raises ImageError when that can't be written, or
    is something else than a regular file: it would be replaced, not written to.
    """
    try:
        with _replacing(_regular(destination)) as out, gzip.GzipFile("", "wb", COMPRESSION, out, mtime=0) as packed:
            for name in (MANIFEST, *FILES):
                _pack(packed, name, image.path / name)
            packed.write(bytes(2 * BLOCK))
    except OSError as error:
        hint = _remedy(error, destination)
        raise ImageError(f"the image can't be exported to {destination}: {error}", hint=hint) from error


def _regular(destination: Path) -> Path:
    """Where `destination` leads to: a regular file, or nothing yet."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(destination.stat().st_mode):  # first: the links in /proc/self/fd are no paths
            raise ImageError(
                f"the image can't be exported to {destination}: it exists and is not a regular file",
                hint="give the path of a file, such as image.tar.gz; it is made anew or replaced as a whole",
            )
    return Path(os.path.realpath(absolute(destination)))


def _remedy(error: OSError, destination: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space, or export to another disk"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "export to a directory that you can write"
    directory = Path(os.path.realpath(absolute(destination))).parent
    if not directory.is_dir():
        return f"make the directory {directory} first, or correct the path"
    return "correct the path; `gavotte image list` shows which images are whole"


def import_image(source: Path, *, progress: cache.Progress) -> cache.Image:
    """Take the image in the file `source` into the cache, each size and hash checked; it is there as a whole or not.
    While another process makes an image it waits, and `progress` is told.

    Raises ImageError when the file isn't what `export_image` writes.
    """
    try:
        with source.open("rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as packed:
            text = b"".join(_pieces(packed, _header(packed, MANIFEST, limit=MAX_MANIFEST)))
            manifest = Manifest.decode(text)
            if manifest.encode() != text:
                raise ImageError("its manifest isn't in the form that Gavotte writes")
            return _receive(packed, manifest, progress)
    except (ImageError, OSError, EOFError, zlib.error) as error:
        hint = getattr(error, "hint", "") or "get the file again, or build an image with `gavotte image build`"
        raise ImageError(f"{source} can't be imported: {error}", hint=hint) from error


def _receive(packed: _Readable, manifest: Manifest, progress: cache.Progress) -> cache.Image:
    with cache.lock(progress), cache.draft() as draft:
        cache.require_space({draft: sum(info.size for info in manifest.files.values()) + RESERVE})
        for name in FILES:
            _receive_file(packed, name, manifest.files[name], draft / name)
        (draft / cache.FOREIGN).touch()
        return cache.publish(draft, manifest)


def _receive_file(packed: _Readable, name: str, expected: FileInfo, target: Path) -> None:
    size = _header(packed, name, limit=expected.size)
    if size != expected.size:
        raise ImageError(f"{name} should have {expected.size} bytes and has {size}")
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for piece in _pieces(packed, size):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != expected.sha256:
        raise ImageError(f"the hash of {name} is not the one in the manifest")


def _header(packed: _Readable, name: str, *, limit: int) -> int:
    """Read a tar header, which has to be a regular file `name` of at most `limit` bytes; gives its size."""
    block = packed.read(BLOCK)
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError) as error:
        raise ImageError(f"no tar header where {name} should be: {error}") from error
    if member.name != name or member.type != tarfile.REGTYPE:
        raise ImageError(f"{name} should come here as a regular file, not {member.name[:64]!r}")
    if not 0 < member.size <= limit:
        raise ImageError(f"{name} is larger than it may be")
    return member.size


def _pieces(packed: _Readable, size: int) -> Iterator[bytes]:
    """The next `size` bytes, and the padding behind them read away."""
    left = size
    while left:
        piece = packed.read(min(PIECE, left))
        if not piece:
            raise ImageError("the file is cut off")
        left -= len(piece)
        yield piece
    packed.read(-size % BLOCK)


def _pack(packed: IO[bytes] | gzip.GzipFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        member = tarfile.TarInfo(name)
        member.size = os.fstat(file.fileno()).st_size
        member.mode = 0o444
        packed.write(member.tobuf(tarfile.USTAR_FORMAT))
        while piece := file.read(PIECE):
            packed.write(piece)
        packed.write(bytes(-member.size % BLOCK))


@contextlib.contextmanager
def _replacing(destination: Path) -> Iterator[IO[bytes]]:
    """A file beside `destination` that takes its name when the block ends well, and is deleted otherwise."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{destination.name[:64]}-", dir=destination.parent)
    except OSError as error:  # it names a file that nobody has asked for
        raise OSError(error.errno, error.strerror, str(destination.parent)) from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        Path(name).replace(destination)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
