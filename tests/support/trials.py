"""A machine file given to the real QEMU, to see whether it starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from gavotte.qemu.binary import find_qemu
from gavotte.qemu.document import document_to_argv
from tests.support.programs import DEADLINE

__all__ = ["start"]


def start(qemu: Path | None, document: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Starts QEMU with a machine file, stopped, and lets it quit."""
    base: dict[str, Any] = {"nodefaults": True, "display": {"type": "none"}, "S": True, "machine": {"type": "q35"}}
    document = {**base, **document}
    names_accel = "accels" in document or "accel" in document["machine"]
    path = find_qemu(path=os.fspath(qemu) if qemu else None).path
    return subprocess.run(
        [os.fspath(path), *([] if names_accel else ["-accel", "tcg"]), *document_to_argv(document), "-qmp", "stdio"],
        input='{"execute":"qmp_capabilities"}\n{"execute":"quit"}\n',
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
