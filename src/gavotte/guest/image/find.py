"""Which image is the current one. On the path of every start, so it imports and reads little."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from gavotte.guest.image import cache
from gavotte.guest.image.manifest import AGENT, BUILDER_VERSION, Recipe

INITRAMFS_PACKAGES = ("busybox-static", "libpython3-stdlib", "python3-minimal")  # with all that they depend on
ROOTFS_PACKAGES = ("ca-certificates", "mount", "procps", "python3")  # beside Debian's essential ones

FALLBACK_SUITE = "bookworm"
OS_RELEASE = Path("/etc/os-release")
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "ppc64le": "ppc64el", "s390x": "s390x"}


def find_image(*, suite: str | None = None) -> cache.Image | None:
    """The newest finished image with this version's agent and packages, None when there is none.

    Without `suite` one of the host's own suite is preferred to one of another, which may have been imported.
    """
    recipe = current_recipe(suite or default_suite())
    others = None
    for image in cache.list_images():
        if image.manifest.recipe == recipe:
            return image
        if suite is None and others is None and replace(image.manifest.recipe, suite=recipe.suite) == recipe:
            others = image
    return others


def current_recipe(suite: str) -> Recipe:
    """What an image of `suite` for this machine's architecture should be made of."""
    machine = os.uname().machine
    return Recipe(
        suite=suite,
        architecture=DEBIAN_NAMES.get(machine, machine),
        initramfs_packages=INITRAMFS_PACKAGES,
        rootfs_packages=ROOTFS_PACKAGES,
        builder=BUILDER_VERSION,
        agent=hashlib.sha256(AGENT.read_bytes()).hexdigest(),
    )


def default_suite() -> str:
    """The host's release where the host is Debian, else a fixed one."""
    fields = {}
    if OS_RELEASE.is_file():
        for line in OS_RELEASE.read_text().splitlines():
            key, _, value = line.partition("=")
            fields[key] = value.strip().strip("\"'")
    return fields.get("VERSION_CODENAME") or FALLBACK_SUITE if fields.get("ID") == "debian" else FALLBACK_SUITE
