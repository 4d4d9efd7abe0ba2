"""A template made before the first sandbox needs it."""

from __future__ import annotations

import time

from gavotte.errors import HostError
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.schema import get_schema
from gavotte.sandbox.accel import choose_accel
from gavotte.sandbox.artifacts import find_artifacts
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.store import sweep
from gavotte.sandbox.template.find import template_for, wanted_template
from gavotte.sandbox.template.store import Template

__all__ = ["prepare_template"]


async def prepare_template(spec: Spec) -> tuple[Template, bool]:
    """The template of such a sandbox, and whether it was made now, which the log tells before, as a start does.

    Raises HostError when such a sandbox can't be a copy of one, and as `build_template` does.
    """
    sweep()
    binary = find_qemu(spec.arch, spec.qemu)
    files = await find_artifacts(spec)
    choice = await choose_accel(binary, spec, files)
    wanted, why = wanted_template(spec, choice.accel, binary, files, await get_schema(binary))
    if wanted is None:
        raise HostError(
            f"there is no template for such a sandbox: {why}", hint="nothing needs to be done: it boots at its start"
        )
    began = time.time()
    template = await template_for(wanted)
    return template, template.created >= began
