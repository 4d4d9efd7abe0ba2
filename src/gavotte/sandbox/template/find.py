"""The template for a sandbox: found, or built by the first who needs it."""

from __future__ import annotations

import logging

from gavotte.hypervisor.interface import MachineConfig, MemoryFile
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema import Schema
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.template.layout import Layout, layout_for, why_not
from gavotte.sandbox.template.plan import key_of, plan_config, why_no_template
from gavotte.sandbox.template.store import Template, discard, find_template, lock, templates_directory
from gavotte.values import dataclass

__all__ = ["Wanted", "drop_template", "template_for", "wanted_template"]

_LOG = logging.getLogger("gavotte")


@dataclass(frozen=True)
class Wanted:
    """The template that a sandbox would be a copy of, and all that it is made of."""

    key: str
    spec: Spec
    layout: Layout
    accel: str
    binary: QemuBinary
    files: Artifacts
    schema: Schema

    def config(self, name: str, memory: MemoryFile) -> MachineConfig:
        """The machine of a copy."""
        return plan_config(name, self.spec, self.layout, self.accel, self.files, self.schema, memory)


def wanted_template(
    spec: Spec, accel: str, binary: QemuBinary, files: Artifacts, schema: Schema
) -> tuple[Wanted | None, str]:
    """Which template that is; or None, and why there can be none."""
    if reason := why_not(spec):
        return None, reason
    layout = layout_for(spec)
    config = plan_config("", spec, layout, accel, files, schema)
    if reason := why_no_template(config, schema):
        return None, reason
    return Wanted(key_of(config, layout, binary), spec, layout, accel, binary, files, schema), ""


async def template_for(wanted: Wanted) -> Template:
    """The finished template. Who comes first builds it, which is told in the log, and others wait.

    Raises as `build_template` does.
    """
    if found := _found(wanted.key):
        return found
    async with lock(wanted.key):
        if found := _found(wanted.key):
            return found
        from gavotte.sandbox.template.build import build_template  # which few starts do
        from gavotte.sandbox.template.stale import drop_stale

        _LOG.warning("building a template for sandboxes like this one: needed once, takes as long as a boot")
        rest = (wanted.accel, wanted.binary, wanted.files, wanted.schema)
        template = await build_template(wanted.key, wanted.spec, wanted.layout, *rest)
        drop_stale()
        return template


def drop_template(template: Template) -> None:
    """It is of no use: the next one who needs it builds it anew."""
    discard(template.path)


def _found(key: str) -> Template | None:
    """A damaged one is removed, if it can be, and told of."""
    try:
        template = find_template(key)
        if template is not None:
            template.touch()
        return template
    except ValueError as error:
        _LOG.warning("the template %s is damaged: %s", key, error)
        discard(templates_directory() / key)
        return None
