"""The making of a template: a guest boots, is made ready for any command, and stands still."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from gavotte.errors import HostError, SaveFailed
from gavotte.guest.agent import TOKEN_LENGTH
from gavotte.guest.channel import Channel
from gavotte.hypervisor.devices import Latent
from gavotte.hypervisor.interface import MachineConfig, MemoryFile
from gavotte.hypervisor.qemu.launch import can_map_readable
from gavotte.hypervisor.qemu.plan.nic import default_mac
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.schema import Schema
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.boot import ROOT, start_machine
from gavotte.sandbox.renewal import set_clock
from gavotte.sandbox.spec import Spec
from gavotte.sandbox.store import RunDirectory
from gavotte.sandbox.template.layout import Layout
from gavotte.sandbox.template.plan import host_of, plan_config
from gavotte.sandbox.template.store import MEMORY, Template, draft, publish
from gavotte.text import rough_size

__all__ = ["build_template", "space_for"]

_SPARE = 64 << 20  # bytes beside the memory's own

_HOSTNAME = "gavotte-template"  # as long as the names that sandboxes are given: a copy changes to one at once

# What is read here lies in the page cache of each copy. What is looked up is known there, also that it isn't in the
# first directories of PATH.
_READ = """
cat /usr/bin/*
ls -R /usr/lib/python3*
true; id; env; uname -a
"""
_LOOK = """
import asyncio, base64, hashlib, json, os, pathlib, random, re, shutil, subprocess, tempfile, time, uuid
for name in os.listdir("/usr/bin"):
    for folder in os.get_exec_path():
        os.path.exists(f"{folder}/{name}")
"""
_WARM: Sequence[Sequence[str]] = (
    ["true"],
    ["sh", "-c", f"exec >/dev/null 2>&1; {_READ}"],
    ["python3", "-Bc", _LOOK],
)


async def build_template(
    key: str, spec: Spec, layout: Layout, accel: str, binary: QemuBinary, files: Artifacts, schema: Schema
) -> Template:
    """Make it, and put it where templates are. Needs `lock`. Nothing is left when it fails.

    Raises HostError (no room, no process), SaveFailed, and as the start of a machine does.
    """
    with draft(key) as path, RunDirectory(f"template-{key}-{os.urandom(2).hex()}") as directory:
        fd = _make_memory(path / MEMORY, layout)
        try:
            name = f"template-{key}"
            config = plan_config(name, spec, layout, accel, files, schema, MemoryFile(fd))
            token = os.urandom(TOKEN_LENGTH).hex()
            vm = QemuVm(binary, config, directory=directory.path)
            for place in layout.latent():
                await vm.plug(place)
            state, root_size = await _boot(vm, spec.boot_timeout, token)
        finally:
            os.close(fd)
        template = _describe(key, layout, binary, config, files, token, root_size, state, vm.turned)
        writable = not can_map_readable(schema)  # QEMU opens it for writing where it can't do else
        try:
            return await asyncio.to_thread(publish, path, template, state, writable=writable)
        except OSError as error:
            raise HostError(f"can't write the template: {error.strerror}", hint="free some space") from error


def space_for(layout: Layout) -> int:
    """Bytes that have to be free to make such a template: a page that the disk had no room for would be QEMU's end."""
    return layout.memory + _SPARE


def _make_memory(path: Path, layout: Layout) -> int:
    """The file of the guest's memory, with nothing in it."""
    status = os.statvfs(path.parent)
    free = status.f_bavail * status.f_frsize
    needed = space_for(layout)
    if free < needed:
        raise HostError(
            f"a template needs {rough_size(needed)} in {path.parent.parent}, and {rough_size(free)} are free",
            hint="free some space, or point XDG_CACHE_HOME to another disk",
        )
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.ftruncate(fd, layout.memory)
    return fd


async def _boot(vm: QemuVm, seconds: float, token: str) -> tuple[bytes, int]:
    """Boot it, make its root and what commands need, and have it stand still; its state, and the size of its root."""
    channel = await start_machine(vm, seconds)
    try:
        fields = {"root": ROOT, "hostname": _HOSTNAME, "token": token, "latent": True}
        reply = await channel.request("setup", time=time.time(), deadline=seconds, **fields)
        for argv in _WARM:
            await _run(channel, argv)
        await set_clock(channel)
        await channel.request("settle", deadline=seconds)
        return await vm.freeze(), reply["root_size"]
    finally:
        await channel.close()
        await asyncio.shield(vm.stop(force=True))


async def _run(channel: Channel, argv: Sequence[str]) -> None:
    process = await channel.spawn(argv, env={"PYTHONDONTWRITEBYTECODE": "1"})
    async with process:
        await asyncio.gather(process.stdout.read(), process.stderr.read())
        await process.wait()


def _describe(
    key: str,
    layout: Layout,
    binary: QemuBinary,
    config: MachineConfig,
    files: Artifacts,
    token: str,
    root_size: int,
    state: bytes,
    stopped: float,
) -> Template:
    return Template(
        key=key,
        layout=layout,
        accel=config.accel,
        arch=config.arch,
        machine=config.machine,
        qemu=str(binary.path),
        binary=binary.identity,
        host=host_of(config.accel),
        image=files.rootfs.parent.name,
        token=token,
        root_size=root_size,
        macs={place.id: _find_mac(state, config.name, place) for place in layout.latent() if place.kind == "nic"},
        state_crc=zlib.crc32(state),
        created=time.time(),
        stopped=stopped,
    )


def _find_mac(state: bytes, name: str, place: Latent) -> int:
    """Where the card's address stands. Each copy gets another there, before a driver looks at the card."""
    mac = bytes.fromhex(default_mac(name, place.id).replace(":", ""))
    if state.count(mac) != 1:
        raise SaveFailed(f"the address of {place.id} stands {state.count(mac)} times in the machine's state, not once")
    return state.index(mac)
