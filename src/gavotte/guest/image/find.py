"""Which image is the current one. On the path of every start, so it imports and reads little."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from gavotte.guest.image import cache
from gavotte.guest.image.manifest import BUILDER_VERSION, Recipe, agent_digest, agent_files

INITRAMFS_PACKAGES = ("busybox-static", "libpython3-stdlib", "python3-minimal")  # with all that they depend on
ROOTFS_PACKAGES = (  # beside Debian's essential ones
    "ca-certificates",
    "e2fsprogs",
    "iproute2",
    "mount",
    "procps",
    "python3",
    "python3-pip",
    "python3-venv",
    "udhcpc",  # busybox, which is the smallest of the DHCP clients
)

FALLBACK_SUITE = "bookworm"
OS_RELEASE = Path("/etc/os-release")
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64": "ppc64el", "ppc64le": "ppc64el"}  # where they differ
SUCCESSORS = {("bookworm", "riscv64"): "trixie"}  # the first release with an architecture, for those without


def find_image(arch: str | None = None, *, suite: str | None = None) -> cache.Image | None:
    """The newest finished image with this version's agent and packages, None when there is none.

    `arch` is the processor as the kernel or QEMU name it, this machine's unless given. Without `suite` one of the
    host's own suite is preferred to one of another, which may have been imported.
    """
    recipe = current_recipe(suite or default_suite(arch), arch)
    others = None
    for image in cache.list_images(recipe.agent):  # on a developer's machine there are many, each of another agent
        if image.manifest.recipe == recipe:
            return image
        if suite is None and others is None and replace(image.manifest.recipe, suite=recipe.suite) == recipe:
            others = image
    return others


def debian_name(arch: str | None = None) -> str:
    """What Debian calls the architecture `arch`, this machine's unless given."""
    arch = arch or os.uname().machine
    return DEBIAN_NAMES.get(arch, arch)


def current_recipe(suite: str, arch: str | None = None) -> Recipe:
    """What an image of `suite` for an architecture, this machine's unless given, should be made of."""
    return Recipe(
        suite=suite,
        architecture=debian_name(arch),
        initramfs_packages=INITRAMFS_PACKAGES,
        rootfs_packages=ROOTFS_PACKAGES,
        builder=BUILDER_VERSION,
        agent=agent_digest(agent_files()),
    )


def default_suite(arch: str | None = None) -> str:
    """The release to build from: the host's, or a later one where that lacks the architecture."""
    suite = host_suite()
    return SUCCESSORS.get((suite, debian_name(arch)), suite)


def host_suite() -> str:
    """The host's release where the host is Debian, else a fixed one."""
    fields = {}
    if OS_RELEASE.is_file():
        for line in OS_RELEASE.read_text().splitlines():
            key, _, value = line.partition("=")
            fields[key] = value.strip().strip("\"'")
    return fields.get("VERSION_CODENAME") or FALLBACK_SUITE if fields.get("ID") == "debian" else FALLBACK_SUITE
