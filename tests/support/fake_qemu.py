"""A program that answers as a small QEMU does, and ends or hangs at the questions that a test says."""

from __future__ import annotations

import sys
from pathlib import Path

from gavotte.qemu.binary import QemuBinary

__all__ = ["a_qemu"]

_PROGRAM = r"""
import json, re, signal, socket, sys

ENDS, HANGS, DEVICES = {ends!r}, {hangs!r}, {devices!r}
ARGUMENTS = " ".join(sys.argv)
if not (found := re.search(r"fd=(\d+)", ARGUMENTS)):
    sys.exit("JSON parse error" if "-device" in ARGUMENTS else "unknown option")

def types(arguments):
    if arguments.get("implements"):
        return []
    top = [dict(name="device", abstract=True), dict(name="interface", abstract=True)]
    return top + [dict(name=name, parent="device") for name in DEVICES]

ANSWERS = {{
    "query-qmp-schema": [], "query-machines": [], "query-cpu-definitions": [], "query-command-line-options": [],
    "query-target": dict(arch="toy"), "qmp_capabilities": {{}},
}}

sock = socket.socket(fileno=int(found[1]))
version = dict(qemu=dict(major=1, minor=2, micro=3), package="")
sock.sendall(json.dumps(dict(QMP=dict(version=version, capabilities=["oob"]))).encode() + b"\n")
for line in sock.makefile():
    request = json.loads(line)
    command, arguments = request["execute"], request.get("arguments", {{}})
    what = arguments.get("typename", command)
    if what in ENDS:
        sys.exit(f"{{what}} was too much")
    if what in HANGS:
        signal.pause()
    value = types(arguments) if command == "qom-list-types" else ANSWERS.get(command, [dict(name="p", type="bool")])
    sock.sendall(json.dumps({{"return": value, "id": request["id"]}}).encode() + b"\n")
"""


def a_qemu(
    folder: Path, *, devices: list[str], ends: list[str] | None = None, hangs: list[str] | None = None
) -> QemuBinary:
    """Gives a program in `folder` with these device types; it ends or hangs when it is asked for those named so."""
    path = folder / "qemu-system-toy"
    path.write_text(f"#!{sys.executable} -IS\n" + _PROGRAM.format(devices=devices, ends=ends or [], hangs=hangs or []))
    path.chmod(0o755)
    return QemuBinary.from_path(path)
