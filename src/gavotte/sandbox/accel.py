"""Which accelerator really runs a guest here: decided by a guest's sign of life, and remembered.

That /dev/kvm opens says little: on some nested hosts it opens, answers, and its guests hang in silence.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

from gavotte.errors import GavotteError
from gavotte.hypervisor.qemu.vm import QemuVm
from gavotte.places import cache_directory
from gavotte.qemu.binary import QemuBinary
from gavotte.qemu.machines import host_arch
from gavotte.qemu.pids import boot_id
from gavotte.sandbox.artifacts import Artifacts
from gavotte.sandbox.boot import machine_config, wait_for_agent
from gavotte.sandbox.spec import Spec
from gavotte.values import dataclass

__all__ = ["Choice", "choose_accel", "expected_accel", "note_emulation", "probe", "verdicts_path"]

KVM = "/dev/kvm"
_FIRST_BYTE = 4.0  # seconds: a kernel under KVM prints within 0.2
_AGENT = 30.0
_EMULATED = "KVM doesn't work here, so guests are emulated and slower; `gavotte check` says why"
_LOG = logging.getLogger("gavotte")
_noted: set[str] = set()  # the boots of the host, of which there is one, in which this process has logged that

_unwritten: dict[str, dict[str, object]] = {}  # the verdicts of this process, where the cache can't be written


@dataclass(frozen=True)
class Choice:
    """An accelerator, and why it is that one."""

    accel: str
    why: str


async def choose_accel(binary: QemuBinary, spec: Spec, files: Artifacts, *, again: bool = False) -> Choice:
    """The accelerator for `spec`: what it asks for, else KVM where a guest was seen to run on it, else TCG.

    A verdict is remembered, a negative one until the next boot; in a cache that can't be written, by this process
    alone. `again` probes whatever is remembered.
    """
    if spec.accel != "auto":
        return Choice(spec.accel, "as asked for")
    if spec.arch != host_arch():
        return Choice("tcg", f"this host's architecture is {host_arch()}, the guest's {spec.arch}")
    if not os.access(KVM, os.R_OK | os.W_OK):
        why = "there is no /dev/kvm" if not Path(KVM).exists() else "/dev/kvm is not accessible to this user"
        return Choice("tcg", why)
    key = await asyncio.to_thread(_key, binary, spec, files)
    known = None if again else _remembered(key)
    if known is None:
        works, why = await probe(binary, "kvm", spec, files)
        known = {"works": works, "why": why, "boot": boot_id()}
        _remember(key, known)
    return Choice("kvm" if known["works"] else "tcg", str(known["why"]))


def expected_accel(binary: QemuBinary, spec: Spec, files: Artifacts) -> str:
    """What `choose_accel` would choose, as far as that is known without booting a guest."""
    if spec.accel != "auto":
        return spec.accel
    if spec.arch != host_arch() or not os.access(KVM, os.R_OK | os.W_OK):
        return "tcg"
    known = _remembered(_key(binary, spec, files))
    return "kvm" if known and known["works"] else "tcg"


def note_emulation(spec: Spec, choice: Choice) -> None:
    """Log a warning that guests are emulated although KVM was wanted: once in each boot of the host for each user.

    A cache that can't be written makes that once for each process.
    """
    wanted = spec.accel == "auto" and spec.arch == host_arch()
    if choice.accel == "kvm" or not wanted or not _LOG.isEnabledFor(logging.WARNING):
        return
    boot, stamp = boot_id(), cache_directory() / "emulation-noted"
    if boot not in _noted and _content(stamp) != boot:
        _LOG.warning(_EMULATED)
        try:
            stamp.write_text(boot)
        except OSError:
            pass  # it is logged again by the next process
    _noted.add(boot)


def _content(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


async def probe(
    binary: QemuBinary, accel: str, spec: Spec, files: Artifacts, *, patience: float = 1.0
) -> tuple[bool, str]:
    """Whether a guest runs on `accel`: its kernel must print soon, its agent answer after that. With the reason.

    `patience` multiplies the deadlines, for accelerators that are slow by nature.
    """
    from dataclasses import replace

    small = replace(spec, memory=256 << 20, cpus=1, append="earlyprintk=ttyS0 loglevel=7", slots=0)
    small = replace(small, max_cpus=0, max_memory=0, shared_memory=False, devices=())
    config = machine_config("gavotte-probe", small, accel, files)
    vm = QemuVm(binary, config)
    try:
        await vm.start()
        if not await vm.wait_for_console(_FIRST_BYTE * patience):
            if vm.ended.done():
                return False, f"QEMU can't use {accel}: {vm.process.stderr_tail.strip()[-300:]}"
            return False, f"a guest on {accel} printed nothing within {_FIRST_BYTE * patience:g} s"
        channel = await wait_for_agent(vm, _AGENT * patience)
        await channel.close()
        return True, f"a guest was seen to run on {accel}"
    except GavotteError as error:
        return False, f"a guest on {accel} didn't come up: {str(error).splitlines()[0]}"
    finally:
        await asyncio.shield(vm.stop())


def verdicts_path() -> Path:
    """The file of remembered verdicts, in the XDG cache directory."""
    return cache_directory() / "accel.json"


def _key(binary: QemuBinary, spec: Spec, files: Artifacts) -> str:
    """What a verdict depends on: host kernel and processor, QEMU binary, machine type, guest kernel, user's initrd.

    Gavotte's own initramfs is left out: it is made anew with each agent, and says nothing of the host.
    """
    import hashlib

    host = os.uname()
    cpu = [line for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if "MHz" not in line]
    facts = (
        host.release,
        host.version,
        host.machine,
        cpu,
        binary.identity,
        spec.machine,
        _traits(spec.kernel or files.kernel),
        spec.initrd and _traits(spec.initrd),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _traits(file: Path) -> tuple[str, int, int]:
    stat = file.stat()
    return file.name, stat.st_size, stat.st_mtime_ns


def _remembered(key: str) -> dict[str, object] | None:
    try:
        verdict = _unwritten.get(key) or json.loads(verdicts_path().read_text())[key]
        if verdict["works"] is True or verdict["boot"] == boot_id():
            return dict(verdict)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing is known, or what is written there is no verdict
    return None


def _remember(key: str, verdict: dict[str, object]) -> None:
    try:
        known = json.loads(verdicts_path().read_text())
    except (OSError, ValueError):
        known = {}
    try:
        path = verdicts_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({**(known if isinstance(known, dict) else {}), key: verdict}, indent=1))
        draft.replace(path)
        _unwritten.pop(key, None)
    except OSError:
        _unwritten[key] = verdict
