"""`gavotte explain`: the QEMU command line of a run, to be read, copied and played with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from gavotte.errors import ImageError
from gavotte.guest.image import find_image
from gavotte.hypervisor.qemu.plan import CONSOLE, MONITOR, Wire, plan_machine
from gavotte.qemu.binary import find_qemu
from gavotte.qemu.document import document_to_options
from gavotte.sandbox.accel import expected_accel
from gavotte.sandbox.artifacts import artifacts
from gavotte.sandbox.boot import AGENT_PORT, machine_config
from gavotte.sandbox.spec import make_spec

__all__ = ["explain"]

# A real run connects these to sockets that it made and passes by number; a shell can't, so the console is the terminal
_WIRES = {
    CONSOLE: Wire({"backend": "stdio", "signal": False}),
    MONITOR: Wire({"backend": "socket", "path": "gavotte-monitor.sock", "server": True, "wait": False}),
    AGENT_PORT: Wire({"backend": "socket", "path": "gavotte-agent.sock", "server": True, "wait": False}),
}


def explain(options: Mapping[str, Any]) -> Iterator[str]:
    """The lines: one option each, joined by backslashes, so that the whole can be pasted into a shell.

    Starts no guest: the accelerator is the one that is known or assumed to work. Raises UsageError and HostError.
    """
    spec = make_spec(**options)
    binary = find_qemu(spec.arch, spec.qemu)
    image = find_image(spec.arch)
    if image is None:
        raise ImageError(
            "there is no guest image yet, so its files have no names", hint=f"gavotte image build --arch {spec.arch}"
        )
    files = artifacts(image)
    config = machine_config("gavotte", spec, expected_accel(binary, spec, files), files)
    written = document_to_options(plan_machine(config, _WIRES))
    lines = [shlex.quote(str(binary.path)), *map(shlex.join, written)]
    yield from (f"{'  ' * (number > 0)}{line} \\" for number, line in enumerate(lines[:-1]))
    yield f"  {lines[-1]}"
