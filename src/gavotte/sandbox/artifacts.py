"""The files that a guest is made of: the current image of its architecture, built if there is none."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gavotte.guest.image import Image, find_image
from gavotte.sandbox.spec import Spec
from gavotte.values import dataclass

__all__ = ["Artifacts", "artifacts", "find_artifacts"]


@dataclass(frozen=True)
class Artifacts:
    """The files that a guest is made of."""

    kernel: Path
    initrd: Path
    rootfs: Path


def artifacts(image: Image) -> Artifacts:
    """An image's files."""
    return Artifacts(kernel=image.kernel, initrd=image.initrd, rootfs=image.rootfs)


async def find_artifacts(spec: Spec) -> Artifacts:
    """Those of the current image. Building one takes a minute or more, and is told in the log."""
    return artifacts(find_image(spec.arch) or await _build(spec))


async def _build(spec: Spec) -> Image:
    import logging

    from gavotte.sandbox.images import build_image  # which makes sandboxes itself

    log = logging.getLogger("gavotte")
    log.warning("building the guest image for %s: needed once, takes a minute or more", spec.arch)

    def progress(phase: str, _fraction: float | None) -> None:
        log.info("%s", phase)

    return await asyncio.to_thread(build_image, spec.arch, qemu=spec.qemu, progress=progress)
