"""Making an image: everything that can be taken from an earlier image is, the rest comes from Debian packages."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gavotte.errors import ImageError
from gavotte.guest.image import cache, cpio, find, initramfs, kernel, python, rootfs, sources, stdlib, tools
from gavotte.guest.image.apt import Apt, Package
from gavotte.guest.image.cache import Image
from gavotte.guest.image.deb import Files
from gavotte.guest.image.manifest import AGENT, INITRD, KERNEL, ROOTFS, Manifest, Python, Recipe

Progress = Callable[[str, float | None], None]

KERNEL_PACKAGES = {"amd64": "linux-image-amd64"}  # the architectures whose images can be built
CACHE_SPACE = 900 << 20  # bytes: packages, the unpacked kernel package and the image itself
QUICK_SPACE = 64 << 20


def build_image(
    *, suite: str | None = None, mirror: str | None = None, update: bool = False, progress: Progress
) -> Image:
    """The current image, made if there is none; with `update`, made anew if the archive has newer packages.

    Only one build runs at a time: a second one waits and takes what the first has made. Raises ImageError with the
    remedy when a tool, the network or the disk space is missing.
    """
    image = None if update else find.find_image(suite=suite)
    if image is not None:
        return image
    with cache.lock(progress):
        image = None if update else find.find_image(suite=suite)
        return image or _Build(suite, mirror, update, progress).make()


class _Build:
    """One build, by the holder of the lock."""

    def __init__(self, suite: str | None, mirror: str | None, update: bool, progress: Progress) -> None:
        self._mirror = mirror
        self._update = update
        self._progress = progress
        self._agent = AGENT.read_bytes()
        recipe = find.current_recipe(suite or find.default_suite())
        donors = [image for image in cache.list_images() if _could_give(image, recipe, any_suite=suite is None)]
        donors.sort(key=lambda image: image.manifest.recipe.suite == recipe.suite, reverse=True)
        self._donor = donors[0] if donors else None
        if self._donor and not update:
            recipe = replace(recipe, suite=self._donor.manifest.recipe.suite)
        self._recipe = recipe
        self._wanted_imports = stdlib.imported_by(self._agent)

    def make(self) -> Image:
        donor = self._donor
        if donor and not self._update and self._serves_agent(donor):
            return self._with_new_agent(donor)
        return self._from_packages()

    def _serves_agent(self, donor: Image) -> bool:
        """Whether all that the agent imports is in the donor's initramfs."""
        return self._wanted_imports.isdisjoint(donor.manifest.python.left_out)

    def _with_new_agent(self, donor: Image) -> Image:
        cache.require_space({cache.root(): QUICK_SPACE})
        with cache.draft() as draft:
            self._copy_base(donor, draft)
            cache.share(donor.rootfs, draft / ROOTFS)
            return self._finish(draft, donor.manifest, donor)

    def _from_packages(self) -> Image:
        architecture = self._recipe.architecture
        if architecture not in KERNEL_PACKAGES:
            raise ImageError(f"guest images for {architecture} can't be built yet", hint="they can for amd64")
        tools.require("apt-get", "apt-cache", "dpkg-deb", "mksquashfs", "mmdebstrap")
        chosen = sources.choose(self._recipe.suite, mirror=self._mirror)
        where = cache.root() / "apt" / f"{self._recipe.suite}-{architecture}"
        apt = Apt(where, chosen, architecture=architecture)
        if self._update or not apt.has_lists():
            apt.update(self._progress)
        packages = self._choose_packages(apt)
        donor, base_is_same, rootfs_is_same = self._compare(apt, packages)
        if donor and base_is_same and rootfs_is_same:
            if donor.manifest.recipe == self._recipe:
                return donor
            return self._with_new_agent(donor)
        cache.require_space({cache.root(): CACHE_SPACE, rootfs.scratch_parent(): 0 if rootfs_is_same else rootfs.SPACE})
        if not rootfs_is_same:
            rootfs.mode()  # what is missing for it should be said before a minute of work
        with cache.draft() as draft:
            manifest = self._base(draft, apt, packages, donor if base_is_same else None)
            if donor and rootfs_is_same:
                cache.share(donor.rootfs, draft / ROOTFS)
                versions = donor.manifest.rootfs_versions
            else:
                versions = rootfs.build(
                    draft / ROOTFS, self._recipe.suite, apt, architecture=architecture, progress=self._progress
                )
            image = self._finish(draft, replace(manifest, rootfs_versions=versions), donor)
        apt.drop_archives_except(packages)
        return image

    def _choose_packages(self, apt: Apt) -> list[Package]:
        metapackage = KERNEL_PACKAGES[self._recipe.architecture]
        image = apt.dependency(metapackage, prefix="linux-image-")
        return apt.candidates([image, *apt.closure(self._recipe.initramfs_packages)])

    def _compare(self, apt: Apt, packages: list[Package]) -> tuple[Image | None, bool, bool]:
        """The donor, and whether its base and its root file system are what would be built now."""
        donor = self._donor
        if donor is None:
            return None, False, False
        old = donor.manifest
        base_is_same = old.initramfs_versions == _versions(packages) and self._serves_agent(donor)
        if not self._update:
            return donor, base_is_same, True
        try:
            now = _versions(apt.candidates(old.rootfs_versions))
        except ImageError:  # a package of the old image has left the archive
            return donor, base_is_same, False
        return donor, base_is_same, now == old.rootfs_versions

    def _base(self, draft: Path, apt: Apt, packages: list[Package], donor: Image | None) -> Manifest:
        """Put kernel and base initramfs into `draft`; gives a manifest with what is known of them."""
        if donor:
            self._copy_base(donor, draft)
            return donor.manifest
        debs = apt.download(packages, "downloading kernel", self._progress)
        self._progress("extracting kernel", None)
        with Files(debs, draft) as files:
            release = initramfs.kernel_release(files)
            (draft / KERNEL).write_bytes(kernel.extract_vmlinux(files.read(f"boot/vmlinuz-{release}")))
            self._progress("writing initramfs", None)
            base = initramfs.base(files, self._agent)
        with (draft / INITRD).open("wb") as out:
            length = cpio.write(out, base.tree)
        packed = base.interpreter
        return Manifest(
            created=0.0,
            recipe=self._recipe,
            kernel_release=release,
            base_length=length,
            python=Python(packed.executable, packed.loader, packed.libraries, packed.tag, packed.magic, base.left_out),
            missing_modules=base.missing_modules,
            initramfs_versions=_versions(packages),
            rootfs_versions={},
            files={},
        )

    def _copy_base(self, donor: Image, draft: Path) -> None:
        cache.share(donor.kernel, draft / KERNEL)
        with donor.initrd.open("rb") as source, (draft / INITRD).open("wb") as out:
            out.write(source.read(donor.manifest.base_length))

    def _finish(self, draft: Path, manifest: Manifest, donor: Image | None) -> Image:
        self._progress("writing initramfs", None)
        foreign = donor is not None and donor.is_foreign
        with (draft / INITRD).open("ab") as out:
            cpio.write(out, initramfs.agent_tree(self._agent, self._agent_code(draft, manifest, foreign=foreign)))
        if foreign:
            (draft / cache.FOREIGN).touch()
        files = {name: cache.file_info(draft / name) for name in (KERNEL, INITRD, ROOTFS)}
        recipe = replace(self._recipe, agent=hashlib.sha256(self._agent).hexdigest())
        return cache.publish(draft, replace(manifest, created=time.time(), recipe=recipe, files=files))

    def _agent_code(self, draft: Path, manifest: Manifest, *, foreign: bool) -> cpio.Tree:
        """The agent's .pyc; none for an imported image of another Python, whose programs don't run on this host."""
        packed = manifest.python
        interpreter = python.Interpreter(packed.executable, packed.loader, packed.libraries, packed.tag, packed.magic)
        if interpreter.is_like_ours():
            return python.compile_ourselves(AGENT.name, self._agent, interpreter)
        if foreign:
            return {}
        with (draft / INITRD).open("rb") as source:
            tree = {name: entry for name, entry in cpio.read(source) if name.startswith("usr/") and ".ko" not in name}
        return python.byte_code({**tree, AGENT.name: cpio.file(self._agent)}, interpreter, only=AGENT.name)


def _could_give(image: Image, recipe: Recipe, *, any_suite: bool) -> bool:
    other = image.manifest.recipe.but_for_agent()
    return (replace(other, suite=recipe.suite) if any_suite else other) == recipe.but_for_agent()


def _versions(packages: list[Package]) -> Mapping[str, str]:
    return {package.name: package.version for package in packages}
