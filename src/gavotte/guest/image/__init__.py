"""The guest image: kernel, initramfs and root file system, built from Debian packages and kept in a cache.

    from gavotte.guest.image import build_image, find_image

Knows: Debian's archives and package formats, the agent's file, where images are kept.
Doesn't know: QEMU, sandboxes, or how the agent is spoken to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gavotte.guest.image.cache import Image, list_images, remove_image
from gavotte.guest.image.find import find_image
from gavotte.guest.image.manifest import Manifest

if TYPE_CHECKING:
    from gavotte.guest.image.unconfigured import Guest

__all__ = [
    "Image",
    "Manifest",
    "build_image",
    "export_image",
    "find_image",
    "import_image",
    "list_images",
    "remove_image",
]


def build_image(
    arch: str | None = None,
    *,
    suite: str | None = None,
    mirror: str | None = None,
    update: bool = False,
    guest: Guest | None = None,
    progress: Callable[[str, float | None], None],
) -> Image:
    """See `gavotte.guest.image.build.build_image`, which is imported when it is needed."""
    from gavotte.guest.image import build

    return build.build_image(arch, suite=suite, mirror=mirror, update=update, guest=guest, progress=progress)


def export_image(image: Image, destination: Path) -> None:
    """See `gavotte.guest.image.transfer.export_image`."""
    from gavotte.guest.image import transfer

    transfer.export_image(image, destination)


def import_image(source: Path, *, progress: Callable[[str, float | None], None]) -> Image:
    """See `gavotte.guest.image.transfer.import_image`."""
    from gavotte.guest.image import transfer

    return transfer.import_image(source, progress=progress)
