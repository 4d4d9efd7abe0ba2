"""The files of Debian packages as one tree, read without installing or unpacking them."""

from __future__ import annotations

import contextlib
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from gavotte.errors import ImageError
from gavotte.guest.image import tools

MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # links into usr/ on any Debian since 12
MAX_LINKS = 16


class Files:
    """What several packages would install. Names have no leading slash and are usr-merged (`lib/x` is `usr/lib/x`).

    The packages are unpacked to plain tar archives in `scratch` while the `with` lasts, so that single files can be
    read in any order.
    """

    def __init__(self, packages: Sequence[Path], scratch: Path) -> None:
        self._packages = packages
        self._scratch = scratch
        self._stack = contextlib.ExitStack()
        self._members: dict[str, tuple[tarfile.TarFile, tarfile.TarInfo]] = {}

    def names(self, prefix: str = "") -> Iterator[str]:
        """The names of files and links below `prefix`, sorted."""
        return (name for name in sorted(self._members) if name.startswith(prefix))

    def resolve(self, name: str) -> str | None:
        """The regular file that `name` is or links to, None when there is none."""
        for _ in range(MAX_LINKS):
            if name not in self._members:
                return None
            member = self._members[name][1]
            if member.issym():
                name = merged(posixpath.normpath(posixpath.join("/", posixpath.dirname(name), member.linkname)))
            elif member.islnk():
                name = merged(member.linkname)
            else:
                return name
        return None

    def read(self, name: str) -> bytes:
        """The content of the file that `name` is or links to. Raises ImageError when there is none."""
        target = self.resolve(name)
        if target is None:
            raise ImageError(f"no package has the file /{name}")
        archive, member = self._members[target]
        with archive.extractfile(member) or contextlib.nullcontext() as file:
            return file.read() if file else b""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for package in self._packages:
                self._add(package, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _add(self, package: Path, stack: contextlib.ExitStack) -> None:
        path = self._scratch / f"{package.name}.tar"
        stack.callback(path.unlink, missing_ok=True)
        with path.open("wb") as out, tools.Child(["dpkg-deb", "--fsys-tarfile", package], stdout=out.fileno()) as child:
            child.wait()
        archive = stack.enter_context(tarfile.TarFile.open(path))
        for member in archive:
            if member.isfile() or member.issym() or member.islnk():
                self._members[merged(member.name)] = (archive, member)


def merged(name: str) -> str:
    """A package's file by its place in a system with merged /usr, without a leading slash."""
    plain = posixpath.normpath(name).lstrip("/")
    return f"usr/{plain}" if plain.split("/", 1)[0] in MERGED else plain
