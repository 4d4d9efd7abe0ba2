"""Making an image: everything that can be taken from an earlier image is, the rest comes from Debian packages."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gavotte.errors import Bug, ImageError
from gavotte.guest.image import (
    cache,
    cpio,
    find,
    initramfs,
    kernel,
    python,
    rootfs,
    sources,
    tools,
    unconfigured,
)
from gavotte.guest.image.apt import Apt, Package
from gavotte.guest.image.cache import Image
from gavotte.guest.image.deb import Files
from gavotte.guest.image.manifest import (
    INITRD,
    KERNEL,
    ROOTFS,
    Manifest,
    Python,
    Recipe,
    agent_digest,
    agent_files,
)
from gavotte.guest.image.sources import Source
from gavotte.guest.image.unconfigured import Guest
from gavotte.places import cache_directory

Progress = Callable[[str, float | None], None]

KERNEL_PACKAGES = {  # the architectures whose images can be built
    "amd64": "linux-image-amd64",
    "arm64": "linux-image-arm64",
    "ppc64el": "linux-image-powerpc64le",
    "riscv64": "linux-image-riscv64",
    "s390x": "linux-image-s390x",
}
PYTHON_PACKAGES = ("libpython3-stdlib", "python3-minimal")
OUT_OF_STEP = ("unexpected size", "Hash Sum mismatch")  # what apt says of a list that isn't the signed one
CACHE_SPACE = 900 << 20  # bytes: packages, the unpacked kernel package and the image itself
QUICK_SPACE = 64 << 20


def build_image(
    arch: str | None = None,
    *,
    suite: str | None = None,
    mirror: str | None = None,
    update: bool = False,
    guest: Guest | None = None,
    progress: Progress,
) -> Image:
    """The current image, made if there is none; with `update`, made anew if the archive has newer packages.

    `arch` is this machine's unless given; for another one, `guest` runs what can't run here. Only one build runs at a
    time: a second one waits and takes what the first has made. Raises ImageError with the remedy when a tool, the
    network or the disk space is missing.
    """
    image = None if update else find.find_image(arch, suite=suite)
    if image is not None:
        return image
    with cache.lock(progress):
        image = None if update else find.find_image(arch, suite=suite)
        return image or _Build(arch, suite, mirror, update, guest, progress).make()


class _Build:
    """One build, by the holder of the lock."""

    def __init__(
        self,
        arch: str | None,
        suite: str | None,
        mirror: str | None,
        update: bool,
        guest: Guest | None,
        progress: Progress,
    ) -> None:
        self._mirror = mirror
        self._update = update
        self._guest = guest
        self._progress = progress
        self._agent = agent_files()
        recipe = find.current_recipe(suite or find.default_suite(arch), arch)
        donors = [image for image in cache.list_images() if _could_give(image, recipe, any_suite=suite is None)]
        donors.sort(key=lambda image: image.manifest.recipe.suite == recipe.suite, reverse=True)
        self._donor = donors[0] if donors else None
        if self._donor and not update:
            recipe = replace(recipe, suite=self._donor.manifest.recipe.suite)
        self._recipe = recipe
        self._is_local = recipe.architecture == find.debian_name()
        self._wanted_imports = initramfs.imports_of(self._agent)

    def make(self) -> Image:
        donor = self._donor
        if donor and not self._update and self._serves_agent(donor):
            return self._with_new_agent(donor)
        return self._from_packages()

    def _serves_agent(self, donor: Image) -> bool:
        """Whether all that the agent imports is in the donor's initramfs."""
        return self._wanted_imports.isdisjoint(donor.manifest.python.left_out)

    def _with_new_agent(self, donor: Image) -> Image:
        cache.require_space({cache_directory(): QUICK_SPACE})
        with cache.draft() as draft:
            self._copy_base(donor, draft)
            cache.share(donor.rootfs, draft / ROOTFS)
            self._add_agent(draft, donor.manifest, donor)
            return self._finish(draft, donor.manifest)

    def _from_packages(self) -> Image:
        architecture = self._recipe.architecture
        if architecture not in KERNEL_PACKAGES:
            known = ", ".join(KERNEL_PACKAGES)
            raise ImageError(f"guest images for {architecture} can't be built", hint=f"they can for {known}")
        tools.require("apt-get", "apt-cache", "dpkg-deb", "mksquashfs", *(["mmdebstrap"] if self._is_local else []))
        apt = self._apt(architecture)
        packages = self._choose_packages(apt)
        donor, base_is_same, rootfs_is_same = self._compare(apt, packages)
        if donor and base_is_same and rootfs_is_same:
            if donor.manifest.recipe == self._recipe:
                return donor
            return self._with_new_agent(donor)
        self._require_space(rootfs_is_same)
        with cache.draft() as draft:
            manifest = self._base(draft, apt, packages, donor if base_is_same else None)
            self._add_agent(draft, manifest, donor)
            if donor and rootfs_is_same:
                cache.share(donor.rootfs, draft / ROOTFS)
                versions = donor.manifest.rootfs_versions
            else:
                versions = self._rootfs(draft, apt)
            image = self._finish(draft, replace(manifest, rootfs_versions=versions))
        apt.drop_archives_except(packages)
        return image

    def _apt(self, architecture: str) -> Apt:
        """apt with package lists.

        Where an archive of updates is out of step with its own signature, as mirrors of the rarer architectures are for
        hours at times, a foreign image does without that one, and says so.
        """
        suite = self._recipe.suite
        like = find.host_suite() if suite == find.SUCCESSORS.get((find.host_suite(), self._recipe.architecture)) else ""
        chosen = sources.choose(suite, mirror=self._mirror, like=like)
        for kept in [chosen] if architecture == find.debian_name() else _fallbacks(chosen, suite):
            apt = Apt(cache_directory() / "apt" / f"{suite}-{architecture}", kept, architecture=architecture)
            if apt.has_lists() and not self._update:
                return apt
            try:
                apt.update(self._progress)
            except ImageError as error:
                if not any(words in str(error) for words in OUT_OF_STEP):
                    raise
                why = error
                continue
            if kept != chosen:
                left_out = ", ".join(sorted({source.suite for source in chosen} - {source.suite for source in kept}))
                logging.getLogger("gavotte").warning("building without %s: its archive is out of step", left_out)
            return apt
        raise why

    def _require_space(self, rootfs_is_same: bool) -> None:
        """What is missing for the root file system should be said before a minute of work."""
        needs = {cache_directory(): CACHE_SPACE}
        if not self._is_local:
            needs[cache_directory()] += 0 if rootfs_is_same else unconfigured.SPACE
        elif not rootfs_is_same:
            needs[rootfs.scratch_parent()] = rootfs.SPACE
            rootfs.mode()
        cache.require_space(needs)

    def _rootfs(self, draft: Path, apt: Apt) -> Mapping[str, str]:
        if self._is_local:
            architecture = self._recipe.architecture
            return rootfs.build(
                draft / ROOTFS, self._recipe.suite, apt, architecture=architecture, progress=self._progress
            )
        if self._guest is None:
            raise Bug("an image for another architecture needs a guest to be configured in")
        return unconfigured.build(draft / ROOTFS, apt, draft / KERNEL, draft / INITRD, self._guest, self._progress)

    @contextlib.contextmanager
    def _local_python(self, draft: Path) -> Iterator[Files]:
        """The same release's Python for this host, whose byte code any architecture takes."""
        apt = self._apt(find.debian_name())
        packages = apt.candidates(apt.closure(PYTHON_PACKAGES))
        with Files(apt.download(packages, "downloading Python for this host", self._progress), draft) as files:
            yield files

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
        with Files(debs, draft) as files, contextlib.ExitStack() as stack:
            release = initramfs.kernel_release(files)
            packed = next(name for name in files.names("boot/vmlinu"))  # vmlinuz, and vmlinux on ppc64el and riscv64
            architecture = self._recipe.architecture
            (draft / KERNEL).write_bytes(kernel.loadable(files.read(packed), architecture=architecture))
            self._progress("writing initramfs", None)
            local = files if self._is_local else stack.enter_context(self._local_python(draft))
            base = initramfs.base(files, self._agent, local)
        with (draft / INITRD).open("wb") as out:
            length = cpio.write(out, base.tree)
        name = base.interpreter
        return Manifest(
            created=0.0,
            recipe=self._recipe,
            kernel_release=release,
            base_length=length,
            python=Python(name.executable, name.loader, name.libraries, name.tag, name.magic, base.left_out),
            missing_modules=base.missing_modules,
            initramfs_versions=_versions(packages),
            rootfs_versions={},
            files={},
        )

    def _copy_base(self, donor: Image, draft: Path) -> None:
        cache.share(donor.kernel, draft / KERNEL)
        with donor.initrd.open("rb") as source, (draft / INITRD).open("wb") as out:
            out.write(source.read(donor.manifest.base_length))

    def _add_agent(self, draft: Path, manifest: Manifest, donor: Image | None) -> None:
        self._progress("writing initramfs", None)
        imported = donor is not None and donor.is_foreign
        code = self._agent_code(draft, manifest, imported=imported)
        with (draft / INITRD).open("ab") as out:
            cpio.write(out, initramfs.agent_tree(self._agent) | code)
        if imported:
            (draft / cache.FOREIGN).touch()

    def _finish(self, draft: Path, manifest: Manifest) -> Image:
        files = {name: cache.file_info(draft / name) for name in (KERNEL, INITRD, ROOTFS)}
        recipe = replace(self._recipe, agent=agent_digest(self._agent))
        return cache.publish(draft, replace(manifest, created=time.time(), recipe=recipe, files=files))

    def _agent_code(self, draft: Path, manifest: Manifest, *, imported: bool) -> cpio.Tree:
        """The agent's .pyc; none for an imported image of another Python, whose programs don't run on this host.

        Nor do those of another architecture: this host's own Python of that release does, if it can be had.
        """
        packed = manifest.python
        interpreter = python.Interpreter(packed.executable, packed.loader, packed.libraries, packed.tag, packed.magic)
        if interpreter.is_like_ours():
            return python.compile_ourselves(self._agent, interpreter)
        if imported:
            return {}
        with (draft / INITRD).open("rb") as source:
            tree = {name: entry for name, entry in cpio.read(source) if name.startswith("usr/") and ".ko" not in name}
        tree |= initramfs.agent_tree(self._agent)
        if self._is_local:
            return python.byte_code(tree, interpreter, below="gavotte")
        try:
            with self._local_python(draft) as local:
                runs = initramfs.bare_interpreter(local, packed.executable)
        except ImageError:  # no network: the guest compiles the agent at each start, which takes it a second
            return {}
        return python.byte_code(tree | runs, python.places(runs, packed.executable), below="gavotte")


def _fallbacks(chosen: Sequence[Source], suite: str) -> Iterator[list[Source]]:
    """All archives; all but one of those that only have updates; the suite alone."""
    updates = [source for source in chosen if source.suite != suite]
    yield list(chosen)
    for left_out in updates if len(updates) > 1 else ():
        yield [source for source in chosen if source != left_out]
    if updates:
        yield [source for source in chosen if source.suite == suite]


def _could_give(image: Image, recipe: Recipe, *, any_suite: bool) -> bool:
    other = image.manifest.recipe.but_for_agent()
    return (replace(other, suite=recipe.suite) if any_suite else other) == recipe.but_for_agent()


def _versions(packages: list[Package]) -> Mapping[str, str]:
    return {package.name: package.version for package in packages}
