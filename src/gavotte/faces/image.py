"""`gavotte image …`: the guest image, built, listed, removed, carried to other hosts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

__all__ = ["add_actions"]


def add_actions(add: Callable[..., Any]) -> None:
    """The actions with their arguments; `add` makes a parser of a name, a handler and a help."""
    build = add("build", _image_build, "build the image unless a current one is there; prints its id")
    build.add_argument("--arch", metavar="ARCH", help="the processor that the image is for (this host's)")
    build.add_argument("--suite", metavar="NAME", help="the Debian release (this host's, else bookworm)")
    build.add_argument("--mirror", metavar="URL", help="the Debian archive (from this host's apt sources)")
    build.add_argument("--update", action="store_true", help="ask the archive for newer packages")
    listing = add("list", _image_list, "list the images")
    listing.add_argument("--json", action="store_true", help="for programs")
    add("rm", _image_rm, "remove images").add_argument("id", nargs="+", metavar="ID", help="the id, or its beginning")
    add("path", _image_path, "print an image's directory").add_argument("id", nargs="?", metavar="ID")
    export = add("export", _image_export, "write an image to one file, for another host")
    export.add_argument("file", metavar="FILE")
    export.add_argument("id", nargs="?", metavar="ID", help="the current image unless given")
    add("import", _image_import, "take in an exported image").add_argument("file", metavar="FILE")


def _image_build(options: argparse.Namespace) -> int:
    from gavotte.faces.progress import Progress
    from gavotte.sandbox.images import build_image

    with Progress() as progress:
        image = build_image(
            options.arch, suite=options.suite, mirror=options.mirror, update=options.update, progress=progress
        )
    print(image.id)
    return 0


def _image_list(options: argparse.Namespace) -> int:
    from gavotte.faces import tables
    from gavotte.guest.image import find_image, list_images

    images = list_images()
    current = (find_image(arch) for arch in {image.manifest.recipe.architecture for image in images})
    tables.print_images(images, {image.id for image in current if image}, as_json=options.json)
    return 0


def _image_rm(options: argparse.Namespace) -> int:
    from gavotte.guest.image import remove_image

    for prefix in options.id:
        print(remove_image(prefix).id)
    return 0


def _image_path(options: argparse.Namespace) -> int:
    print(_chosen_image(options.id).path)
    return 0


def _image_export(options: argparse.Namespace) -> int:
    from pathlib import Path

    from gavotte.guest.image import export_image

    export_image(_chosen_image(options.id), Path(options.file))
    return 0


def _image_import(options: argparse.Namespace) -> int:
    from pathlib import Path

    from gavotte.faces.progress import Progress
    from gavotte.guest.image import import_image

    with Progress() as progress:
        image = import_image(Path(options.file), progress=progress)
    print(image.id)
    return 0


def _chosen_image(prefix: str | None) -> Any:
    from gavotte.errors import ImageError
    from gavotte.guest.image import find_image, list_images

    if prefix is None:
        image = find_image()
        if image is None:
            raise ImageError("there is no current image", hint="gavotte image build")
        return image
    found = [image for image in list_images() if image.id.startswith(prefix)]
    if len(found) != 1:
        raise ImageError(
            f"{len(found)} images have an id that begins with {prefix!r}", hint="gavotte image list shows them"
        )
    return found[0]
