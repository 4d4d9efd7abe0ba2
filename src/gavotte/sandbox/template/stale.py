"""Templates that no sandbox will be a copy of any more: what they were made of has changed since."""

from __future__ import annotations

from pathlib import Path

from gavotte.guest.image import find_image
from gavotte.guest.image.cache import images_directory
from gavotte.qemu.binary import QemuBinary
from gavotte.sandbox.template.plan import host_of
from gavotte.sandbox.template.store import Template, discard, list_templates

__all__ = ["drop_stale", "why_stale"]


def why_stale(template: Template) -> str:
    """What has changed; empty as long as it may be of use."""
    return _binary(template) or _host(template) or _image(template)


def drop_stale() -> None:
    """Remove all of them. Done whenever a template was made: what makes a new one necessary makes others useless."""
    for template in list_templates():
        if why_stale(template):
            discard(template.path)


def _binary(template: Template) -> str:
    try:
        same = QemuBinary.from_path(Path(template.qemu)).identity == template.binary
    except OSError:
        return "its QEMU is gone"
    return "" if same else "its QEMU was replaced"


def _host(template: Template) -> str:
    return "" if template.host == host_of(template.accel) else "it was made with another host kernel or processor"


def _image(template: Template) -> str:
    """An image that isn't ours may be that of another version of Gavotte, whose sandboxes go on to use the template."""
    if not (images_directory() / template.image).is_dir():
        return "its image is gone"
    current = find_image(template.arch)
    if current is None or current.id == template.image or template.used >= current.created:
        return ""
    return "its image isn't the current one"
